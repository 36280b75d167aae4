import {
  type Candidate,
  LEASE_TIMING,
  type LeaseTiming,
  type Observation,
  observeLease,
  planLease,
  releasedLease,
} from '../domain/leader-election.ts';
import type { Clock } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { type ClusterStore, ConflictError } from '../store/cluster-store.ts';

export interface LeadershipOptions {
  readonly store: ClusterStore;
  readonly clock: Clock;
  readonly log: Logger;
  readonly identity: string;
  readonly name: string;
  readonly namespace: string;
  readonly timing?: LeaseTiming;
  /** Works as the leader until `signal` aborts, and resolves when its last write is done. Called again each time that the lease is won. */
  readonly lead: (signal: AbortSignal) => Promise<void>;
  readonly signal: AbortSignal;
}

/**
 * Takes part in the election on a Lease until `signal` aborts; then stops leading and gives the lease back.
 *
 * A leader that could not renew its lease stops leading before anybody else can take it: not when the API server says so, which may be away, but by its
 * own clock, counted from when the last successful renewal was sent.
 */
export async function runLeadership(options: LeadershipOptions): Promise<void> {
  const { store, clock, log, signal, lead, timing = LEASE_TIMING } = options;
  const candidate: Candidate = { identity: options.identity, name: options.name, namespace: options.namespace, timing };
  let observed: Observation | undefined;
  let holder: string | undefined;

  /** @returns when the lease counts as ours from, by our clock; undefined while somebody else has it; and when to look again */
  async function attempt(): Promise<{ readonly sinceMs?: number; readonly retryMs: number }> {
    const lease = await store.get('Lease', candidate.name, candidate.namespace);
    observed = observeLease(observed, lease, clock.now());
    const sinceMs = clock.now();
    const action = planLease(candidate, lease, observed, sinceMs);
    if (action.type === 'wait') {
      if (holder !== action.holder) log.info({ leader: action.holder }, 'another replica leads');
      holder = action.holder;
      return { retryMs: action.ms };
    }
    const written = await store.apply('Lease', action.lease);
    observed = observeLease(observed, written, clock.now());
    holder = candidate.identity;
    return { sinceMs, retryMs: timing.retryMs };
  }

  async function tryAttempt(): Promise<{ readonly sinceMs?: number; readonly retryMs: number }> {
    try {
      return await attempt();
    } catch (error) {
      // Somebody was quicker: look again soon, but not at once.
      if (!(error instanceof ConflictError)) log.warn({ error: messageOf(error) }, 'the lease cannot be read or written; trying again');
      return { retryMs: timing.retryMs };
    }
  }

  async function leadWhileRenewed(firstMs: number): Promise<void> {
    const stop = new AbortController();
    const stopWith = (): void => stop.abort();
    signal.addEventListener('abort', stopWith, { once: true });
    let cancelDeadline = (): void => undefined;
    const holdFrom = (sinceMs: number): void => {
      cancelDeadline();
      cancelDeadline = clock.after(Math.max(0, sinceMs + timing.renewDeadlineMs - clock.now()), () => {
        log.error('the lease could not be renewed in time: leading no more');
        stop.abort();
      });
    };
    holdFrom(firstMs);
    log.info({ identity: candidate.identity }, 'leading');
    const leading = lead(stop.signal);
    // Work that ends by itself has failed; the renewals end with it.
    leading.then(stopWith, stopWith);
    while (await pause(clock, timing.retryMs, stop.signal)) {
      const { sinceMs } = await tryAttempt();
      if (sinceMs !== undefined) holdFrom(sinceMs);
      else if (holder !== candidate.identity) stop.abort();
    }
    cancelDeadline();
    signal.removeEventListener('abort', stopWith);
    await leading;
  }

  while (!signal.aborted) {
    const { sinceMs, retryMs } = await tryAttempt();
    if (sinceMs === undefined) await pause(clock, retryMs, signal);
    else await leadWhileRenewed(sinceMs);
  }
  await release(options, candidate);
}

async function release({ store, clock, log }: LeadershipOptions, candidate: Candidate): Promise<void> {
  try {
    const lease = releasedLease(candidate, await store.get('Lease', candidate.name, candidate.namespace), clock.now());
    if (lease !== undefined) await store.apply('Lease', lease);
  } catch (error) {
    // It runs out by itself.
    log.warn({ error: messageOf(error) }, 'the lease could not be given back');
  }
}

/** @returns whether the time passed; false when `signal` aborted before */
function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve(false);
    const onAbort = (): void => {
      cancel();
      resolve(false);
    };
    const cancel = clock.after(ms, () => {
      signal.removeEventListener('abort', onAbort);
      resolve(true);
    });
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
