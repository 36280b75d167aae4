import type { Clock } from './clock.ts';

/** Token buckets, one for each key. */
export interface RateLimit {
  /** Takes one token. @returns false when there is none */
  take(key: string): boolean;
}

export interface RateLimitOptions {
  /** How many a key may take at once. */
  readonly burst: number;
  /** One more comes back in so much time. */
  readonly refillMs: number;
  readonly clock: Clock;
}

export function createRateLimit({ burst, refillMs, clock }: RateLimitOptions): RateLimit {
  const buckets = new Map<string, { readonly tokens: number; readonly atMs: number }>();
  return {
    take: (key) => {
      const nowMs = clock.now();
      const bucket = buckets.get(key);
      const tokens = bucket === undefined ? burst : Math.min(burst, bucket.tokens + (nowMs - bucket.atMs) / refillMs);
      if (tokens < 1) return false;
      buckets.set(key, { tokens: tokens - 1, atMs: nowMs });
      return true;
    },
  };
}
