import { type Clock, systemClock } from './clock.ts';

/** Runs one task per key: never twice at once for the same key, and any number of requests while it waits or runs cost one run. */
export interface WorkQueue {
  /** Asks for a run of `key` that starts after this moment. Ends a back-off of that key. */
  add(key: string): void;
  /** Resolves when nothing runs and nothing waits, not even in back-off. */
  idle(): Promise<void>;
  /** How many keys wait or run. */
  size(): number;
  /** Forgets what waits and resolves when the runs in progress have ended. Accepts no more. */
  stop(): Promise<void>;
}

export interface WorkQueueOptions {
  /** Its failure goes to `onError`, and the key runs again later: after `firstDelayMs`, then twice that, up to `maxDelayMs`. */
  readonly work: (key: string) => Promise<void>;
  readonly onError: (key: string, error: unknown, retryInMs: number) => void;
  /** How many keys may run at once. */
  readonly concurrency?: number;
  readonly firstDelayMs?: number;
  readonly maxDelayMs?: number;
  readonly clock?: Clock;
}

/** As the work queue of Kubernetes' client-go, keyed by text: what is the same object has the same key. Keys run in the order of their requests. */
export function createWorkQueue({
  work,
  onError,
  concurrency = 1,
  // client-go starts at 5 ms and ends at 1,000 s; an operator who has repaired something does not wait that long.
  firstDelayMs = 10,
  maxDelayMs = 30_000,
  clock = systemClock,
}: WorkQueueOptions): WorkQueue {
  const waiting = new Set<string>();
  const running = new Set<string>();
  const again = new Set<string>();
  const failures = new Map<string, number>();
  const backingOff = new Map<string, () => void>();
  let listeners: (() => void)[] = [];
  let stopped = false;

  function add(key: string): void {
    if (stopped) return;
    backingOff.get(key)?.();
    backingOff.delete(key);
    (running.has(key) ? again : waiting).add(key);
    startWork();
  }

  function startWork(): void {
    for (const key of waiting) {
      if (running.size >= concurrency) return;
      waiting.delete(key);
      running.add(key);
      void run(key);
    }
  }

  async function run(key: string): Promise<void> {
    try {
      await work(key);
      failures.delete(key);
    } catch (error) {
      retryLater(key, error);
    }
    running.delete(key);
    if (again.delete(key)) add(key);
    startWork();
    tellListeners();
  }

  function retryLater(key: string, error: unknown): void {
    const count = failures.get(key) ?? 0;
    failures.set(key, count + 1);
    const delayMs = Math.min(firstDelayMs * 2 ** Math.min(count, 30), maxDelayMs);
    onError(key, error, delayMs);
    if (!stopped)
      backingOff.set(
        key,
        clock.after(delayMs, () => add(key)),
      );
  }

  function tellListeners(): void {
    if (running.size + waiting.size + backingOff.size > 0) return;
    const told = listeners;
    listeners = [];
    for (const listener of told) listener();
  }

  function idle(): Promise<void> {
    return new Promise((resolve) => {
      listeners.push(resolve);
      tellListeners();
    });
  }

  return {
    add,
    idle,
    size: () => waiting.size + running.size + backingOff.size,
    stop: () => {
      stopped = true;
      for (const cancel of backingOff.values()) cancel();
      for (const set of [waiting, again, backingOff]) set.clear();
      return idle();
    },
  };
}
