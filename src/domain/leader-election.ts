import type { Lease } from '../api/core.ts';
import { formatMicroTime } from '../lib/clock.ts';

/** How long a leader may be silent, and how long it may go on without having said that it is there. */
export interface LeaseTiming {
  /** Others take the lease when it was not renewed for so long. */
  readonly durationMs: number;
  /** A leader that could not renew it for so long stops; less than `durationMs` by what writes in flight and slow clocks may take. */
  readonly renewDeadlineMs: number;
  readonly retryMs: number;
}

/** Shorter than client-go's 15, 10 and 2 s: another replica leads within 15 s, also when it looked just before the last renewal. */
export const LEASE_TIMING: LeaseTiming = { durationMs: 10_000, renewDeadlineMs: 7_000, retryMs: 2_000 };

/** When a candidate first saw the lease as it is now, by its own clock: the times in the lease are another machine's and prove nothing. */
export interface Observation {
  readonly version: string | undefined;
  readonly atMs: number;
}

export function observeLease(before: Observation | undefined, lease: Lease | undefined, nowMs: number): Observation {
  const version = lease?.metadata.resourceVersion;
  return before !== undefined && before.version === version ? before : { version, atMs: nowMs };
}

export type LeaseAction =
  /** Write this lease: who succeeds leads. Creates it when it has no `resourceVersion`. */
  | { readonly type: 'write'; readonly lease: Lease }
  /** Somebody else leads: look again then. */
  | { readonly type: 'wait'; readonly holder: string; readonly ms: number };

export interface Candidate {
  /** Unique among all processes that ever were. */
  readonly identity: string;
  readonly name: string;
  readonly namespace: string;
  readonly timing: LeaseTiming;
}

/** What a candidate does next about the lease (as client-go's leaderelection); renewing is the same as taking. Pure. */
export function planLease(candidate: Candidate, lease: Lease | undefined, observed: Observation, nowMs: number): LeaseAction {
  const { identity, timing } = candidate;
  const holder = lease?.spec.holderIdentity ?? '';
  const freeInMs = observed.atMs + timing.durationMs - nowMs;
  if (lease !== undefined && holder !== '' && holder !== identity && freeInMs > 0)
    return { type: 'wait', holder, ms: Math.min(freeInMs, timing.retryMs) };
  return { type: 'write', lease: held(candidate, lease, nowMs) };
}

/** The lease given back: the next who looks takes it at once. Undefined when it is not ours. */
export function releasedLease({ identity }: Candidate, lease: Lease | undefined, nowMs: number): Lease | undefined {
  if (lease === undefined || lease.spec.holderIdentity !== identity) return undefined;
  return { ...lease, spec: { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: formatMicroTime(nowMs) } };
}

function held({ identity, name, namespace, timing }: Candidate, lease: Lease | undefined, nowMs: number): Lease {
  const now = formatMicroTime(nowMs);
  const isOurs = lease?.spec.holderIdentity === identity;
  const { leaseTransitions } = (lease?.spec ?? {}) as { readonly leaseTransitions?: number };
  const transitions = lease === undefined ? 0 : (leaseTransitions ?? 0) + (isOurs ? 0 : 1);
  return {
    ...(lease ?? { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name, namespace } }),
    spec: {
      ...lease?.spec,
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(timing.durationMs / 1000),
      acquireTime: isOurs ? lease?.spec.acquireTime : now,
      renewTime: now,
      leaseTransitions: transitions,
    },
  };
}
