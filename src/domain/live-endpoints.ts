import type { Endpoint, Gateway, ImpairedEndpoint } from '../api/gateway.ts';

/**
 * One carries a region's packets and one stands ready, or two share them: a third would cost every other region one more tunnel. What nodes tell each other has room for two
 * as well (`probe-flags.ts`).
 */
const LIVE = 2;

/** One that is drained stands ready until it stops: packets may still be on their way through it. */
const UNFIT: ReadonlySet<string> = new Set(['NodeNotReady', 'AgentSilent', 'NotForwarding'] satisfies ImpairedEndpoint['state'][]);

/** Of a region that was cut off the standby may carry by now, so the first node to report again does not take its place. */
function isUnfit({ state, expected }: ImpairedEndpoint): boolean {
  return UNFIT.has(state) && expected !== true;
}

/** Whether nodes of two regions have a choice between endpoints of either, and so probe the tunnels between them. */
export function hasChoice(a: { readonly live: readonly unknown[] }, b: { readonly live: readonly unknown[] }): boolean {
  return a.live.length > 1 || b.live.length > 1;
}

/** The tunnel endpoints that the controller chose, in its order: all nodes read the same object. */
export function activeTunnels({ status }: Gateway): Endpoint[] {
  return (status?.activeEndpoints ?? []).filter(({ type }) => type === 'tunnel');
}

/**
 * The tunnel endpoints of a region that have tunnels: those that the controller chose, and behind them the next of `spec.endpoints`, up to two together.
 * None where the controller chose none: the region is switched off, or nothing is known of it.
 */
export function liveEndpoints(gateway: Gateway): Endpoint[] {
  const active = activeTunnels(gateway);
  if (active.length === 0) return [];
  const known = new Set(gateway.status?.nodes.map(({ nodeName }) => nodeName));
  const unfit = new Set(gateway.status?.impaired?.filter(isUnfit).map(({ nodeName }) => nodeName));
  const standby = gateway.spec.endpoints
    .filter(({ type, nodeName }) => type === 'tunnel' && known.has(nodeName))
    // Of the unfit still rather one than none: the controller may be wrong, or its word old.
    .toSorted((a, b) => Number(unfit.has(a.nodeName)) - Number(unfit.has(b.nodeName)));
  const byName = new Map(
    [...active, ...standby.filter((each) => !active.some(({ nodeName }) => nodeName === each.nodeName))].map((each) => [
      each.nodeName,
      each,
    ]),
  );
  return [...byName.values()].slice(0, LIVE);
}
