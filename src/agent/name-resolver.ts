import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { type Ip, parseIp } from '../net/ip.ts';

export interface NameResolverOptions {
  /** All addresses of a name, as the machine resolves it. */
  readonly lookup: (name: string) => Promise<readonly string[]>;
  readonly clock: Clock;
  readonly log: Pick<Logger, 'warn'>;
}

export interface NameResolver {
  /** What is known of these names; from now on they, and only they, are kept up to date. */
  follow(names: readonly string[]): ReadonlyMap<string, readonly Ip[]>;
  /** Called when a followed name has other addresses than before. */
  onChange(listener: () => void): void;
  stop(): void;
}

/** A load balancer that gets another address is followed within 10 s (R13). */
const REFRESH_MS = 5_000;

/** Looks up host names again and again. A name that cannot be resolved for a moment keeps its addresses. */
export function createNameResolver({ lookup, clock, log }: NameResolverOptions): NameResolver {
  const known = new Map<string, readonly Ip[]>();
  const failing = new Set<string>();
  let followed: readonly string[] = [];
  let cancel: (() => void) | undefined;
  let listener = (): void => undefined;

  async function refresh(): Promise<void> {
    const changes = await Promise.all(followed.map((name) => refreshOne(name)));
    if (followed.length === 0) cancel = undefined;
    else if (cancel !== undefined) cancel = clock.after(REFRESH_MS, () => void refresh());
    if (changes.includes(true)) listener();
  }

  /** @returns whether it has other addresses than before */
  async function refreshOne(name: string): Promise<boolean> {
    try {
      const ips = (await lookup(name)).map((text) => parseIp(text)).filter((ip) => ip !== undefined);
      failing.delete(name);
      const sorted = [...new Set(ips)].toSorted();
      if (!followed.includes(name) || sorted.length === 0 || isDeepStrictEqual(sorted, known.get(name))) return false;
      known.set(name, sorted);
      return true;
    } catch (error) {
      if (!failing.has(name))
        log.warn({ name, error: messageOf(error) }, 'the host name of the load balancer cannot be resolved; trying again');
      failing.add(name);
      return false;
    }
  }

  return {
    follow: (names) => {
      const isNew = names.some((name) => !followed.includes(name));
      followed = names;
      for (const name of known.keys()) if (!names.includes(name)) known.delete(name);
      if (isNew) {
        cancel?.();
        cancel = clock.after(0, () => void refresh());
      }
      return known;
    },
    onChange: (next) => void (listener = next),
    stop: () => {
      followed = [];
      cancel?.();
      cancel = undefined;
    },
  };
}
