import type { Stance, Statement } from './probe-flags.ts';
import { forwards } from './own-forwarding.ts';
import { exitFails, exitWorksNow, type RerouteState, type RerouteView } from './reroute-state.ts';

/**
 * What a node says of itself in a probe or an answer. Pure.
 *
 * @param receiver name of the live endpoint of the own region that is asked; undefined: anybody else
 */
export function ownStatement(state: RerouteState, view: RerouteView, receiver: string | undefined, nowMs: number): Statement {
  const { exit = view.own.live[0] } = state.choices;
  const uses = receiver !== undefined && exit === receiver;
  const stance = stanceOf(view, state.choices.exit);
  return {
    forwards: forwards(state, view, nowMs),
    stance,
    ruled: stance === 'carries' && state.orders.get(`exit/${view.own.name}`)?.ruledMs !== undefined,
    uses,
    works: exitWorksNow(state, view, nowMs),
    distrusts: uses && exitFails(state, view, nowMs),
  };
}

/** Whoever has not decided yet must not call others back. */
function stanceOf({ node, own: { live } }: RerouteView, exit: string | undefined): Stance | undefined {
  if (exit === undefined || !live.includes(node)) return undefined;
  return exit === node ? 'carries' : 'leaves';
}
