import { type Carriers, carrierOf } from './carriers.ts';
import type { PathPlan } from './node-plan.ts';
import type { PathLimits } from './path-mtu.ts';
import type { Path } from './paths.ts';

export interface PathPlanView {
  readonly node: string;
  readonly carriers: Carriers;
  readonly limits: PathLimits;
}

/** A path as the plan tells it. */
export function toPathPlan({ region, peer, via, isPlain, isEncrypted }: Path, { node, carriers, limits }: PathPlanView): PathPlan {
  const limit = limits.get(region.name);
  const carrier = carriers.exits.length > 1 ? carrierOf(carriers, region.name) : undefined;
  return {
    gateway: region.name,
    peer: peer.name,
    ...(carrier !== undefined && carrier !== node && { carrier }),
    ...(via && { via: via.name }),
    ...(isPlain && { isPlain }),
    ...(!isEncrypted && { encryption: 'none' }),
    ...(peer.overlayIp && { overlayIp: peer.overlayIp }),
    ...(limit && { mtuBytes: limit.mtuBytes }),
    ...(limit?.probe && { probeSizes: limit.probe.sizes }),
  };
}
