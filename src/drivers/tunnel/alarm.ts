import type { Clock } from '../../lib/clock.ts';

/** Rings once, at the earliest of the times that it was set to. */
export interface Alarm {
  /** @param atMs epoch milliseconds; has no effect when it is to ring earlier anyway */
  set(atMs: number): void;
  cancel(): void;
}

export function createAlarm(clock: Clock, ring: () => void): Alarm {
  let dueMs = Infinity;
  let stop = (): void => undefined;

  function cancel(): void {
    stop();
    dueMs = Infinity;
  }

  return {
    set(atMs) {
      if (atMs >= dueMs) return;
      stop();
      dueMs = atMs;
      stop = clock.after(Math.max(0, atMs - clock.now()), () => {
        dueMs = Infinity;
        ring();
      });
    },
    cancel,
  };
}
