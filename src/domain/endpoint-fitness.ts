import type { ImpairedEndpoint } from '../api/gateway.ts';
import type { Forwarding } from '../api/tunnel-endpoint.ts';
import { formatTime } from '../lib/clock.ts';
import type { EndpointType } from './election.ts';

/** What is known of a node that may be a gateway. */
export interface EndpointSigns {
  readonly isReady: boolean;
  /** Why others should take over from it, in words; undefined when they need not. */
  readonly drain: string | undefined;
  /** Why nothing is heard of its agent, in words; undefined when it is heard, or when nothing can be said. */
  readonly silence: string | undefined;
  /** Nothing was heard of its agent of late; false also when it never was. See `agent-leases.ts`. */
  readonly isStale: boolean;
  /** What its agent says; undefined when it says nothing. */
  readonly forwarding: Forwarding | undefined;
}

/** A sign of a plain Node, of which nothing else is known. */
export function plainSigns(isReady: boolean): EndpointSigns {
  return { isReady, drain: undefined, silence: undefined, isStale: false, forwarding: undefined };
}

/** A fall that lies so far back counts no more. */
const FORGET_MS = 60 * 60_000;
const FIRST_HOLD_MS = 5 * 60_000;
const LAST_HOLD_MS = 60 * 60_000;

/**
 * What stands against a node, and how often it fell; undefined when nothing does. A node falls when it becomes unfit: being drained is no fall, and
 * nobody falls while the whole region is cut off.
 *
 * Pure, and stable: with its result as `before`, the same signs give the same until `recheckAtMs`.
 */
export function judgeEndpoint(
  nodeName: string,
  signs: EndpointSigns,
  before: ImpairedEndpoint | undefined,
  { nowMs, isCutOff }: { readonly nowMs: number; readonly isCutOff: boolean },
): ImpairedEndpoint | undefined {
  const found = objectionTo(nodeName, signs, before, nowMs);
  const known = before !== undefined && nowMs - timeOf(before.lastFall) < FORGET_MS ? before : undefined;
  const isFall = found !== undefined && isFault(found.state) && !isFault(before?.state) && !isCutOff;
  if (found === undefined && known === undefined) return undefined;
  const { state, message } = found ?? { state: 'Recovered' as const, message: `node ${nodeName} was unfit a while ago` };
  const memory = isFall ? { falls: (known?.falls ?? 0) + 1, lastFall: formatTime(nowMs) } : remembered(known);
  return { nodeName, state, message, since: before?.state === state ? before.since : formatTime(nowMs), ...memory };
}

/** Ranks lower than others that are fit, although it is: it falls again and again. Who fell n times (n ≥ 2) is last for 5 min · 2ⁿ⁻¹, one hour at most. */
export function isFlapping(impaired: ImpairedEndpoint | undefined, nowMs: number): boolean {
  return (impaired?.falls ?? 0) >= 2 && nowMs < heldUntilMs(impaired);
}

/** The lower, the better; among equals who is active stays, and then the order of `spec.endpoints` counts. */
export function rankOf(impaired: ImpairedEndpoint | undefined, type: EndpointType, nowMs: number): number {
  const state = impaired?.state ?? 'Recovered';
  // A proxy answers requests: whether packets get across the node is nothing to it.
  if (state === 'Recovered' || (state === 'NotForwarding' && type === 'proxy')) return isFlapping(impaired, nowMs) ? 1 : 0;
  return { Draining: 2, AgentSilent: 3, NotForwarding: 4, NodeNotReady: 5 }[state];
}

/** When the verdict may become another although nobody says anything new. */
export function recheckAtMs(impaired: ImpairedEndpoint, signs: EndpointSigns): number | undefined {
  if (impaired.lastFall === undefined) return undefined;
  const isHeld = impaired.state === 'NotForwarding' && !isFailing(signs);
  return isHeld ? heldUntilMs(impaired) : timeOf(impaired.lastFall) + FORGET_MS;
}

type Objection = Pick<ImpairedEndpoint, 'state' | 'message'>;

/** The weightiest one. */
function objectionTo(nodeName: string, signs: EndpointSigns, before: ImpairedEndpoint | undefined, nowMs: number): Objection | undefined {
  const { isReady, drain, silence, forwarding } = signs;
  if (!isReady) return { state: 'NodeNotReady', message: `node ${nodeName} is not Ready` };
  if (isFailing(signs))
    return { state: 'NotForwarding', message: `node ${nodeName} does not forward: ${forwarding?.message ?? forwarding?.reason ?? ''}` };
  // Who lost its part because it did not forward is no gateway any more, and says nothing: it is believed for a time that grows with its
  // falls. Otherwise two that do not forward would be elected in turns.
  if (before?.state === 'NotForwarding' && forwarding?.state !== 'Ok' && nowMs < heldUntilMs(before)) return before;
  if (silence !== undefined) return { state: 'AgentSilent', message: `node ${nodeName}: ${silence}` };
  return drain === undefined ? undefined : { state: 'Draining', message: `node ${nodeName} is to be left: ${drain}` };
}

function isFailing({ forwarding }: EndpointSigns): boolean {
  return forwarding?.state === 'Failed';
}

function heldUntilMs(impaired: Pick<ImpairedEndpoint, 'falls' | 'lastFall'> | undefined): number {
  return timeOf(impaired?.lastFall) + Math.min(LAST_HOLD_MS, FIRST_HOLD_MS * 2 ** ((impaired?.falls ?? 1) - 1));
}

function remembered(known: ImpairedEndpoint | undefined): Pick<ImpairedEndpoint, 'falls' | 'lastFall'> {
  return known?.falls === undefined || known.lastFall === undefined ? {} : { falls: known.falls, lastFall: known.lastFall };
}

function isFault(state: ImpairedEndpoint['state'] | undefined): boolean {
  return state === 'AgentSilent' || state === 'NotForwarding' || state === 'NodeNotReady';
}

/** Long ago, when there is none or it cannot be read. */
function timeOf(text: string | undefined): number {
  const ms = Date.parse(text ?? '');
  return Number.isNaN(ms) ? Number.NEGATIVE_INFINITY : ms;
}
