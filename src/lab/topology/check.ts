import {
  addressAt,
  type Cidr,
  cidrContains,
  cidrContainsIp,
  cidrsOverlap,
  hostCidr,
  networkAddress,
  prefixLength,
} from '../../net/cidr.ts';
import { type Family, familyOf, formatIpPort, type Ip } from '../../net/ip.ts';
import { INTERNET_IPS } from '../plan/names.ts';
import { podNames, resolveTopology, routerAddress, type LabNode, type Topology } from './resolve.ts';
import type { TopologyFile } from './schema.ts';

/** One thing that does not fit together, and the field that should change. */
export interface Misfit {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

type Report = (path: Misfit['path'], message: string) => void;

/** What is wrong with a file whose single fields are all right; empty when it can be built. Pure. */
export function checkTopology(file: TopologyFile): Misfit[] {
  const misfits: Misfit[] = [];
  const report: Report = (path, message) => void misfits.push({ path, message });
  checkNames(file, report);
  checkRouters(file, report);
  checkReferences(file, report);
  // Addresses follow from references: judging them on top of wrong ones would only confuse.
  if (misfits.length > 0) return misfits;
  const topology = resolveTopology(file);
  checkLans(file, topology, report);
  checkNodes(file, topology, report);
  checkServices(file, topology, report);
  return misfits;
}

/** Nodes, pods and routers share one name space, that of network namespaces. */
function checkNames(file: TopologyFile, report: Report): void {
  const unique = createUnique(report);
  unique('internet', [], 'the internet');
  for (const [r, region] of file.regions.entries()) {
    if (region.router.sameAs === undefined) unique(`router-${region.name}`, ['regions', r, 'name'], `the router of region ${region.name}`);
    for (const [n, node] of region.nodes.entries()) {
      unique(node.name, ['regions', r, 'nodes', n, 'name'], 'a node');
      for (const [p, pod] of podNames(node).entries()) {
        unique(pod, ['regions', r, 'nodes', n, ...(typeof node.pods === 'number' ? ['pods'] : ['pods', p])], 'a pod');
      }
    }
  }
  const uniqueRegion = createUnique(report);
  for (const [r, { name }] of file.regions.entries()) uniqueRegion(name, ['regions', r, 'name'], 'a region');
  const uniqueService = createUnique(report);
  for (const [s, { namespace, name }] of file.services.entries())
    uniqueService(`${name}.${namespace}`, ['services', s, 'name'], 'a service');
}

/** Devices that the lab, the CNI and Raven make beside those named after nodes and regions. */
const RESERVED_DEVICES = /^(lo|lan|wan|eth\d+|cni0|raven\d*|rvn-.*)$/;
/** Namespaces of a lab without state are found by the one called `…-internet`. */
const RESERVED_ENDING = /(^|-)internet$/;

function createUnique(report: Report): (name: string, path: Misfit['path'], what: string) => void {
  const seen = new Map<string, string>();
  return (name, path, what) => {
    const other = seen.get(name);
    if (other !== undefined) report(path, `the name ${name} is already that of ${other}`);
    else if (path.length > 0 && RESERVED_ENDING.test(name)) report(path, `the name ${name} is reserved: it must not end in "internet"`);
    else if (path.length > 0 && RESERVED_DEVICES.test(name)) report(path, `the name ${name} is reserved for a network device`);
    seen.set(name, other ?? what);
  };
}

function checkRouters(file: TopologyFile, report: Report): void {
  for (const [r, { name, lan, mtu, router }] of file.regions.entries()) {
    const at = ['regions', r, 'router'] as const;
    if (router.sameAs === undefined) {
      if (lan === undefined) report(['regions', r], 'lan is required (or router.sameAs)');
      const translates = router.nat !== 'none' && (lan ?? []).some((cidr) => familyOf(cidr) === 4);
      if (translates && router.publicIp === undefined) report(at, 'publicIp is required with NAT');
      if (!translates && router.nat !== 'none' && router.publicIp !== undefined)
        report([...at, 'publicIp'], 'is only for routers with an IPv4 LAN: IPv6 is not translated');
      if (router.nat === 'none' && router.publicIp !== undefined)
        report([...at, 'publicIp'], 'is only for routers with NAT: this LAN is part of the internet');
      if (!translates && router.forwards.length > 0) report([...at, 'forwards'], 'is only for routers with NAT in front of an IPv4 LAN');
      continue;
    }
    const other = file.regions.find((region) => region.name === router.sameAs);
    if (other === undefined || other.name === name) report([...at, 'sameAs'], `there is no other region ${router.sameAs}`);
    else if (other.router.sameAs !== undefined) report([...at, 'sameAs'], `region ${router.sameAs} has no router of its own`);
    else if (lan !== undefined && lan.join() !== other.lan?.join())
      report(['regions', r, 'lan'], `must be that of region ${other.name} (${other.lan?.join(', ')}), or absent`);
    if (mtu !== undefined && mtu !== other?.mtu) report(['regions', r, 'mtu'], `belongs to region ${router.sameAs}, which owns the LAN`);
    if (
      router.nat !== 'none' ||
      router.publicIp !== undefined ||
      router.mtu !== undefined ||
      router.dropIcmp ||
      router.forwards.length > 0
    ) {
      report(at, 'has sameAs and therefore no other fields');
    }
  }
}

function checkReferences(file: TopologyFile, report: Report): void {
  for (const [r, { name, router }] of file.regions.entries()) {
    const behind = file.regions.filter((region) => (region.router.sameAs ?? region.name) === name).flatMap((region) => region.nodes);
    const used = new Set<string>();
    for (const [f, { node, protocol, publicPort }] of router.forwards.entries()) {
      const at = ['regions', r, 'router', 'forwards', f] as const;
      if (!behind.some((each) => each.name === node)) report([...at, 'node'], `there is no node ${node} behind this router`);
      if (used.has(`${protocol}/${publicPort}`)) report([...at, 'publicPort'], `${publicPort}/${protocol} is forwarded already`);
      used.add(`${protocol}/${publicPort}`);
    }
  }
  const pods = new Set(file.regions.flatMap((region) => region.nodes.flatMap(podNames)));
  for (const [s, service] of file.services.entries()) {
    for (const [p, pod] of service.pods.entries()) if (!pods.has(pod)) report(['services', s, 'pods', p], `there is no pod ${pod}`);
  }
  if (file.dns !== undefined && !pods.has(file.dns.pod)) report(['dns', 'pod'], `there is no pod ${file.dns.pod}`);
}

function checkLans(file: TopologyFile, { routers, clusterCidrs, serviceCidrs }: Topology, report: Report): void {
  for (const service of serviceCidrs) {
    const cluster = clusterCidrs.find((cidr) => cidrsOverlap(cidr, service));
    if (cluster !== undefined) report(['serviceCidr'], `overlaps clusterCidr ${cluster}`);
  }
  for (const cidr of clusterCidrs) {
    if (familyOf(cidr) === 6 && prefixLength(cidr) > 56) report(['clusterCidr'], `${cidr} is too narrow for a /64 for each node`);
  }
  const publicPlaces = new Map<Cidr, string>(INTERNET_IPS.map((ip) => [hostCidr(ip), 'the internet itself']));
  for (const router of routers) {
    const at = ['regions', file.regions.findIndex(({ name }) => name === router.region)] as const;
    for (const { cidr: lan } of router.lans) {
      const [widest, narrowest] = LAN_SIZES[familyOf(lan)];
      if (prefixLength(lan) > narrowest || prefixLength(lan) < widest)
        report([...at, 'lan'], `must be a network of /${widest} to /${narrowest}`);
      for (const [field, cidrs] of Object.entries({ clusterCidr: clusterCidrs, serviceCidr: serviceCidrs })) {
        for (const cidr of cidrs) if (cidrsOverlap(lan, cidr)) report([...at, 'lan'], `overlaps ${field} ${cidr}`);
      }
    }
    // IPv6 is never translated.
    const seen = router.lans.map(({ cidr }) => cidr).filter((cidr) => router.nat === 'none' || familyOf(cidr) === 6);
    for (const own of router.publicIp === undefined ? seen : [...seen, hostCidr(router.publicIp)]) {
      const taken = [...publicPlaces].find(([cidr]) => cidrsOverlap(cidr, own));
      const field = seen.includes(own) ? [...at, 'lan'] : [...at, 'router', 'publicIp'];
      if (taken !== undefined) report(field, `${own} on the internet belongs to ${taken[1]} (${taken[0]})`);
      publicPlaces.set(own, `region ${router.region}`);
    }
  }
}

/** Widest and narrowest network of nodes: with room for the router and some of them. */
const LAN_SIZES = { 4: [6, 29], 6: [32, 112] } as const;

function checkNodes(file: TopologyFile, { nodes, pods, routers, clusterCidrs }: Topology, report: Report): void {
  const paths = file.regions.flatMap((region, r) => region.nodes.map((_, n) => ['regions', r, 'nodes', n] as const));
  const seen: LabNode[] = [];
  for (const [i, node] of nodes.entries()) {
    const at = paths[i] ?? [];
    const lans = routers.find(({ name }) => name === node.router)?.lans ?? [];
    for (const ip of node.ips) {
      checkNodeIp(
        ip,
        lans.map(({ cidr }) => cidr),
        (message) => report([...at, 'ip'], message),
      );
      const twin = seen.find((other) => other.router === node.router && other.ips.includes(ip));
      if (twin !== undefined) report([...at, 'ip'], `${ip} is already that of node ${twin.name}`);
    }
    checkPodCidrs(node, clusterCidrs, (message) => report([...at, 'podCidr'], message));
    const overlap = file.allowOverlap ? undefined : findOverlap(node, seen);
    if (overlap !== undefined) report([...at, 'podCidr'], `${overlap}; allowOverlap: true permits it`);
    const count = pods.filter((pod) => pod.node === node.name).length;
    for (const cidr of node.podCidrs) {
      const room = 2 ** (bitsOf(familyOf(cidr)) - prefixLength(cidr)) - 3;
      if (count > room) report([...at, 'pods'], `${cidr} has room for ${Math.max(room, 0)} pods, not ${count}`);
    }
    seen.push(node);
  }
}

function bitsOf(family: Family): number {
  return family === 4 ? 32 : 128;
}

function checkNodeIp(ip: Ip, lans: readonly Cidr[], report: (message: string) => void): void {
  const lan = lans.find((cidr) => familyOf(cidr) === familyOf(ip));
  if (lan === undefined || !cidrContainsIp(lan, ip)) report(`${ip} is outside the region's LAN ${lans.join(', ')}`);
  else if (ip === routerAddress(lan)) report(`${ip} is the router's address in ${lan}`);
  else if (ip === networkAddress(lan) || (familyOf(lan) === 4 && ip === addressAt(lan, 2 ** (32 - prefixLength(lan)) - 1)))
    report(`${ip} is no host address in ${lan}`);
}

function checkPodCidrs({ podCidrs }: LabNode, clusterCidrs: readonly Cidr[], report: (message: string) => void): void {
  for (const cidr of podCidrs) {
    if (!clusterCidrs.some((cluster) => cidrContains(cluster, cidr))) report(`${cidr} is outside clusterCidr ${clusterCidrs.join(', ')}`);
  }
}

function findOverlap({ podCidrs }: LabNode, seen: readonly LabNode[]): string | undefined {
  return seen
    .flatMap((other) => other.podCidrs.map((theirs) => ({ name: other.name, theirs })))
    .flatMap(({ name, theirs }) =>
      podCidrs.filter((own) => cidrsOverlap(own, theirs)).map((own) => `${own} overlaps that of node ${name} (${theirs})`),
    )[0];
}

function checkServices(file: TopologyFile, { serviceCidrs }: Topology, report: Report): void {
  const inside = (ip: string, path: Misfit['path']): void => {
    if (!serviceCidrs.some((cidr) => cidrContainsIp(cidr, ip as Ip)))
      report(path, `${ip} is outside serviceCidr ${serviceCidrs.join(', ')}`);
  };
  const used = new Map<string, string>();
  if (file.dns !== undefined) {
    inside(file.dns.clusterIP, ['dns', 'clusterIP']);
    for (const protocol of ['TCP', 'UDP']) used.set(`${file.dns.clusterIP}:53/${protocol}`, 'dns');
  }
  for (const [s, { name, clusterIP, port, protocol, nodePort }] of file.services.entries()) {
    const claim = (field: string, key: string): void => {
      const other = used.get(key);
      if (other !== undefined && other !== name) report(['services', s, field], `${key} is already that of ${other}`);
      used.set(key, other ?? name);
    };
    for (const ip of clusterIP) {
      inside(ip, ['services', s, 'clusterIP']);
      claim('port', `${formatIpPort(ip, port)}/${protocol}`);
    }
    if (nodePort !== undefined) claim('nodePort', `${nodePort}/${protocol}`);
  }
}
