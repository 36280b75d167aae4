import type { Clock } from '../../lib/clock.ts';
import { UserError } from '../../lib/errors.ts';
import { KubeApiError } from './kube-client.ts';

/** Does a request again while the API server is away, restarts, or has too much to do; throws its last error when that takes too long. */
export type Retried = <T>(request: () => Promise<T>) => Promise<T>;

/** An API server on one machine restarts in less; who waits for longer had better decide anew. */
const RETRY_FOR_MS = 15_000;
const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 2_000;

/** For writes and the reads that they begin with: followers of a kind have the reflector's back-off. `random`: 0 ≤ x < 1. */
export function createRetried(clock: Clock, random: () => number): Retried {
  return async function retried(request) {
    const deadline = clock.now() + RETRY_FOR_MS;
    for (let attempt = 0; ; attempt++) {
      try {
        return await request();
      } catch (error) {
        const delayMs = Math.min(FIRST_DELAY_MS * 2 ** attempt, MAX_DELAY_MS) * (0.5 + random() / 2);
        if (!isTransient(error) || clock.now() + delayMs > deadline) throw error;
        await new Promise<void>((resolve) => void clock.after(delayMs, resolve));
      }
    }
  };
}

function isTransient(error: unknown): boolean {
  if (error instanceof KubeApiError) return error.code === 429 || error.code >= 500;
  return !(error instanceof UserError);
}
