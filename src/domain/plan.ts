import {
  NEXTHOP_ID_FIRST,
  RULE_PREF_FROM_REGIONS,
  RULE_PREF_TO_REGIONS,
  FROM_TUNNEL_MARK,
  TABLE_FROM_REGIONS,
  TABLE_TO_REGIONS,
  VXLAN_DEVICE,
  VXLAN_ID,
  VXLAN_PORT,
} from '../api/names.ts';
import { compareText } from '../lib/compare.ts';
import { type Cidr, cidrsOverlap, compareCidrs, hostCidr, subtractCidrs } from '../net/cidr.ts';
import { familyOf, type Ip } from '../net/ip.ts';
import { nodeMac } from '../net/mac.ts';
import { vxlanMtu } from '../net/mtu.ts';
import { assignIds } from './device.ts';
import { planNft } from './nft-rules.ts';
import type { LocalFacts, Underlay } from './facts.ts';
import type { FdbEntry, Finding, LinkPlan, Neighbour, Nexthop, NodePlan, PathPlan, Route, Rule, Sysctl } from './node-plan.ts';
import { choosePaths, type LinkHealth, type Path, type Paths } from './paths.ts';
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
  const local: Local = { region, self, address: self.privateIp, underlay };
  const gateway = region.active.find(({ name }) => name === node);
  const paths = gateway === undefined ? undefined : choosePaths(region, gateway, snapshot, health);
  const remote = remoteCidrs(local, snapshot);
  const base = { ...planOverlay(local), ...planRules(), findings: [...remote.findings, ...regionFindings(local, snapshot, facts, paths)] };
  const view = { own: self.subnets.filter(isV4), remote: remote.regions.flatMap(({ cidrs }) => cidrs), hostSource: facts.hostSource };
  if (gateway === undefined || paths === undefined) {
    return finish({
      ...base,
      role: 'ordinary',
      ...ordinaryRoutes(local, remote.regions, facts),
      nft: planNft({ role: 'ordinary', ...view }),
      tunnels: undefined,
      paths: [],
    });
  }
  const tunnels = planTunnels({ region, self: gateway, snapshot, paths, underlay, dataPath: facts.dataPath });
  return finish({
    ...base,
    role: 'gateway',
    links: [...base.links, ...tunnels.links],
    ...gatewayRoutes(local, { remote: remote.regions, paths, tunnels, hostSource: facts.hostSource }),
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
}

/** `raven0` and where it finds the others: an endpoint knows every node of its region, the others know its endpoints. */
function planOverlay({ region, self, address, underlay }: Local): { links: LinkPlan[]; fdb: FdbEntry[]; neighbours: Neighbour[] } {
  const isEndpoint = region.endpointNames.has(self.name);
  const peers = region.nodes.flatMap(({ name, privateIp }) =>
    name !== self.name && privateIp !== undefined && (isEndpoint || region.endpointNames.has(name))
      ? [{ mac: nodeMac(name), ip: privateIp }]
      : [],
  );
  const raven0: LinkPlan = {
    type: 'vxlan',
    name: VXLAN_DEVICE,
    vni: VXLAN_ID,
    port: VXLAN_PORT,
    local: address,
    dev: underlay.dev,
    mac: nodeMac(self.name),
    mtuBytes: vxlanMtu(underlay.mtuBytes),
  };
  return {
    links: [raven0],
    fdb: peers.map(({ mac, ip }) => ({ dev: VXLAN_DEVICE, mac, dst: ip })),
    neighbours: peers.map(({ mac, ip }) => ({ dev: VXLAN_DEVICE, mac, ip })),
  };
}

function planRules(): { rules: Rule[] } {
  const mark = { value: FROM_TUNNEL_MARK, mask: FROM_TUNNEL_MARK };
  return {
    rules: [
      { pref: RULE_PREF_TO_REGIONS, family: 4, table: TABLE_TO_REGIONS },
      { pref: RULE_PREF_FROM_REGIONS, family: 4, table: TABLE_FROM_REGIONS, mark },
    ],
  };
}

interface RemoteRegion {
  readonly name: string;
  readonly cidrs: readonly Cidr[];
}

/** What other regions hold, without what is on-link here: a pod CIDR over the own LAN or over a tunnel's outer address would cut it off. */
function remoteCidrs({ region, underlay }: Local, { regions }: Snapshot): { regions: RemoteRegion[]; findings: Finding[] } {
  const outer = regions.flatMap(({ active }) =>
    active.flatMap(({ publicAddress }) => (publicAddress === undefined ? [] : [hostCidr(publicAddress.ip)])),
  );
  const reserved = [...underlay.prefixes, ...outer];
  const findings: Finding[] = [];
  const others = regions
    .filter(({ name }) => name !== region.name)
    .map(({ name, cidrs }) => {
      const v4 = cidrs.filter(isV4);
      if (v4.length < cidrs.length)
        findings.push({ reason: 'FamilyNotCarried', gateway: name, message: `IPv6 pod CIDRs of region ${name} are not carried yet` });
      const clash = reserved.filter((prefix) => v4.some((cidr) => cidrsOverlap(cidr, prefix)));
      if (clash.length === 0) return { name, cidrs: v4 };
      findings.push({
        reason: 'SubnetCoversUnderlay',
        gateway: name,
        message: `pod CIDRs of region ${name} cover ${clash.join(', ')}, which carries the tunnels or is this node's own network: that part is not routed`,
      });
      return { name, cidrs: v4.flatMap((cidr) => subtractCidrs(cidr, clash)) };
    });
  return { regions: others, findings };
}

function isV4(cidr: Cidr): boolean {
  return familyOf(cidr) === 4;
}

type RoutePart = Pick<NodePlan, 'nexthops' | 'routes'>;

/** Everything for other regions goes to the region's gateway. */
function ordinaryRoutes({ region }: Local, remote: readonly RemoteRegion[], facts: LocalFacts): RoutePart {
  const gatewayIp = region.nodes.find(({ name }) => name === region.active[0]?.name)?.privateIp;
  if (gatewayIp === undefined) return { nexthops: [], routes: [] };
  const id = assignIds([GATEWAY_KEY], NEXTHOP_ID_FIRST, NEXTHOP_IDS).get(GATEWAY_KEY) ?? NEXTHOP_ID_FIRST;
  return {
    nexthops: [{ id, via: gatewayIp, dev: VXLAN_DEVICE, family: 4 }],
    routes: remote.flatMap(({ cidrs }) => cidrs.map((dst) => toRegion(dst, id, facts.hostSource))),
  };
}

interface GatewayView {
  readonly remote: readonly RemoteRegion[];
  readonly paths: Paths;
  readonly tunnels: TunnelRoutes;
  readonly hostSource: Ip | undefined;
}

/** One next hop per region, so that changing its way is one write; and the region's own nodes through `raven0` for what comes out of tunnels. */
function gatewayRoutes({ region, self }: Local, { remote, paths, tunnels, hostSource }: GatewayView): RoutePart {
  const ids = assignIds(
    remote.map(({ name }) => name),
    NEXTHOP_ID_FIRST,
    NEXTHOP_IDS,
  );
  const nexthops: Nexthop[] = [];
  const routes: Route[] = [];
  for (const {
    region: { name },
  } of paths.paths) {
    const id = ids.get(name);
    const way = tunnels.ways.get(name);
    if (id === undefined || way === undefined) continue;
    nexthops.push({ id, dev: way.dev, family: 4 });
    const cidrs = remote.find((each) => each.name === name)?.cidrs ?? [];
    routes.push(
      ...cidrs.map((dst) => ({ ...toRegion(dst, id, hostSource), ...(way.mtuBytes !== undefined && { mtuBytes: way.mtuBytes }) })),
    );
  }
  for (const { name, privateIp, subnets } of region.nodes) {
    if (name === self.name || privateIp === undefined) continue;
    routes.push(...subnets.filter(isV4).map((dst) => ({ table: TABLE_FROM_REGIONS, dst, via: privateIp, dev: VXLAN_DEVICE })));
  }
  return { nexthops, routes };
}

function toRegion(dst: Cidr, nexthopId: number, hostSource: Ip | undefined): Route {
  return { table: TABLE_TO_REGIONS, dst, nexthopId, ...(hostSource !== undefined && { src: hostSource }) };
}

function toPathPlan({ region, peer, via }: Path): PathPlan {
  return { gateway: region.name, peer: peer.name, ...(via && { via: via.name }), ...(peer.overlayIp && { overlayIp: peer.overlayIp }) };
}

function regionFindings({ region, self }: Local, { regions }: Snapshot, facts: LocalFacts, paths: Paths | undefined): Finding[] {
  const findings: Finding[] = [];
  if (region.active.length === 0)
    findings.push({ reason: 'NoActiveEndpoint', gateway: region.name, message: `region ${region.name} has no active gateway node` });
  if (facts.hostSource === undefined) {
    findings.push({
      reason: 'NoHostAddress',
      message: `this node has no address inside its pod CIDRs (${self.subnets.join(', ') || 'none'}): processes of the host itself cannot reach other regions`,
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
    findings.push({ reason: 'RegionUnreachable', gateway: name, message: unreachableMessage(region, name, regions) });
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
function finish(parts: Omit<NodePlan, 'sysctls'>): NodePlan {
  return {
    ...parts,
    links: parts.links.toSorted((a, b) => compareText(a.name, b.name)),
    nexthops: parts.nexthops.toSorted((a, b) => a.id - b.id),
    routes: parts.routes.toSorted((a, b) => a.table - b.table || compareCidrs(a.dst, b.dst)),
    sysctls: parts.links.flatMap(linkSysctls).toSorted((a, b) => compareText(a.key, b.key)),
  };
}

/** Loose reverse-path check on our own links, whatever the host's default: the kernel takes the larger of `all` and the device's (ip-sysctl.rst). */
function linkSysctls({ name }: LinkPlan): Sysctl[] {
  return [
    { key: `net/ipv4/conf/${name}/forwarding`, value: '1' },
    { key: `net/ipv4/conf/${name}/rp_filter`, value: '2' },
  ];
}
