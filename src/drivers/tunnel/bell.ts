import { watch } from 'node:fs';

/** Wakes one waiter. */
export interface Bell {
  ring(): void;
  /** Resolves at the next ring, the end, or after a while. */
  rung(): Promise<void>;
  close(): void;
}

/** Should inotify miss something. */
const LOOK_AGAIN_MS = 2_000;

/** Rings when something in `dir` changes, and when `signal` is aborted. */
export function ringOnChange(dir: string, signal: AbortSignal): Bell {
  let wake: (() => void) | undefined;
  /** It rang while nobody listened. */
  let missed = false;
  const ring = (): void => {
    missed = wake === undefined;
    wake?.();
  };
  const watcher = watch(dir, ring);
  watcher.on('error', ring);
  signal.addEventListener('abort', ring);
  return {
    ring,
    rung: () =>
      new Promise((resolve) => {
        const done = (): void => {
          clearTimeout(timer);
          wake = undefined;
          missed = false;
          resolve();
        };
        const timer = setTimeout(done, missed || signal.aborted ? 0 : LOOK_AGAIN_MS);
        wake = done;
      }),
    close: () => {
      watcher.close();
      signal.removeEventListener('abort', ring);
    },
  };
}
