import type { Lease } from '../api/core.ts';
import { AGENT_LEASE_PREFIX, DRAINING_ANNOTATION } from '../api/names.ts';

/** How often an agent renews its Lease. */
export const AGENT_LEASE_RENEW_MS = 10_000;
/** An agent is silent when so much longer than another one of its region: three renewals are missing. */
const SILENT_MS = 30_000;
/** Two renewals are missing, and a half: less than the 40 s after which a Node is NotReady whose kubelet is silent. */
const STALE_MS = 25_000;
/** By then all Nodes of a region without a link are NotReady. One that is not has no agent any more, or an older one, and the link is well. */
const STALE_UNTIL_MS = 180_000;

/** The node whose agent's Lease this is; undefined when it is somebody else's. */
export function nodeOfLease(name: string): string | undefined {
  return name.startsWith(AGENT_LEASE_PREFIX) ? name.slice(AGENT_LEASE_PREFIX.length) : undefined;
}

/** Why the agent is about to stop, in words; undefined while it is not. */
export function drainOfLease({ metadata }: Lease): string | undefined {
  return metadata.annotations?.[DRAINING_ANNOTATION] === undefined ? undefined : 'its agent is about to stop';
}

/** Since when and until when one agent or another of a region was heard without a pause; epoch milliseconds of the reader's clock. */
export interface HeardSpan {
  readonly sinceMs: number;
  readonly untilMs: number;
}

/** A region's span after one of its agents was heard now. */
export function extendSpan(span: HeardSpan | undefined, nowMs: number): HeardSpan {
  const isGap = span === undefined || nowMs - span.untilMs > SILENT_MS;
  return { sinceMs: isGap ? nowMs : span.sinceMs, untilMs: nowMs };
}

export interface SilenceInput {
  /** When its Lease was last seen renewed, by the reader's clock: the times in it are another machine's. Undefined: never seen. */
  readonly renewedMs: number | undefined;
  /** Its region's; undefined when no agent of the region ever wrote a Lease. */
  readonly span: HeardSpan | undefined;
  /** Whether it has a TunnelEndpoint: somebody writes that. */
  readonly hasEndpoint: boolean;
}

/**
 * Why nothing is heard of an endpoint's agent while others of its region are heard, in words; undefined when it is heard, or when nothing can be said. Pure,
 * and not a matter of the time: only another one's renewal makes an agent silent, so that nobody is blamed while nobody of the region gets through.
 *
 * - Where no agent of the region ever wrote a Lease, they are older ones, or another implementation's: nothing can be said.
 * - An endpoint without Lease but with a TunnelEndpoint has an older agent: nothing can be said.
 * - Silence counts from the moment that the region was heard again: after an outage nobody is blamed for coming back second.
 */
export function silenceOf({ renewedMs, span, hasEndpoint }: SilenceInput): string | undefined {
  if (span === undefined || (renewedMs === undefined && hasEndpoint)) return undefined;
  if (span.untilMs - Math.max(renewedMs ?? span.sinceMs, span.sinceMs) <= SILENT_MS) return undefined;
  return renewedMs === undefined ? 'no agent of Raven was ever heard on it' : 'its agent has not renewed its Lease';
}

/**
 * Whether it would be rash to build on an agent that once wrote a Lease: nothing was heard of it of late. Tells a region that lost its link from
 * one node that died, when that node's kubelet happens to be the first that is missed.
 */
export function isStale(renewedMs: number | undefined, nowMs: number): boolean {
  return renewedMs !== undefined && nowMs - renewedMs > STALE_MS && nowMs - renewedMs < STALE_UNTIL_MS;
}
