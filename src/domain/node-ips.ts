import { TABLE_FROM_REGIONS, VXLAN_DEVICE } from '../api/names.ts';
import { type Cidr, cidrContainsIp, hostCidr } from '../net/cidr.ts';
import { familyOf, type Ip } from '../net/ip.ts';
import type { NextHopAddresses } from './next-hop-address.ts';
import type { Finding, Route } from './node-plan.ts';
import type { PlainWays } from './plan-plain.ts';
import { type GatewayNode, podMatcher, type Region, type RegionNode, type Snapshot } from './snapshot.ts';
import { isCarriable } from './subnets.ts';

/** Addresses of nodes that are carried between regions (`--forward-node-ip`), each as a prefix of its own. */
export interface NodeIps {
  /** All of them, by region, the own one too. */
  readonly byRegion: ReadonlyMap<string, readonly Cidr[]>;
  /** Those of other regions that packets of this node and its pods are sent to. */
  readonly routed: ReadonlyMap<string, readonly Cidr[]>;
  /** Those that this region's nodes reach without us, but that others reach through this region. */
  readonly passedOn: ReadonlyMap<string, readonly Cidr[]>;
  readonly findings: readonly Finding[];
}

export const NO_NODE_IPS: NodeIps = { byRegion: new Map(), routed: new Map(), passedOn: new Map(), findings: [] };

/**
 * Decides which node addresses are carried. Left out, and why:
 * - an address that nodes of two regions have, or that lies inside pod CIDRs: nobody can know who is meant (findings);
 * - an address to which encapsulated packets go, or may go: routed into a tunnel, they would run in a circle;
 * - for `routed`: what is on-link here, and regions of the own routable domain, whose nodes are reached without us.
 *
 * Pure; does not depend on order. IPv4.
 */
export function planNodeIps(own: Region, { regions }: Snapshot, onLink: readonly Cidr[]): NodeIps {
  const owners = Map.groupBy(
    regions.flatMap(({ name, nodes }) => nodes.map((node) => ({ region: name, node }))),
    ({ node }) => node.privateIp,
  );
  const ownersOf = (ip: Ip): string[] => [...new Set(owners.get(ip)?.map(({ region }) => region))];
  const outer = outerAddresses(own, regions);
  const inPods = podMatcher(regions);
  const byRegion = new Map<string, Cidr[]>();
  const duplicates = new Map<Ip, readonly string[]>();
  const podAddresses = new Set<Ip>();
  for (const { name, nodes } of regions) {
    const fit = addressesOf(nodes).filter((ip) => {
      const users = ownersOf(ip);
      if (users.length > 1) duplicates.set(ip, users);
      else if (inPods(ip)) podAddresses.add(ip);
      else return isCarriable(hostCidr(ip)) && !outer.has(ip);
      return false;
    });
    byRegion.set(name, fit.map(hostCidr));
  }
  const others = regions.filter(({ name }) => name !== own.name);
  const isNear = ({ domain }: Region): boolean => domain !== undefined && domain === own.domain;
  const near = others.filter(isNear);
  const far = others.filter((region) => !isNear(region));
  const pick = (from: readonly Region[], fits: (cidr: Cidr) => boolean): Map<string, Cidr[]> =>
    new Map(from.map(({ name }) => [name, (byRegion.get(name) ?? []).filter(fits)]));
  return {
    byRegion,
    routed: pick(far, (cidr) => !onLink.some((prefix) => cidrContainsIp(prefix, addressOf(cidr)))),
    passedOn: pick(near, () => true),
    findings: [...duplicateFinding(duplicates), ...podFinding(podAddresses)],
  };
}

/** A gateway's routes to node addresses for what comes out of tunnels: to the region's own nodes, and through routable regions to theirs. */
export function deliverNodeIps(
  { name: own, nodes }: Region,
  self: RegionNode,
  { nodeIps, plain, nextHops }: { readonly nodeIps: NodeIps; readonly plain: PlainWays; readonly nextHops: NextHopAddresses },
): Route[] {
  const carried = new Set(nodeIps.byRegion.get(own));
  const near = nodes.flatMap(({ name, privateIp }): Route[] => {
    const via = nextHops.get(name);
    return name === self.name || privateIp === undefined || via === undefined || !carried.has(hostCidr(privateIp))
      ? []
      : [{ table: TABLE_FROM_REGIONS, dst: hostCidr(privateIp), via: via[familyOf(privateIp)], dev: VXLAN_DEVICE }];
  });
  const passedOn = [...plain].flatMap(([region, { via, dev }]) =>
    (nodeIps.passedOn.get(region) ?? []).map((dst): Route => ({ table: TABLE_FROM_REGIONS, dst, via: via[familyOf(dst)], dev })),
  );
  return [...near, ...passedOn];
}

function addressesOf(nodes: readonly RegionNode[]): Ip[] {
  const ips = nodes.flatMap(({ privateIp }) => privateIp ?? []);
  return [...new Set(ips)].filter((ip) => familyOf(ip) === 4);
}

function addressOf(cidr: Cidr): Ip {
  return cidr.slice(0, cidr.indexOf('/')) as Ip;
}

/**
 * Where encapsulated packets go. Of a gateway that is not called at a known address, its node's own address may be the one: not when it was seen to come
 * from another, as behind a NAT. Until somebody has seen it, it counts as one, or the first answer to its call would already go astray.
 */
function outerAddresses(own: Region, regions: readonly Region[]): ReadonlySet<Ip> {
  const gateways = regions.flatMap(({ live }) => live);
  const site = new Set(own.live.flatMap(({ observedIp }) => observedIp ?? []));
  const isOuter = ({ privateIp, seenAt, observedIp, region }: GatewayNode): boolean =>
    seenAt.length === 0 ||
    seenAt.some((ip) => ip === privateIp) ||
    (region !== own.name && observedIp !== undefined && site.has(observedIp));
  return new Set([
    ...gateways.flatMap(({ publicAddress }) => publicAddress?.ip ?? []),
    ...gateways.filter(isOuter).flatMap(({ privateIp }) => privateIp ?? []),
  ]);
}

/** A finding names so many addresses, and so many regions for each. */
const MAX_NAMED = 8;

function duplicateFinding(duplicates: ReadonlyMap<Ip, readonly string[]>): Finding[] {
  const texts = [...duplicates].map(([ip, regions]) => `${ip} (regions ${listed(regions)})`);
  const message = `node addresses that several regions use are not forwarded: ${listed(texts)}`;
  return texts.length === 0 ? [] : [{ reason: 'NodeAddressDuplicate', message }];
}

function podFinding(addresses: ReadonlySet<Ip>): Finding[] {
  const message = `node addresses inside the pod CIDRs of a region are not forwarded: ${listed([...addresses])}`;
  return addresses.size === 0 ? [] : [{ reason: 'NodeAddressInPodCIDR', message }];
}

function listed(texts: readonly string[]): string {
  const more = texts.length - MAX_NAMED;
  return `${texts.slice(0, MAX_NAMED).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
