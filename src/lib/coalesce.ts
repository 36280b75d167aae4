/** Runs an asynchronous task so that it never overlaps itself, and any number of requests during a run cause one more. */
export interface Coalescer {
  /** Asks for a run that starts after this moment; resolves when that run has ended. Never rejects. */
  request(): Promise<void>;
  /** Waits for the run in progress and accepts no more. */
  stop(): Promise<void>;
}

/**
 * @param task called for each run; its failure goes to `onError` and the next request runs it again
 * @param quietMs how long to collect requests before a run starts; a burst then costs one run
 */
export function createCoalescer(task: () => Promise<void>, onError: (error: unknown) => void, quietMs = 0): Coalescer {
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  let stopped = false;

  async function run(): Promise<void> {
    // Also when nothing runs: the caller must have stored this promise in `next` before it is cleared below.
    await running;
    if (quietMs > 0) await new Promise((resolve) => setTimeout(resolve, quietMs));
    next = undefined;
    if (stopped) return;
    running = task().catch(onError);
    await running;
    running = undefined;
  }

  return {
    request: () => (stopped ? Promise.resolve() : (next ??= run())),
    stop: async () => {
      stopped = true;
      await running;
    },
  };
}
