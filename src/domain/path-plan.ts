import type { PathPlan } from './node-plan.ts';
import type { PathLimit } from './path-mtu.ts';
import type { Path } from './paths.ts';

/** A path as the plan tells it. */
export function toPathPlan({ region, peer, via, isPlain, isEncrypted }: Path, limit: PathLimit | undefined): PathPlan {
  return {
    gateway: region.name,
    peer: peer.name,
    ...(via && { via: via.name }),
    ...(isPlain && { isPlain }),
    ...(!isEncrypted && { encryption: 'none' }),
    ...(peer.overlayIp && { overlayIp: peer.overlayIp }),
    ...(limit && { mtuBytes: limit.mtuBytes }),
    ...(limit?.probe && { probeSizes: limit.probe.sizes }),
  };
}
