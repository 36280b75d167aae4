import { compareText } from '../lib/compare.ts';
import { type Cidr, compareCidrs, mergeCidrs, networkAddress, prefixLength, subtractCidrs } from '../net/cidr.ts';
import { familyOf, ipValue } from '../net/ip.ts';

export interface RegionCidrs {
  readonly name: string;
  readonly cidrs: readonly Cidr[];
}

/** A part of a region that another region claims as well. */
export interface Overlap {
  readonly cidr: Cidr;
  /** The other region. */
  readonly with: string;
}

export interface UsableSubnets {
  /** What belongs to this region alone: the fewest prefixes, in address order. */
  readonly cidrs: readonly Cidr[];
  /** In address order, then by region. Never empty when something was taken out. */
  readonly overlaps: readonly Overlap[];
}

/**
 * Says which addresses of each region can be routed: those that no other region claims. Nobody can know whose a shared
 * address is, so shared parts are taken out on all sides, and every node comes to the same result.
 *
 * Pure; depends on the order of neither regions nor CIDRs. Equal prefixes inside one region are one. O(n log n): where more than
 * {@link MAX_NAMED} regions claim the same addresses, each names only some of the others (at least one). Hand in the same `cidrs`
 * array for a region that did not change: most of the work for it is then saved.
 */
export function usableSubnets(regions: readonly RegionCidrs[]): ReadonlyMap<string, UsableSubnets> {
  const claims = claimsOf(regions);
  const overlaps = new Map<string, Overlap[]>(regions.map(({ name }) => [name, []]));
  const usable = new Map<string, Cidr[]>(regions.map(({ name }) => [name, []]));
  for (const { claim, holes, shared } of sweep(claims, overlaps)) {
    if (!shared) usable.get(claim.region)?.push(...(holes.length === 0 ? [claim.cidr] : subtractCidrs(claim.cidr, holes)));
  }
  return new Map([...usable].map(([name, cidrs]) => [name, { cidrs, overlaps: distinct(overlaps.get(name) ?? []) }]));
}

/** How many other regions a claim names at most: keeps a thousand regions with the same CIDR from naming a million pairs. */
const MAX_NAMED = 8;

/** One prefix of a region's merged set: claims of the same region never overlap. */
interface Claim {
  readonly region: string;
  readonly cidr: Cidr;
  readonly family: 4 | 6;
  readonly first: bigint | number;
  readonly length: number;
}

/** In address order, the wider first: a claim stands behind all that contain it. */
function claimsOf(regions: readonly RegionCidrs[]): Claim[] {
  const byName = Map.groupBy(regions, ({ name }) => name);
  const claims = [...byName].flatMap(([region, parts]) =>
    parts.length === 1 && parts[0] !== undefined
      ? claimsOfRegion(parts[0])
      : mergedClaims({ name: region, cidrs: parts.flatMap(({ cidrs }) => cidrs) }),
  );
  return claims.toSorted(compareClaims);
}

/** Merging is most of the cost and a region's list seldom changes, so it is remembered for as long as the caller keeps the same array. */
const remembered = new WeakMap<readonly Cidr[], readonly Claim[]>();

function claimsOfRegion(region: RegionCidrs): readonly Claim[] {
  const known = remembered.get(region.cidrs);
  if (known !== undefined && (known[0]?.region ?? region.name) === region.name) return known;
  const claims = mergedClaims(region);
  remembered.set(region.cidrs, claims);
  return claims;
}

function mergedClaims({ name, cidrs }: RegionCidrs): Claim[] {
  return mergeCidrs(cidrs).map((cidr) => claimOf(name, cidr));
}

function claimOf(region: string, cidr: Cidr): Claim {
  const address = networkAddress(cidr);
  const family = familyOf(address);
  const { value } = ipValue(address);
  return { region, cidr, family, first: family === 4 ? Number(value) : value, length: prefixLength(cidr) };
}

function compareClaims(a: Claim, b: Claim): number {
  if (a.family !== b.family) return a.family - b.family;
  if (a.first !== b.first) return a.first < b.first ? -1 : 1;
  return a.length - b.length || compareText(a.region, b.region);
}

interface Swept {
  readonly claim: Claim;
  /** What other regions claim inside it. */
  readonly holes: Cidr[];
  /** Another region claims all of it. */
  readonly shared: boolean;
}

/** Two prefixes are nested or disjoint, so a stack of the claims around the current one is all that one pass needs. */
function sweep(claims: readonly Claim[], overlaps: ReadonlyMap<string, Overlap[]>): Swept[] {
  const around: Swept[] = [];
  return claims.map((claim) => {
    while (around.length > 0 && !holds(around.at(-1)?.claim, claim)) around.pop();
    for (const { claim: outer } of around.slice(-MAX_NAMED)) {
      overlaps.get(outer.region)?.push({ cidr: claim.cidr, with: claim.region });
      overlaps.get(claim.region)?.push({ cidr: claim.cidr, with: outer.region });
    }
    // Deeper claims lie inside a hole already.
    if (around.length === 1) around[0]?.holes.push(claim.cidr);
    const swept: Swept = { claim, holes: [], shared: around.length > 0 };
    around.push(swept);
    return swept;
  });
}

function holds(outer: Claim | undefined, inner: Claim): boolean {
  if (outer === undefined || outer.family !== inner.family || outer.length > inner.length) return false;
  if (typeof outer.first === 'number' && typeof inner.first === 'number') return inner.first < outer.first + 2 ** (32 - outer.length);
  return BigInt(inner.first) < BigInt(outer.first) + (1n << BigInt(128 - outer.length));
}

function distinct(overlaps: readonly Overlap[]): Overlap[] {
  if (overlaps.length < 2) return [...overlaps];
  const byText = new Map(overlaps.map((overlap) => [`${overlap.cidr} ${overlap.with}`, overlap]));
  return [...byText.values()].toSorted((a, b) => compareCidrs(a.cidr, b.cidr) || compareText(a.with, b.with));
}
