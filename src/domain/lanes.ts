import { familyOf } from '../net/ip.ts';
import { compareAge, isPublic, meet, relayBetween } from './reach.ts';
import type { GatewayNode, Region } from './snapshot.ts';

/**
 * Several active endpoints share a region's packets: each carries those of some of the other regions, its lane. From the snapshot alone, so the same on all nodes: the far end must
 * know from which endpoint a region's packets come. See `docs/decisions/0019-lanes.md`.
 */

/** One for each active endpoint that has tunnels; one only while some of these can be called by fewer others than the rest. */
export function laneCount({ active, live }: Region): number {
  const count = Math.min(active.length, live.length);
  return count > 1 && areAlike(live) ? count : 1;
}

/**
 * The lane of `own` for the packets between it and `other`. Regions that it reaches directly take turns, in order of age, so that a new one moves no flow. What goes by a relay has
 * the relay's own lane: the relay sends all that is for `own` to one endpoint. Takes time with the number of regions, and none where `own` has one lane.
 */
export function laneOf(own: Region, other: Region, regions: readonly Region[]): number {
  const count = laneCount(own);
  if (count === 1) return 0;
  const isDirect = meet(own, other) && (areAlike(other.live) || isPublic(other));
  const first = isDirect ? other : (relayBetween(own, other, regions) ?? other);
  return regions.filter((each) => each.name !== own.name && compareAge(each, first) < 0 && takesTurns(own, each)).length % count;
}

/** A lane's own order: the endpoint that the controller has for it first. */
export function inLaneOrder<T>(live: readonly T[], lane: number): T[] {
  return [...live.slice(lane), ...live.slice(0, lane)];
}

/** A region that has no active endpoint for a while keeps its turn, where it can be told that it has one. */
function takesTurns(own: Region, other: Region): boolean {
  return other.active.length === 0 ? isPublic(own) : meet(own, other);
}

/** Whoever can call one of them can call the others. */
function areAlike(live: readonly GatewayNode[]): boolean {
  const reach = live.map(({ publicAddresses, underlayFamilies }) =>
    [publicAddresses.map(({ ip }) => familyOf(ip)), underlayFamilies].join(' from '),
  );
  return new Set(reach).size <= 1;
}
