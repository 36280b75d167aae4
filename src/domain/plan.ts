import { RULE_PREF_FROM_REGIONS, RULE_PREF_TO_REGIONS, FROM_TUNNEL_MARK, TABLE_FROM_REGIONS, TABLE_TO_REGIONS } from '../api/names.ts';
import { compareText } from '../lib/compare.ts';
import { cidrsOverlap, compareCidrs, hostCidr, subtractCidrs } from '../net/cidr.ts';
import { type Family, familyOf } from '../net/ip.ts';
import { vxlanMtu } from '../net/mtu.ts';
import { carrierOf, carriersOf } from './carriers.ts';
import { matchDrivers } from './driver-match.ts';
import type { LocalFacts } from './facts.ts';
import { carriableFamilies, familiesBetween, familyFindings } from './families.ts';
import { linkSysctls } from './link-sysctls.ts';
import { hasChoice } from './live-endpoints.ts';
import { hostFindings } from './host-findings.ts';
import { unfitFinding } from './host-needs.ts';
import { nextHopAddresses } from './next-hop-address.ts';
import { planNft } from './nft-rules.ts';
import { EMPTY_PLAN, type Finding, type NodePlan, type Rule } from './node-plan.ts';
import { toPathPlan } from './path-plan.ts';
import { choosePaths, type LinkHealth, type Paths, unreachableMessage } from './paths.ts';
import { planOverlay } from './plan-overlay.ts';
import { planPathMtus } from './path-mtu.ts';
import { planProbes } from './plan-probes.ts';
import { planPlain } from './plan-plain.ts';
import { deliveryRoutes, endpointRoutes, type Local, ordinaryRoutes, type RemoteRegion } from './plan-routes.ts';
import { planTunnels } from './plan-tunnels.ts';
import { NO_NODE_IPS, type NodeIps, planNodeIps } from './node-ips.ts';
import { passesOn } from './reach.ts';
import { type Choices, NO_CHOICES } from './reroute-state.ts';
import { outerAddresses } from './routable.ts';
import { regionOfNode, type Snapshot } from './snapshot.ts';

export interface PlanInput {
  readonly node: string;
  readonly snapshot: Snapshot;
  readonly facts: LocalFacts;
  /** By peer name. */
  readonly health: ReadonlyMap<string, LinkHealth>;
  /** The largest packet that was seen to arrive, by peer; where nothing is known, what the links at both ends allow. */
  readonly pathMtus?: ReadonlyMap<string, number>;
  /** What the node chose by itself; absent: as the controller has it. */
  readonly choices?: Choices;
}

/**
 * Everything that `node` carries for Raven. Pure: depends on its arguments alone and not on their order.
 * A node in no region, or whose address is on no device, carries nothing and says why.
 */
export function plan(input: PlanInput): NodePlan {
  const planned = planNode(input);
  const { firewall = [] } = input.facts;
  return firewall.length === 0 ? planned : { ...planned, findings: [...planned.findings, ...hostFindings(planned, firewall)] };
}

function planNode({ node, snapshot, facts, health, pathMtus = new Map(), choices = NO_CHOICES }: PlanInput): NodePlan {
  const region = regionOfNode(snapshot, node);
  const self = region?.nodes.find(({ name }) => name === node);
  if (region === undefined || self === undefined)
    return nothing('NoRegion', `node ${node} is in no Gateway's status.nodes: label it raven.openyurt.io/gateway=<region>`);
  const gateway = region.live.find(({ name }) => name === node);
  const unfit = facts.lacks && unfitFinding(facts.lacks, gateway !== undefined);
  if (unfit !== undefined) return { ...EMPTY_PLAN, findings: [unfit] };
  const { underlay } = facts;
  if (self.privateIp === undefined || underlay === undefined) {
    return nothing('NodeAddressMissing', `no network device has the node's address ${self.privateIp ?? '(none in Gateway.status)'}`);
  }
  const carriers = carriersOf(region, snapshot, choices);
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
  const matched = gateway && matchDrivers(gateway, choosePaths(region, gateway, snapshot, { health, choices }), facts.driver);
  const paths = matched?.paths;
  const nodeIps = facts.forwardNodeIp === true ? planNodeIps(region, snapshot, underlay.prefixes) : NO_NODE_IPS;
  const remote = remoteCidrs(local, snapshot, nodeIps);
  const isProbed =
    gateway !== undefined &&
    snapshot.regions.some((other) => other.name !== region.name && other.live.length > 0 && hasChoice(region, other));
  const overlay = planOverlay({ ...local, isProbed });
  const findings = [
    ...remote.findings,
    ...unable,
    ...overlay.findings,
    ...regionFindings(local, snapshot, facts, paths),
    ...(matched?.findings ?? []),
  ];
  const base = { ...overlay, rules: rulesFor(families, { pref: RULE_PREF_TO_REGIONS, table: TABLE_TO_REGIONS }), findings };
  const view = {
    families,
    own: self.subnets,
    remote: remote.regions.flatMap(({ cidrs }) => cidrs),
    isProbed,
    hostSources: facts.hostSources,
  };
  if (gateway === undefined || paths === undefined) {
    return finish(families, {
      ...base,
      role: 'ordinary',
      ...ordinaryRoutes(local, carriers, remote.regions, facts),
      nft: planNft({ role: 'ordinary', ...view }),
      tunnels: undefined,
      paths: [],
    });
  }
  const carries = (to: string): boolean => carrierOf(carriers, to) === node;
  const tunnels = planTunnels({
    region,
    self: gateway,
    snapshot,
    paths,
    carries,
    underlay,
    driver: facts.driver,
    dataPath: facts.dataPath,
    nodeIps: nodeIps.byRegion,
  });
  const plain = planPlain(paths, { ...local, nodes: region.nodes });
  const limits = planPathMtus(paths.paths, {
    found: pathMtus,
    tunnels,
    plain: plain.ways,
    overlayMtuBytes: vxlanMtu(underlay.mtuBytes, familyOf(self.privateIp)),
    underlay: familyOf(self.privateIp),
  });
  const ways = { remote: remote.regions, paths, tunnels, plain: plain.ways, limits, hostSources: facts.hostSources };
  const toRegions = endpointRoutes(local, carriers, ways);
  const probes = planProbes(paths, { families, limits, tunnels, plainHops: plain.hops, carries });
  return finish(families, {
    ...base,
    role: 'gateway',
    links: [...base.links, ...tunnels.links],
    fdb: [...base.fdb, ...plain.fdb],
    neighbours: [...base.neighbours, ...plain.neighbours],
    nexthops: toRegions.nexthops,
    routes: [...toRegions.routes, ...deliveryRoutes(local, { nodeIps, plain: plain.ways }), ...probes.routes],
    rules: [...probes.rules, ...base.rules, ...rulesFor(families, FROM_REGIONS)],
    findings: [...findings, ...toRegions.findings],
    nft: planNft({ role: 'gateway', ...view, turnsBack: tunnels.sharesDevice && passesOn(region, snapshot.regions) }),
    tunnels: tunnels.plan,
    paths: paths.paths.map((path) => toPathPlan(path, { node, carriers, limits })),
  });
}

function nothing(reason: string, message: string): NodePlan {
  return { ...EMPTY_PLAN, findings: [{ reason, message }] };
}

const FROM_REGIONS = {
  pref: RULE_PREF_FROM_REGIONS,
  table: TABLE_FROM_REGIONS,
  mark: { value: FROM_TUNNEL_MARK, mask: FROM_TUNNEL_MARK },
} as const;

function rulesFor(families: readonly Family[], rule: Omit<Rule, 'family'>): Rule[] {
  return families.map((family) => ({ family, ...rule }));
}

/** What other regions hold, without what is on-link here: a pod CIDR over the own LAN or over a tunnel's outer address would cut it off. */
function remoteCidrs(
  { region, underlay, families }: Local,
  { regions }: Snapshot,
  nodeIps: NodeIps,
): { regions: RemoteRegion[]; findings: Finding[] } {
  const reserved = [...underlay.prefixes, ...outerAddresses(region, regions).map(hostCidr)];
  const findings: Finding[] = [...nodeIps.findings];
  const others = regions
    .filter(({ name }) => name !== region.name)
    .map(({ name, cidrs: all }) => {
      const cidrs = all.filter((cidr) => families.includes(familyOf(cidr)));
      const clash = reserved.filter((prefix) => cidrs.some((cidr) => cidrsOverlap(cidr, prefix)));
      const nodes = (nodeIps.routed.get(name) ?? []).filter((cidr) => families.includes(familyOf(cidr)));
      if (clash.length === 0) return { name, cidrs: [...cidrs, ...nodes] };
      findings.push({
        reason: 'SubnetCoversUnderlay',
        gateway: name,
        message: `pod CIDRs of region ${name} cover ${clash.join(', ')}, which carries the tunnels or is this node's own network: that part is not routed`,
      });
      return { name, cidrs: [...cidrs.flatMap((cidr) => subtractCidrs(cidr, clash)), ...nodes] };
    });
  return { regions: others, findings };
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
