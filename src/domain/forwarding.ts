import type { Forwarding, TunnelLink } from '../api/tunnel-endpoint.ts';
import { formatTime } from '../lib/clock.ts';
import { FORWARD_DROPPED } from './host-findings.ts';
import { HOST_UNFIT } from './host-needs.ts';
import type { Finding } from './node-plan.ts';

/** Why a gateway does not forward. */
export interface ForwardingFault {
  /** One word. */
  readonly reason: string;
  /** For people. */
  readonly message: string;
}

export interface ForwardingInput {
  readonly links: readonly TunnelLink[];
  readonly findings: readonly Finding[];
  /** What the agent measured itself: that nothing gets across although the machine looks well. */
  readonly measured: ForwardingFault | undefined;
  readonly previous: Forwarding | undefined;
  readonly nowMs: number;
}

export const ALL_TUNNELS_DOWN = 'AllTunnelsDown';
/** Both ends of a tunnel have noticed by then that it is down, whichever was first; see `isOwnFault`. */
const ALL_DOWN_MS = 30_000;

/** What a gateway says of its own forwarding. Pure; equal input gives an equal answer, whatever the time. */
export function describeForwarding(input: ForwardingInput): Forwarding {
  const { links, previous, nowMs } = input;
  const fault = faultOf(input);
  const state = fault !== undefined ? 'Failed' : links.some((link) => link.state === 'Up') ? 'Ok' : 'Unknown';
  const isSame = previous?.state === state && previous.reason === fault?.reason;
  return { state, ...fault, since: isSame ? previous.since : formatTime(nowMs) };
}

function faultOf({ links, findings, measured, nowMs }: ForwardingInput): ForwardingFault | undefined {
  const found = findings.find(({ reason }) => reason === HOST_UNFIT || reason === FORWARD_DROPPED);
  if (found !== undefined) return { reason: found.reason, message: found.message };
  if (measured !== undefined) return measured;
  const isDown = links.length > 0 && links.every(({ state, since }) => state !== 'Up' && nowMs - Date.parse(since ?? '') >= ALL_DOWN_MS);
  return isDown ? { reason: ALL_TUNNELS_DOWN, message: `none of its ${links.length} tunnels is up` } : undefined;
}

/**
 * Whether it is the node's own fault that it does not forward. A node without any tunnel cannot tell: it is, when two of its peers have one with each
 * other, by both ends' word. Where nobody can bear witness, as between two regions alone, nobody is blamed.
 */
export function isOwnFault(
  node: string,
  { state, reason }: Forwarding,
  linksOf: (node: string) => readonly TunnelLink[] | undefined,
): boolean {
  if (state !== 'Failed' || reason !== ALL_TUNNELS_DOWN) return true;
  const own = linksOf(node) ?? [];
  const regions = new Map(own.map(({ peer, gateway }) => [peer, gateway]));
  const isUp = (from: string, to: string): boolean => linksOf(from)?.some(({ peer, state: at }) => peer === to && at === 'Up') === true;
  return own.some(({ peer }) =>
    (linksOf(peer) ?? []).some((link) => link.state === 'Up' && link.peer !== node && regions.has(link.peer) && isUp(link.peer, peer)),
  );
}
