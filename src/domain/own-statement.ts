import { inLaneOrder } from './lanes.ts';
import { forwards, isUnproven } from './own-forwarding.ts';
import type { LaneStatement, Stance, Statement } from './probe-flags.ts';
import { exitFails, exitWorksNow } from './exit-opinion.ts';
import { isBack, isLeaving, orderKey, type RerouteState, type RerouteView, trackOf } from './reroute-state.ts';

/**
 * What a node says of itself to others of its own region, in a probe or an answer: of all lanes. Pure.
 *
 * @param receiver name of the live endpoint that is asked; undefined: anybody
 */
export function statementWithin(state: RerouteState, view: RerouteView, receiver: string | undefined, nowMs: number): Statement {
  const does = forwards(state, view, nowMs);
  const lanes = view.through.map((through, lane): LaneStatement => {
    const order = state.orders.get(orderKey('exit', view.own.name, lane));
    const chosen = state.choices.exits[lane];
    const uses = receiver !== undefined && (chosen ?? inLaneOrder(view.own.live, lane)[0]) === receiver;
    const isUndecided = does && order !== undefined && isBack(order, nowMs) && !doOthersLeave(state, view, lane, order.aloneMs);
    const stance = stanceOf(view, isUndecided && chosen === view.node ? undefined : chosen, () => isUnproven(state, view, lane, nowMs));
    return {
      stance,
      ruled: stance === 'carries' && order?.ruledMs !== undefined,
      uses,
      works: exitWorksNow(state, through, nowMs),
      distrusts: uses && exitFails(state, through, nowMs),
    };
  });
  return { forwards: does, lanes };
}

/**
 * What it says to others: of the lane that packets for that one's region take.
 *
 * @param peer name of the far endpoint; undefined: one that is no endpoint
 */
export function statementAcross(state: RerouteState, view: RerouteView, peer: string | undefined, nowMs: number): Statement {
  const { lanes, ...all } = statementWithin(state, view, undefined, nowMs);
  const lane = view.lanes.get(peer ?? '') ?? 0;
  const uses = peer !== undefined && sendsTo(state, view, peer);
  return { ...all, lanes: lanes.slice(lane, lane + 1).map((each) => ({ ...each, uses })) };
}

/** Whether packets for a far endpoint's region go to that one. */
function sendsTo({ choices }: RerouteState, { others }: RerouteView, peer: string): boolean {
  const region = others.find(({ live }) => live.includes(peer));
  return region !== undefined && (choices.entry.get(region.name) ?? region.live[0]) === peer;
}

/** Whether none of the other endpoints of the region took the lane, by what they answered since. */
function doOthersLeave(state: RerouteState, { node, own: { live } }: RerouteView, lane: number, sinceMs = 0): boolean {
  const others = live.filter((name) => name !== node).map((name) => trackOf(state, 'lan', name));
  return others.every(({ heardMs = 0, lanes }) => heardMs > sinceMs && isLeaving(lanes[lane] ?? {}));
}

/** Whoever has not decided yet must not call others back. */
function stanceOf({ node, own: { live } }: RerouteView, exit: string | undefined, isUnsure: () => boolean): Stance | undefined {
  if (exit === undefined || !live.includes(node)) return undefined;
  if (exit === node) return 'carries';
  return isUnsure() ? 'waits' : 'leaves';
}

/** Of an endpoint, what others should hear at once when it changes. That it could carry now is no such news. */
export function newsOf({ forwards: does, lanes }: Statement): string {
  return `${does} ${lanes.map(({ stance, ruled }) => `${stance === 'waits' ? 'leaves' : stance} ${ruled}`).join()}`;
}
