import {
  NEXTHOP_ID_FIRST,
  RULE_PREF_FROM_REGIONS,
  RULE_PREF_TO_REGIONS,
  FROM_TUNNEL_MARK,
  TABLE_FROM_REGIONS,
  TABLE_TO_REGIONS,
  VXLAN_DEVICE,
} from '../api/names.ts';
import { compareText } from '../lib/compare.ts';
import { type Cidr, cidrsOverlap, compareCidrs, hostCidr, subtractCidrs } from '../net/cidr.ts';
import { type Family, familyOf, type Ip } from '../net/ip.ts';
import { IPV6_MIN_MTU_BYTES, vxlanMtu } from '../net/mtu.ts';
import { assignIds } from './device.ts';
import { matchDrivers } from './driver-match.ts';
import type { LocalFacts, Underlay } from './facts.ts';
import { carriableFamilies, familiesBetween, familyFindings } from './families.ts';
import { nextHopAddresses, type NextHopAddresses } from './next-hop-address.ts';
import { planNft } from './nft-rules.ts';
import type { Finding, Nexthop, NodePlan, PathPlan, Route, Rule } from './node-plan.ts';
import { linkSysctls } from './link-sysctls.ts';
import { choosePaths, type LinkHealth, type Path, type Paths } from './paths.ts';
import { planOverlay } from './plan-overlay.ts';
import { type Region, type RegionNode, regionOfNode, type Snapshot } from './snapshot.ts';
import { planTunnels, type TunnelRoutes } from './plan-tunnels.ts';

export interface PlanInput {
  readonly node: string;
  readonly snapshot: Snapshot;
  readonly facts: LocalFacts;
  /** By peer name. */
  readonly health: ReadonlyMap<string, LinkHealth>;
}

/** Ids of next hops come from 16 bits of hash. */
const NEXTHOP_IDS = 0x10000;
/** Key of the next hop "my region's gateway"; no region name contains a slash. */
const GATEWAY_KEY = 'gateway/';

const EMPTY: NodePlan = {
  role: 'none',
  links: [],
  fdb: [],
  neighbours: [],
  nexthops: [],
  routes: [],
  rules: [],
  nft: undefined,
  sysctls: [],
  tunnels: undefined,
  paths: [],
  findings: [],
};

/**
 * Everything that `node` carries for Raven. Pure: depends on its arguments alone and not on their order.
 * A node in no region, or whose address is on no device, carries nothing and says why.
 */
export function plan({ node, snapshot, facts, health }: PlanInput): NodePlan {
  const region = regionOfNode(snapshot, node);
  const self = region?.nodes.find(({ name }) => name === node);
  if (region === undefined || self === undefined)
    return nothing('NoRegion', `node ${node} is in no Gateway's status.nodes: label it raven.openyurt.io/gateway=<region>`);
  const { underlay } = facts;
  if (self.privateIp === undefined || underlay === undefined) {
    return nothing('NodeAddressMissing', `no network device has the node's address ${self.privateIp ?? '(none in Gateway.status)'}`);
  }
  const gateway = region.active.find(({ name }) => name === node);
  const { families, findings: unable } = carriableFamilies(
    familiesBetween(snapshot, region, gateway?.publicAddress !== undefined),
    facts,
    vxlanMtu(underlay.mtuBytes, familyOf(self.privateIp)),
  );
  const local: Local = {
    region,
    self,
    address: self.privateIp,
    underlay,
    families,
    nextHops: nextHopAddresses(region.nodes, self.privateIp),
  };
  const matched = gateway && matchDrivers(gateway, choosePaths(region, gateway, snapshot, health), facts.driver);
  const paths = matched?.paths;
  const remote = remoteCidrs(local, snapshot);
  const overlay = planOverlay(local);
  const findings = [
    ...remote.findings,
    ...unable,
    ...overlay.findings,
    ...regionFindings(local, snapshot, facts, paths),
    ...(matched?.findings ?? []),
  ];
  const base = { ...overlay, ...planRules(families), findings };
  const view = { families, own: self.subnets, remote: remote.regions.flatMap(({ cidrs }) => cidrs), hostSources: facts.hostSources };
  if (gateway === undefined || paths === undefined) {
    return finish(families, {
      ...base,
      role: 'ordinary',
      ...ordinaryRoutes(local, remote.regions, facts),
      nft: planNft({ role: 'ordinary', ...view }),
      tunnels: undefined,
      paths: [],
    });
  }
  const tunnels = planTunnels({ region, self: gateway, snapshot, paths, underlay, driver: facts.driver, dataPath: facts.dataPath });
  const routes = gatewayRoutes(local, { remote: remote.regions, paths, tunnels, hostSources: facts.hostSources });
  return finish(families, {
    ...base,
    role: 'gateway',
    links: [...base.links, ...tunnels.links],
    ...routes,
    findings: [...findings, ...routes.findings],
    nft: planNft({ role: 'gateway', ...view }),
    tunnels: tunnels.plan,
    paths: paths.paths.map(toPathPlan),
  });
}

function nothing(reason: string, message: string): NodePlan {
  return { ...EMPTY, findings: [{ reason, message }] };
}

interface Local {
  readonly region: Region;
  readonly self: RegionNode;
  readonly address: Ip;
  readonly underlay: Underlay;
  /** Carried between regions by this node. */
  readonly families: readonly Family[];
  readonly nextHops: NextHopAddresses;
}

function planRules(families: readonly Family[]): { rules: Rule[] } {
  const mark = { value: FROM_TUNNEL_MARK, mask: FROM_TUNNEL_MARK };
  return {
    rules: families.flatMap((family) => [
      { pref: RULE_PREF_TO_REGIONS, family, table: TABLE_TO_REGIONS },
      { pref: RULE_PREF_FROM_REGIONS, family, table: TABLE_FROM_REGIONS, mark },
    ]),
  };
}

interface RemoteRegion {
  readonly name: string;
  readonly cidrs: readonly Cidr[];
}

/** What other regions hold, without what is on-link here: a pod CIDR over the own LAN or over a tunnel's outer address would cut it off. */
function remoteCidrs({ region, underlay, families }: Local, { regions }: Snapshot): { regions: RemoteRegion[]; findings: Finding[] } {
  const outer = regions.flatMap(({ active }) => active.flatMap(({ publicAddresses }) => publicAddresses.map(({ ip }) => hostCidr(ip))));
  const reserved = [...underlay.prefixes, ...outer];
  const findings: Finding[] = [];
  const others = regions
    .filter(({ name }) => name !== region.name)
    .map(({ name, cidrs: all }) => {
      const cidrs = all.filter((cidr) => families.includes(familyOf(cidr)));
      const clash = reserved.filter((prefix) => cidrs.some((cidr) => cidrsOverlap(cidr, prefix)));
      if (clash.length === 0) return { name, cidrs };
      findings.push({
        reason: 'SubnetCoversUnderlay',
        gateway: name,
        message: `pod CIDRs of region ${name} cover ${clash.join(', ')}, which carries the tunnels or is this node's own network: that part is not routed`,
      });
      return { name, cidrs: cidrs.flatMap((cidr) => subtractCidrs(cidr, clash)) };
    });
  return { regions: others, findings };
}

type RoutePart = Pick<NodePlan, 'nexthops' | 'routes'>;

/** Everything for other regions goes to the region's gateway. */
function ordinaryRoutes({ region, families, nextHops }: Local, remote: readonly RemoteRegion[], facts: LocalFacts): RoutePart {
  const gateway = region.nodes.find(({ name }) => name === region.active[0]?.name);
  const via = nextHops.get(gateway?.name ?? '');
  if (gateway?.privateIp === undefined || via === undefined) return { nexthops: [], routes: [] };
  const ids = nexthopIds([GATEWAY_KEY], families);
  return {
    nexthops: families.map((family) => ({ id: ids(GATEWAY_KEY, family), via: via[family], dev: VXLAN_DEVICE, family })),
    routes: remote.flatMap(({ cidrs }) => cidrs.map((dst) => toRegion(dst, ids(GATEWAY_KEY, familyOf(dst)), facts.hostSources))),
  };
}

/** One next hop per key and family. */
function nexthopIds(keys: readonly string[], families: readonly Family[]): (key: string, family: Family) => number {
  // IPv4 keeps the plain keys, and so the ids that it has in a cluster without IPv6.
  const nameOf = (key: string, family: Family): string => (family === 4 ? key : `${key}/6`);
  const ids = assignIds(
    keys.flatMap((key) => families.map((family) => nameOf(key, family))),
    NEXTHOP_ID_FIRST,
    NEXTHOP_IDS,
  );
  return (key, family) => ids.get(nameOf(key, family)) ?? NEXTHOP_ID_FIRST;
}

interface GatewayView {
  readonly remote: readonly RemoteRegion[];
  readonly paths: Paths;
  readonly tunnels: TunnelRoutes;
  readonly hostSources: LocalFacts['hostSources'];
}

/** One next hop per region, so that changing its way is one write; and the region's own nodes through `raven0` for what comes out of tunnels. */
function gatewayRoutes(
  { region, self, families, nextHops }: Local,
  { remote, paths, tunnels, hostSources }: GatewayView,
): RoutePart & Pick<NodePlan, 'findings'> {
  const ids = nexthopIds(
    remote.map(({ name }) => name),
    families,
  );
  const nexthops: Nexthop[] = [];
  const routes: Route[] = [];
  const findings: Finding[] = [];
  for (const { region: to } of paths.paths) {
    const way = tunnels.ways.get(to.name);
    const cidrs = remote.find(({ name }) => name === to.name)?.cidrs;
    if (cidrs === undefined || way === undefined) continue;
    const mtuBytes = way.mtuBytes ?? tunnels.links.find(({ name }) => name === way.dev)?.mtuBytes ?? IPV6_MIN_MTU_BYTES;
    const carried = families.filter((family) => family === 4 || mtuBytes >= IPV6_MIN_MTU_BYTES);
    if (carried.length < families.length && cidrs.some((cidr) => familyOf(cidr) === 6)) findings.push(tooNarrow(to.name, mtuBytes));
    const used = carried.filter((family) => family === 4 || cidrs.some((cidr) => familyOf(cidr) === family));
    nexthops.push(...used.map((family) => ({ id: ids(to.name, family), dev: way.dev, family })));
    routes.push(
      ...cidrs
        .filter((dst) => carried.includes(familyOf(dst)))
        .map((dst) => ({
          ...toRegion(dst, ids(to.name, familyOf(dst)), hostSources),
          ...(way.mtuBytes !== undefined && { mtuBytes: way.mtuBytes }),
        })),
    );
  }
  for (const { name, privateIp, subnets } of region.nodes) {
    const via = nextHops.get(name);
    if (name === self.name || privateIp === undefined || via === undefined) continue;
    const carried = subnets.filter((dst) => families.includes(familyOf(dst)));
    routes.push(...carried.map((dst) => ({ table: TABLE_FROM_REGIONS, dst, via: via[familyOf(dst)], dev: VXLAN_DEVICE })));
  }
  return { nexthops, routes, findings };
}

function tooNarrow(gateway: string, mtuBytes: number): Finding {
  const message = `IPv6 is not carried to region ${gateway}: the tunnel takes packets of ${mtuBytes} bytes, and IPv6 needs ${IPV6_MIN_MTU_BYTES}; give the underlay a larger MTU`;
  return { reason: 'FamilyNotCarried', gateway, message };
}

function toRegion(dst: Cidr, nexthopId: number, hostSources: LocalFacts['hostSources']): Route {
  const src = hostSources[familyOf(dst)];
  return { table: TABLE_TO_REGIONS, dst, nexthopId, ...(src !== undefined && { src }) };
}

function toPathPlan({ region, peer, via }: Path): PathPlan {
  return { gateway: region.name, peer: peer.name, ...(via && { via: via.name }), ...(peer.overlayIp && { overlayIp: peer.overlayIp }) };
}

function regionFindings({ region, self, families }: Local, snapshot: Snapshot, facts: LocalFacts, paths: Paths | undefined): Finding[] {
  const findings: Finding[] = familyFindings(region, snapshot);
  if (region.active.length === 0)
    findings.push({ reason: 'NoActiveEndpoint', gateway: region.name, message: `region ${region.name} has no active gateway node` });
  for (const family of families.filter((each) => facts.hostSources[each] === undefined)) {
    const own = self.subnets.filter((cidr) => familyOf(cidr) === family);
    // A gateway may carry what its own region lacks.
    if (own.length === 0 && self.subnets.length > 0) continue;
    findings.push({
      reason: 'NoHostAddress',
      message: `this node has no address inside its pod CIDRs (${own.join(', ') || 'none'}): processes of the host itself cannot reach other regions${families.length > 1 ? ` by IPv${family}` : ''}`,
    });
  }
  for (const { cidr, with: other } of region.overlaps) {
    findings.push({
      reason: 'SubnetsOverlap',
      gateway: other,
      message: `${cidr} is claimed by regions ${region.name} and ${other}: it is not routed`,
    });
  }
  for (const { name } of paths?.unreachable ?? []) {
    findings.push({ reason: 'RegionUnreachable', gateway: name, message: unreachableMessage(region, name, snapshot.regions) });
  }
  return findings;
}

function unreachableMessage(own: Region, other: string, regions: readonly Region[]): string {
  const anyPublic = regions.some(({ active }) => active.some(({ publicAddress }) => publicAddress !== undefined));
  const advice = anyPublic
    ? 'the public gateway is not up'
    : 'no region has a gateway with a public address: set spec.endpoints[].publicIP of one';
  return `regions ${own.name} and ${other} are both behind NAT and nobody relays: ${advice}`;
}

/** Orders every list and adds the sysctls of all links. */
function finish(families: readonly Family[], parts: Omit<NodePlan, 'sysctls'>): NodePlan {
  return {
    ...parts,
    links: parts.links.toSorted((a, b) => compareText(a.name, b.name)),
    nexthops: parts.nexthops.toSorted((a, b) => a.id - b.id),
    routes: parts.routes.toSorted((a, b) => a.table - b.table || compareCidrs(a.dst, b.dst)),
    sysctls: parts.links
      .flatMap((link) => families.flatMap((family) => linkSysctls(link, family)))
      .toSorted((a, b) => compareText(a.key, b.key)),
  };
}
