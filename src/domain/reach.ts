import { compareText } from '../lib/compare.ts';
import { familyOf } from '../net/ip.ts';
import type { GatewayNode, Region } from './snapshot.ts';

/** Who can call whom, and who relays for those that cannot: from the snapshot alone, so the same on all nodes. */

/**
 * The region that relays for `region`: the oldest one with a public gateway. By age, so that adding a region moves no flow.
 * A region that is public itself needs none.
 */
export function relayOf(region: Region, regions: readonly Region[]): Region | undefined {
  if (isPublic(region)) return undefined;
  return byAge(regions.filter((each) => each.name !== region.name && isPublic(each) && reaches(region, each)))[0];
}

/** Whether `relay` passes on what `region` and some other one have for each other. */
export function isRelayOf(relay: Region, region: Region, regions: readonly Region[]): boolean {
  if (relayOf(region, regions)?.name === relay.name) return true;
  return regions.some(
    (other) => other.name !== region.name && !meet(region, other) && relayBetween(region, other, regions)?.name === relay.name,
  );
}

/** Whether packets between two other regions may come through `region`: some two cannot call each other, and it can be called. */
export function passesOn(region: Region, regions: readonly Region[]): boolean {
  const others = regions.filter(({ name }) => name !== region.name);
  return isPublic(region) && others.some((a, i) => others.slice(i + 1).some((b) => !meet(a, b)));
}

/** The oldest public region that both can call: the same one seen from either side, also where they are public and have no family in common. */
export function relayBetween(a: Region, b: Region, regions: readonly Region[]): Region | undefined {
  return byAge(regions.filter((each) => each.name !== a.name && each.name !== b.name && isPublic(each)))
    .filter((each) => reaches(a, each) && reaches(b, each))
    .at(0);
}

/** Older ones first. */
export function compareAge(a: Region, b: Region): number {
  return compareText(a.createdAt, b.createdAt) || compareText(a.name, b.name);
}

function byAge(regions: readonly Region[]): Region[] {
  return regions.toSorted(compareAge);
}

export function meet({ active: [a] }: Region, { active: [b] }: Region): boolean {
  return a !== undefined && b !== undefined && isCallable(a, b);
}

function reaches({ active: [from] }: Region, { active: [to] }: Region): boolean {
  return from === undefined || (to !== undefined && addressFor(to, from) !== undefined);
}

export function isPublic({ active }: Region): boolean {
  return active[0]?.publicAddress !== undefined;
}

export function isCallable(a: GatewayNode, b: GatewayNode): boolean {
  return addressFor(a, b) !== undefined || addressFor(b, a) !== undefined;
}

/** Where `caller` can call `node`: IPv4 when both have it. */
export function addressFor(node: GatewayNode, caller: GatewayNode): GatewayNode['publicAddresses'][number] | undefined {
  return node.publicAddresses.find(({ ip }) => caller.underlayFamilies.includes(familyOf(ip)));
}
