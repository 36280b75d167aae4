import type { Clock } from '../../lib/clock.ts';
import { messageOf } from '../../lib/errors.ts';

export interface CopyWriterOptions {
  readonly path: string;
  /** The text as it should be now. Called just before each write only. */
  readonly render: () => string;
  readonly write: (text: string) => Promise<void>;
  readonly clock: Clock;
  readonly log: { warn(fields: object, message: string): void };
}

/** Brings a copy to disk, not too often. */
export interface CopyWriter {
  /** Something changed. */
  request(): void;
  /** When the last write ended; undefined before the first. */
  savedMs(): number | undefined;
  /** Writes what is still to be written, and stops. Never rejects. */
  close(): Promise<void>;
}

/** Collects a burst. */
const COLLECT_MS = 1_000;
/** Edge nodes live on cheap flash: a large copy is written less often, so that the writes stay below this in the long run. */
const BYTES_PER_SECOND = 64 * 1024;
const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 60_000;

/** A disk that is full or broken costs one warning, and is tried again later: the agent's work does not depend on it. */
export function createCopyWriter({ path, render, write, clock, log }: CopyWriterOptions): CopyWriter {
  let dirty = false;
  let closed = false;
  let running: Promise<void> | undefined;
  let cancelTimer: (() => void) | undefined;
  let notBeforeMs = 0;
  let failures = 0;
  let savedMs: number | undefined;

  function schedule(): void {
    if (closed || !dirty || running !== undefined || cancelTimer !== undefined) return;
    cancelTimer = clock.after(Math.max(COLLECT_MS, notBeforeMs - clock.now()), () => {
      cancelTimer = undefined;
      void run();
    });
  }

  function run(): Promise<void> {
    running = writeOnce().finally(() => {
      running = undefined;
      schedule();
    });
    return running;
  }

  async function writeOnce(): Promise<void> {
    dirty = false;
    const text = render();
    try {
      await write(text);
      failures = 0;
      savedMs = clock.now();
      notBeforeMs = savedMs + (Buffer.byteLength(text) / BYTES_PER_SECOND) * 1_000;
    } catch (error) {
      dirty = true;
      failures++;
      notBeforeMs = clock.now() + Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** (failures - 1));
      if (failures === 1) log.warn({ path, error: messageOf(error) }, 'the copy for life without the API server cannot be written');
    }
  }

  return {
    request: () => {
      dirty = true;
      schedule();
    },
    savedMs: () => savedMs,
    close: async () => {
      closed = true;
      cancelTimer?.();
      await running;
      if (dirty) await writeOnce();
    },
  };
}
