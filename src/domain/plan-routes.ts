import { NEXTHOP_ID_FIRST, TABLE_FROM_REGIONS, TABLE_TO_REGIONS, VXLAN_DEVICE } from '../api/names.ts';
import type { Cidr } from '../net/cidr.ts';
import { type Family, familyOf, type Ip } from '../net/ip.ts';
import { IPV6_MIN_MTU_BYTES } from '../net/mtu.ts';
import { type Carriers, carrierOf } from './carriers.ts';
import { assignIds } from './device.ts';
import type { LocalFacts, Underlay } from './facts.ts';
import type { NextHopAddresses } from './next-hop-address.ts';
import { deliverNodeIps, type NodeIps } from './node-ips.ts';
import type { Finding, Nexthop, NodePlan, Route } from './node-plan.ts';
import type { PathLimits } from './path-mtu.ts';
import type { Paths } from './paths.ts';
import type { PlainWays } from './plan-plain.ts';
import type { TunnelRoutes } from './plan-tunnels.ts';
import type { Region, RegionNode } from './snapshot.ts';

/** Ids of next hops come from 16 bits of hash. */
const NEXTHOP_IDS = 0x10000;
/** Key of the next hop "my region's gateway", one for each lane; no region name contains a slash. */
function laneKey(lane: number): string {
  return lane === 0 ? 'gateway/' : `gateway/${lane}`;
}

/** One node, as its plan sees it. */
export interface Local {
  readonly region: Region;
  readonly self: RegionNode;
  readonly address: Ip;
  readonly underlay: Underlay;
  /** Carried between regions by this node. */
  readonly families: readonly Family[];
  readonly nextHops: NextHopAddresses;
}

/** What another region holds, as far as this node routes it. */
export interface RemoteRegion {
  readonly name: string;
  readonly cidrs: readonly Cidr[];
}

type RoutePart = Pick<NodePlan, 'nexthops' | 'routes'>;
type Ids = (key: string, family: Family) => number;

/** What is for other regions goes to the carriers of the own one: one next hop per lane, so that a move is one write. */
export function ordinaryRoutes(
  { region, families, nextHops }: Local,
  { exits, lanes }: Carriers,
  remote: readonly RemoteRegion[],
  {
    hostSources,
    ids = nexthopIds(
      exits.map((_, lane) => laneKey(lane)),
      families,
    ),
  }: Pick<LocalFacts, 'hostSources'> & { readonly ids?: Ids },
): RoutePart {
  const nexthops: Nexthop[] = [];
  const routes: Route[] = [];
  for (const [lane, exit] of exits.entries()) {
    const gateway = region.nodes.find(({ name }) => name === exit);
    const via = nextHops.get(gateway?.name ?? '');
    if (gateway?.privateIp === undefined || via === undefined) continue;
    const key = laneKey(lane);
    nexthops.push(...families.map((family) => ({ id: ids(key, family), via: via[family], dev: VXLAN_DEVICE, family })));
    const carried = remote.filter(({ name }) => (lanes.get(name) ?? 0) === lane);
    routes.push(...carried.flatMap(({ cidrs }) => cidrs.map((dst) => toRegion(dst, ids(key, familyOf(dst)), hostSources))));
  }
  return { nexthops, routes };
}

/**
 * A gateway's own tunnels get what it carries, the other endpoint what that one does: at the far ends only one owns the region's prefixes. A standby, which is ready to carry, sends
 * everything by the others.
 */
export function endpointRoutes(local: Local, { exits, lanes }: Carriers, view: GatewayView): RoutePart & Pick<NodePlan, 'findings'> {
  const { self } = local;
  const elsewhere = exits.map((exit) => (exit === self.name ? undefined : exit));
  const carries = exits.includes(self.name);
  const laneKeys = exits.flatMap((exit, lane) => (exit === self.name ? [] : [laneKey(lane)]));
  const ids = nexthopIds([...(carries ? view.remote.map(({ name }) => name) : []), ...laneKeys], local.families);
  const others = ordinaryRoutes(local, { exits: elsewhere, lanes }, view.remote, { hostSources: view.hostSources, ids });
  if (!carries) return { ...others, findings: [] };
  const remote = view.remote.filter(({ name }) => carrierOf({ exits, lanes }, name) === self.name);
  const own = gatewayRoutes(local, { ...view, remote, ids });
  return { ...own, nexthops: [...own.nexthops, ...others.nexthops], routes: [...own.routes, ...others.routes] };
}

/** One next hop per key and family. */
function nexthopIds(keys: readonly string[], families: readonly Family[]): Ids {
  // IPv4 keeps the plain keys, and so the ids that it has in a cluster without IPv6.
  const nameOf = (key: string, family: Family): string => (family === 4 ? key : `${key}/6`);
  const ids = assignIds(
    keys.flatMap((key) => families.map((family) => nameOf(key, family))),
    NEXTHOP_ID_FIRST,
    NEXTHOP_IDS,
  );
  return (key, family) => ids.get(nameOf(key, family)) ?? NEXTHOP_ID_FIRST;
}

export interface GatewayView {
  readonly remote: readonly RemoteRegion[];
  readonly paths: Paths;
  readonly tunnels: TunnelRoutes;
  readonly plain: PlainWays;
  readonly limits: PathLimits;
  readonly hostSources: LocalFacts['hostSources'];
}

/** One next hop per region, so that changing its way is one write. */
function gatewayRoutes(
  { families }: Local,
  { remote, paths, tunnels, plain, limits, hostSources, ids }: GatewayView & { readonly ids: Ids },
): RoutePart & Pick<NodePlan, 'findings'> {
  const nexthops: Nexthop[] = [];
  const routes: Route[] = [];
  const findings: Finding[] = [];
  for (const { region: to } of paths.paths) {
    const plainWay = plain.get(to.name);
    const way = plainWay ?? tunnels.ways.get(to.name);
    const cidrs = remote.find(({ name }) => name === to.name)?.cidrs;
    if (cidrs === undefined || way === undefined) continue;
    const limit = limits.get(to.name);
    const mtuBytes = limit?.mtuBytes ?? IPV6_MIN_MTU_BYTES;
    const carried = families.filter((family) => family === 4 || mtuBytes >= IPV6_MIN_MTU_BYTES);
    if (carried.length < families.length && cidrs.some((cidr) => familyOf(cidr) === 6)) findings.push(tooNarrow(to.name, mtuBytes));
    const used = carried.filter((family) => family === 4 || cidrs.some((cidr) => familyOf(cidr) === family));
    nexthops.push(
      ...used.map((family) => ({ id: ids(to.name, family), ...(plainWay && { via: plainWay.via[family] }), dev: way.dev, family })),
    );
    routes.push(
      ...cidrs
        .filter((dst) => carried.includes(familyOf(dst)))
        .map((dst) => ({ ...toRegion(dst, ids(to.name, familyOf(dst)), hostSources), ...limit?.onRoute })),
    );
  }
  return { nexthops, routes, findings };
}

/** For what comes out of tunnels: the region's own nodes through `raven0`. */
export function deliveryRoutes(
  { region, self, families, nextHops }: Local,
  { nodeIps, plain }: { readonly nodeIps: NodeIps; readonly plain: PlainWays },
): Route[] {
  const pods = region.nodes.flatMap(({ name, privateIp, subnets }): Route[] => {
    const via = nextHops.get(name);
    if (name === self.name || privateIp === undefined || via === undefined) return [];
    const carried = subnets.filter((dst) => families.includes(familyOf(dst)));
    return carried.map((dst) => ({ table: TABLE_FROM_REGIONS, dst, via: via[familyOf(dst)], dev: VXLAN_DEVICE }));
  });
  return [...pods, ...deliverNodeIps(region, self, { nodeIps, plain, nextHops })];
}

function tooNarrow(gateway: string, mtuBytes: number): Finding {
  const message = `IPv6 is not carried to region ${gateway}: the tunnel takes packets of ${mtuBytes} bytes, and IPv6 needs ${IPV6_MIN_MTU_BYTES}; give the underlay a larger MTU`;
  return { reason: 'FamilyNotCarried', gateway, message };
}

function toRegion(dst: Cidr, nexthopId: number, hostSources: LocalFacts['hostSources']): Route {
  const src = hostSources[familyOf(dst)];
  return { table: TABLE_TO_REGIONS, dst, nexthopId, ...(src !== undefined && { src }) };
}
