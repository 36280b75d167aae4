import { familyOf, type Ip } from '../net/ip.ts';
import type { LinkHealth } from './paths.ts';
import type { GatewayNode, Region } from './snapshot.ts';

/**
 * Regions that reach each other's nodes already (one VPC, a leased line) and are marked so on both Gateways: packets between their gateways go
 * by `raven0`, VXLAN between node addresses, and not through a tunnel. See `docs/decisions/0010-routable-regions.md`.
 */
export interface RoutableGateways {
  /** The same for `(a, b)` and `(b, a)`. */
  areRoutable(a: GatewayNode, b: GatewayNode): boolean;
}

/** How packets go between two gateway nodes at this moment, as the sending one sees it. */
export interface PlainLink {
  /** Without a tunnel. */
  readonly isPlain: boolean;
  /** A tunnel must stand, whether or not packets are sent into it. */
  readonly needsTunnel: boolean;
}

/** Pure; does not depend on the order of `regions`. A node address that two regions of a domain have leads nowhere, so such a gateway keeps its tunnels. */
export function routableGateways(regions: readonly Region[]): RoutableGateways {
  const domains = new Map(regions.map(({ name, domain }) => [name, domain]));
  const owners = addressOwners(regions);
  const isUnique = ({ region, privateIp }: GatewayNode, domain: string): boolean =>
    privateIp !== undefined && [...(owners.get(`${domain} ${privateIp}`) ?? [])].every((owner) => owner === region);
  return {
    areRoutable: (a, b) => {
      const domain = domains.get(a.region);
      return (
        domain !== undefined &&
        a.region !== b.region &&
        domain === domains.get(b.region) &&
        haveOneFamily(a, b) &&
        isUnique(a, domain) &&
        isUnique(b, domain)
      );
    },
  };
}

/** A VXLAN device has one. */
function haveOneFamily({ privateIp: a }: GatewayNode, { privateIp: b }: GatewayNode): boolean {
  return a !== undefined && b !== undefined && familyOf(a) === familyOf(b);
}

/** Gateway nodes of other regions in the domain of `own`. */
function routablePeers(own: Region, regions: readonly Region[]): GatewayNode[] {
  const others = regions.filter(({ name, domain }) => name !== own.name && domain !== undefined && domain === own.domain);
  return others.flatMap(({ live }) => live);
}

/** Where encapsulated packets of this region go to. */
export function outerAddresses(own: Region, regions: readonly Region[]): Ip[] {
  const called = regions.flatMap(({ live }) => live.flatMap(({ publicAddresses }) => publicAddresses.map(({ ip }) => ip)));
  return [...called, ...routablePeers(own, regions).flatMap(({ privateIp }) => privateIp ?? [])];
}

/**
 * Moves a link between tunnel and no tunnel so that packets pass all the time. Every gateway takes what comes by `raven0`, whatever it sends itself, so
 * each end goes over by itself: marked, at once, and the tunnel stands until the other end says that it has gone over too; no longer marked, when the
 * tunnel is up. One that does not come up (`stuck`) ends the wait: packets that should be encrypted are not sent in the clear for long.
 */
export function judgePlainLink(
  self: GatewayNode,
  peer: GatewayNode,
  {
    routable,
    canWait,
    health,
  }: {
    readonly routable: RoutableGateways;
    /** There is a tunnel to wait for, and the peer's address means nobody else here. */
    readonly canWait: boolean;
    readonly health: LinkHealth | undefined;
  },
): PlainLink {
  if (routable.areRoutable(self, peer)) return { isPlain: true, needsTunnel: peer.links.get(self.name)?.isPlain === false };
  const wasPlain = self.links.get(peer.name)?.isPlain === true && peer.privateIp !== undefined;
  return { isPlain: wasPlain && canWait && health?.up !== true && health?.stuck !== true, needsTunnel: true };
}

/** Regions by `domain address`. */
function addressOwners(regions: readonly Region[]): ReadonlyMap<string, ReadonlySet<string>> {
  const owners = new Map<string, Set<string>>();
  const add = (key: string, region: string): void => void owners.set(key, (owners.get(key) ?? new Set()).add(region));
  for (const { name, domain, nodes } of regions) {
    if (domain === undefined) continue;
    for (const ip of nodes.flatMap(({ privateIp }): Ip[] => (privateIp === undefined ? [] : [privateIp]))) add(`${domain} ${ip}`, name);
  }
  return owners;
}
