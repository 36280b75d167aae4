import { addressAt, type Cidr, networkAddress, prefixLength } from '../../net/cidr.ts';
import { familyOf, formatIp, type Ip, ipValue } from '../../net/ip.ts';
import { DEFAULT_TUNNEL_PORT } from '../../api/names.ts';
import type { NodeFile, RegionFile, TopologyFile } from './schema.ts';

/** A topology with every default filled in and every reference resolved to addresses. */
export interface Topology {
  readonly name: string;
  /** These and all other lists of addresses: at most one of each family, IPv4 first. */
  readonly clusterCidrs: readonly Cidr[];
  readonly serviceCidrs: readonly Cidr[];
  readonly internet: { readonly mtuBytes: number; readonly dropIcmp: boolean };
  readonly masquerade: readonly IptablesBackend[];
  readonly kubeProxy: IptablesBackend;
  readonly rpFilter: 'strict' | 'loose' | 'off';
  readonly ipv6: 'off' | 'link-local' | 'on';
  readonly routers: readonly LabRouter[];
  readonly regions: readonly LabRegion[];
  readonly nodes: readonly LabNode[];
  readonly pods: readonly LabPod[];
  readonly services: readonly LabService[];
  readonly dns?: { readonly pod: string; readonly clusterIp: Ip };
}

export type IptablesBackend = 'legacy' | 'nft';

export interface LabRouter {
  readonly name: string;
  /** Name of the region that it was written in: names the internet's device towards it. */
  readonly region: string;
  readonly nat: 'none' | 'cone' | 'symmetric';
  readonly publicIp?: Ip;
  readonly lans: readonly LabLan[];
  readonly lanMtuBytes: number;
  readonly wanMtuBytes: number;
  readonly dropIcmp: boolean;
  readonly forwards: readonly { readonly protocol: string; readonly publicPort: number; readonly ip: Ip; readonly port: number }[];
}

/** A region's network in one family. */
export interface LabLan {
  readonly cidr: Cidr;
  /** The router's address. */
  readonly routerIp: Ip;
}

export interface LabRegion {
  readonly name: string;
  readonly router: string;
  readonly replicas: number;
  readonly exposeType: string;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface LabNode {
  readonly name: string;
  readonly region: string;
  readonly router: string;
  readonly ips: readonly Ip[];
  readonly mtuBytes: number;
  readonly podCidrs: readonly Cidr[];
  readonly gateway: boolean;
  readonly underNat: boolean;
  readonly port: number;
  readonly publicIp?: string;
  readonly publicPort?: number;
}

export interface LabPod {
  readonly name: string;
  readonly node: string;
  readonly region: string;
  readonly ips: readonly Ip[];
}

export interface LabService {
  readonly name: string;
  readonly namespace: string;
  readonly clusterIps: readonly Ip[];
  readonly port: number;
  readonly targetPort: number;
  readonly protocol: 'TCP' | 'UDP';
  readonly nodePort?: number;
  readonly backends: readonly { readonly pod: string; readonly ips: readonly Ip[] }[];
}

/** Nodes without an address get those from here on: the low ones are what people give by hand. */
const FIRST_AUTOMATIC_HOST = 10;

/** Fills in what follows from other fields. Expects references between fields to hold (`checkReferences`); addresses may still be wrong. */
export function resolveTopology(file: TopologyFile): Topology {
  const routers = file.regions.filter((region) => region.router.sameAs === undefined).map((region) => resolveRouter(file, region));
  const nodes = resolveNodes(file, routers);
  const pods = resolvePods(file, nodes);
  const podsByName = new Map(pods.map((pod) => [pod.name, pod]));
  const backends = (names: readonly string[]): LabService['backends'] =>
    names.flatMap((name) => podsByName.get(name) ?? []).map(({ name, ips }) => ({ pod: name, ips }));
  return {
    name: file.name,
    clusterCidrs: file.clusterCidr as Cidr[],
    serviceCidrs: file.serviceCidr as Cidr[],
    internet: { mtuBytes: file.internet.mtu, dropIcmp: file.internet.dropIcmp },
    masquerade: [...new Set(file.masquerade)],
    kubeProxy: file.kubeProxy,
    rpFilter: file.rpFilter,
    ipv6: hasIpv6(file) ? 'on' : file.ipv6 ? 'link-local' : 'off',
    routers: routers.map((router) => ({ ...router, forwards: resolveForwards(file, router, nodes) })),
    regions: file.regions.map(({ name, replicas, exposeType, annotations, router }) => ({
      name,
      router: routerName(router.sameAs ?? name),
      replicas,
      exposeType,
      annotations,
    })),
    nodes,
    pods,
    services: file.services.map(({ clusterIP, targetPort, nodePort, pods: names, ...rest }) => ({
      ...rest,
      clusterIps: clusterIP as Ip[],
      targetPort: targetPort ?? rest.port,
      ...(nodePort !== undefined && { nodePort }),
      backends: backends(names),
    })),
    ...(file.dns && { dns: { pod: file.dns.pod, clusterIp: file.dns.clusterIP as Ip } }),
  };
}

export function routerName(region: string): string {
  return `router-${region}`;
}

function hasIpv6({ clusterCidr, serviceCidr, regions }: TopologyFile): boolean {
  return [...clusterCidr, ...serviceCidr, ...regions.flatMap(({ lan = [] }) => lan)].some((cidr) => familyOf(cidr) === 6);
}

/** In IPv6, where nobody fills a network: as in a /24. */
const ROUTER_NUMBER_6 = 254;

/** The router's address: the last usable one. */
export function routerAddress(lan: Cidr): Ip {
  return addressAt(lan, familyOf(lan) === 6 ? ROUTER_NUMBER_6 : Math.max(2 ** (32 - prefixLength(lan)) - 2, 0));
}

/** Of a node's pod network: its pod bridge. */
export function bridgeAddress(podCidr: Cidr): Ip {
  return addressAt(podCidr, 1);
}

function resolveRouter(file: TopologyFile, region: RegionFile): LabRouter {
  const { nat, publicIp, dropIcmp, mtu } = region.router;
  const lans = (region.lan ?? []) as Cidr[];
  return {
    name: routerName(region.name),
    region: region.name,
    nat,
    ...(publicIp !== undefined && { publicIp: publicIp as Ip }),
    lans: lans.map((cidr) => ({ cidr, routerIp: routerAddress(cidr) })),
    lanMtuBytes: region.mtu ?? file.internet.mtu,
    wanMtuBytes: mtu ?? file.internet.mtu,
    dropIcmp,
    forwards: [],
  };
}

function resolveForwards(file: TopologyFile, router: LabRouter, nodes: readonly LabNode[]): LabRouter['forwards'] {
  const forwards = file.regions.find(({ name }) => name === router.region)?.router.forwards ?? [];
  return forwards.flatMap(({ node, protocol, publicPort, port }) => {
    const target = nodes.find(({ name }) => name === node);
    const ip = target?.ips.find((each) => familyOf(each) === 4);
    return ip === undefined ? [] : [{ protocol, publicPort, port, ip }];
  });
}

function resolveNodes(file: TopologyFile, routers: readonly LabRouter[]): LabNode[] {
  const taken = new Map(routers.map((router) => [router.name, takenAddresses(file, router)]));
  const placed = file.regions.flatMap((region) => {
    const router = routers.find(({ name }) => name === routerName(region.router.sameAs ?? region.name));
    return router === undefined ? [] : region.nodes.map((node) => ({ node, region, router }));
  });
  return placed.map(({ node, region, router }, index) => {
    return {
      name: node.name,
      region: region.name,
      router: router.name,
      ips: (node.ip ?? router.lans.map(({ cidr }) => nextFree(cidr, taken.get(router.name) ?? new Set()))) as Ip[],
      mtuBytes: router.lanMtuBytes,
      podCidrs: (node.podCidr ?? file.clusterCidr.map((cidr) => defaultPodCidr(cidr as Cidr, index + 1))) as Cidr[],
      gateway: node.gateway,
      // Behind a NAT nobody can call it, unless its tunnel port is forwarded.
      underNat: router.nat !== 'none' && !isForwardedTo(file, node.name),
      port: node.port ?? DEFAULT_TUNNEL_PORT,
      ...(node.publicIp !== undefined && { publicIp: node.publicIp }),
      ...(node.publicPort !== undefined && { publicPort: node.publicPort }),
    };
  });
}

function isForwardedTo(file: TopologyFile, node: string): boolean {
  return file.regions.some(({ router }) => router.forwards.some((each) => each.node === node && each.protocol === 'udp'));
}

function takenAddresses(file: TopologyFile, router: LabRouter): Set<string> {
  const sharing = file.regions.filter((region) => routerName(region.router.sameAs ?? region.name) === router.name);
  return new Set([
    ...router.lans.map(({ routerIp }) => routerIp),
    ...sharing.flatMap((region) => region.nodes.flatMap(({ ip }) => ip ?? [])),
  ]);
}

function nextFree(lan: Cidr, taken: Set<string>): Ip {
  const size = 2 ** ((familyOf(lan) === 4 ? 32 : 128) - prefixLength(lan));
  const first = size > 2 * FIRST_AUTOMATIC_HOST ? FIRST_AUTOMATIC_HOST : 1;
  let index = first;
  while (taken.has(addressAt(lan, index)) && index < size) index++;
  const address = addressAt(lan, index);
  taken.add(address);
  return address;
}

function defaultPodCidr(clusterCidr: Cidr, position: number): string {
  const { family, value } = ipValue(networkAddress(clusterCidr));
  const [length, hostBits] = family === 4 ? [24, 8n] : [64, 64n];
  return `${formatIp({ family, value: value + (BigInt(position) << hostBits) })}/${length}`;
}

function resolvePods(file: TopologyFile, nodes: readonly LabNode[]): LabPod[] {
  const written = file.regions.flatMap((region) => region.nodes);
  return nodes.flatMap(({ name, region, podCidrs }, i) =>
    podNames(written[i] ?? { name, pods: 0 }).map((pod, k) => ({
      name: pod,
      node: name,
      region,
      ips: podCidrs.map((cidr) => addressAt(cidr, k + 2)),
    })),
  );
}

/** Names of a node's pods, as written or made from the node's name. */
export function podNames({ name, pods }: Pick<NodeFile, 'name' | 'pods'>): string[] {
  if (typeof pods !== 'number') return [...pods];
  if (pods === 1) return [`pod-${name}`];
  return Array.from({ length: pods }, (_, i) => `pod-${name}-${i + 1}`);
}
