import type { Finding } from './node-plan.ts';

/** What a machine lacks for Raven, each in words for an operator: `program nft`, `VXLAN devices (…)`. */
export interface HostLacks {
  /** No node can do without. */
  readonly node: readonly string[];
  /** Only gateway nodes need it. */
  readonly gateway: readonly string[];
}

export const NOTHING_LACKS: HostLacks = { node: [], gateway: [] };

/** Reason of a node that carries nothing because its machine cannot. */
export const HOST_UNFIT = 'HostUnfit';

/** Why a node of that role carries nothing; undefined when its machine has all that it takes. */
export function unfitFinding({ node, gateway }: HostLacks, isGateway: boolean): Finding | undefined {
  const missing = isGateway ? [...node, ...gateway] : node;
  if (missing.length === 0) return undefined;
  return { reason: HOST_UNFIT, message: `this machine lacks ${missing.join('; ')}: nothing is set up on it until that is there` };
}
