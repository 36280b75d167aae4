import type { Endpoint, Gateway } from '../api/gateway.ts';
import { DEFAULT_TUNNEL_PORT, ROUTABLE_DOMAIN_ANNOTATION } from '../api/names.ts';
import type { TunnelAddress, TunnelEndpoint } from '../api/tunnel-endpoint.ts';
import { compareText } from '../lib/compare.ts';
import { type Cidr, parseCidr } from '../net/cidr.ts';
import { type Family, familiesOf, familyOf, isGlobalIp, type Ip, parseIp } from '../net/ip.ts';
import { parseWgKey, type WgKey } from '../net/wg-key.ts';
import { activeTunnels, liveEndpoints } from './live-endpoints.ts';
import { usableSubnets } from './overlap.ts';
import { isCarriable, matcherOf } from './subnets.ts';

/** The cluster as an agent needs it: parsed, sorted, free of what would harm others. */
export interface Snapshot {
  /** By name. */
  readonly regions: readonly Region[];
}

export interface Region {
  readonly name: string;
  /** RFC 3339; empty when unknown. Decides who relays, see `paths.ts`. */
  readonly createdAt: string;
  /** Regions of one domain reach each other's nodes already; undefined: in none. See `routable.ts`. */
  readonly domain: string | undefined;
  /** By name. */
  readonly nodes: readonly RegionNode[];
  /** Active tunnel endpoints, in the controller's order. */
  readonly active: readonly GatewayNode[];
  /** Tunnel endpoints that have tunnels: the active ones, then standbys, at most two; see `live-endpoints.ts`. */
  readonly live: readonly GatewayNode[];
  /** Names of all nodes in `spec.endpoints`, of either kind. */
  readonly endpointNames: ReadonlySet<string>;
  /** What other regions route to: merged, without parts that another region claims as well. */
  readonly cidrs: readonly Cidr[];
  readonly overlaps: readonly { readonly cidr: Cidr; readonly with: string }[];
}

export interface RegionNode {
  readonly name: string;
  readonly privateIp: Ip | undefined;
  readonly subnets: readonly Cidr[];
}

export interface GatewayNode {
  readonly name: string;
  readonly region: string;
  /** UDP port it listens on. */
  readonly port: number;
  /** Where anybody can reach it; undefined when it can only dial out. */
  readonly publicAddress: { readonly ip: Ip; readonly port: number } | undefined;
  /** The same, and where else: at most one of each family, IPv4 first. */
  readonly publicAddresses: readonly { readonly ip: Ip; readonly port: number }[];
  /** Families by which it can reach others; both when nothing is known of it. */
  readonly underlayFamilies: readonly Family[];
  readonly privateIp: Ip | undefined;
  /** Others should take over from it: it is cordoned, or about to stop. */
  readonly isDrained: boolean;
  /** IP addresses and host names of the load balancer in front of it; undefined when there is none (yet). */
  readonly exposed: { readonly hosts: readonly string[]; readonly port: number } | undefined;
  /** Address that public gateways see it come from. */
  readonly observedIp: Ip | undefined;
  /** All addresses that gateways see it come from. */
  readonly seenAt: readonly Ip[];
  readonly underlayMtuBytes: number | undefined;
  /** Address on which its agent answers probes. */
  readonly overlayIp: Ip | undefined;
  /** VPN driver; undefined until its agent has reported. */
  readonly driver: string | undefined;
  /** Of its WireGuard device, when that is its driver. */
  readonly publicKey: WgKey | undefined;
  /** What it says about its links, by peer. */
  readonly links: ReadonlyMap<string, ReportedLink>;
}

export interface ReportedLink {
  /** Packets go to the peer itself, and without a tunnel. */
  readonly isPlain: boolean;
  /** The largest packet that goes that way in one piece. */
  readonly mtuBytes: number | undefined;
}

/** Reads the objects of the API. Pure; input order does not matter. Never throws, whatever the objects hold. */
export function buildSnapshot(gateways: readonly Gateway[], tunnelEndpoints: readonly TunnelEndpoint[]): Snapshot {
  const sorted = gateways.toSorted((a, b) => compareText(a.metadata.name, b.metadata.name));
  const reports = new Map(tunnelEndpoints.map((each) => [each.metadata.name, each]));
  const nodesOf = new Map(sorted.map((gateway) => [gateway.metadata.name, regionNodes(gateway)]));
  const usable = usableSubnets([...nodesOf].map(([name, { cidrs }]) => ({ name, cidrs })));
  const observed = observedAddresses(sorted, tunnelEndpoints);
  const regions = sorted.map((gateway): Region => {
    const name = gateway.metadata.name;
    const nodes = nodesOf.get(name)?.nodes ?? [];
    return {
      name,
      createdAt: gateway.metadata.creationTimestamp ?? '',
      domain: gateway.metadata.annotations?.[ROUTABLE_DOMAIN_ANNOTATION]?.trim() || undefined,
      nodes,
      active: activeTunnels(gateway).map((endpoint) => gatewayNode(gateway, endpoint, { nodes, reports, observed })),
      live: liveEndpoints(gateway).map((endpoint) => gatewayNode(gateway, endpoint, { nodes, reports, observed })),
      endpointNames: new Set(gateway.spec.endpoints.map(({ nodeName }) => nodeName)),
      cidrs: usable.get(name)?.cidrs ?? [],
      overlaps: usable.get(name)?.overlaps ?? [],
    };
  });
  return { regions };
}

/** The region that a node belongs to. */
export function regionOfNode({ regions }: Snapshot, nodeName: string): Region | undefined {
  return regions.find(({ nodes }) => nodes.some(({ name }) => name === nodeName));
}

/** Whether an address lies inside any region's pod CIDRs. */
export function podMatcher(regions: readonly Region[]): (ip: Ip) => boolean {
  return matcherOf(regions.flatMap(({ nodes }) => nodes.flatMap(({ subnets }) => subnets)));
}

/** An object is never modified, so what was read from it stays true as long as it lives. */
const parsedNodes = new WeakMap<Gateway, RegionNodes>();

interface RegionNodes {
  readonly nodes: readonly RegionNode[];
  /** The same array at each call: `usableSubnets` then saves most of its work. */
  readonly cidrs: readonly Cidr[];
}

function regionNodes(gateway: Gateway): RegionNodes {
  const known = parsedNodes.get(gateway);
  if (known !== undefined) return known;
  const nodes = (gateway.status?.nodes ?? [])
    .map(({ nodeName, privateIP, subnets }) => ({
      name: nodeName,
      privateIp: parseIp(privateIP),
      subnets: subnets.flatMap((text) => {
        const cidr = parseCidr(text);
        return cidr !== undefined && isCarriable(cidr) ? [cidr] : [];
      }),
    }))
    .toSorted((a, b) => compareText(a.name, b.name));
  const parsed = { nodes, cidrs: nodes.flatMap(({ subnets }) => subnets) };
  parsedNodes.set(gateway, parsed);
  return parsed;
}

interface Reports {
  readonly nodes: readonly RegionNode[];
  readonly reports: ReadonlyMap<string, TunnelEndpoint>;
  readonly observed: ReadonlyMap<string, readonly Ip[]>;
}

function gatewayNode({ metadata, status }: Gateway, endpoint: Endpoint, { nodes, reports, observed }: Reports): GatewayNode {
  const name = endpoint.nodeName;
  const report = reports.get(name)?.spec;
  const exposed = status?.exposed?.find(({ nodeName, type }) => nodeName === name && type === 'tunnel');
  const port = endpoint.port || DEFAULT_TUNNEL_PORT;
  const privateIp = nodes.find((node) => node.name === name)?.privateIp;
  const main = publicAddress(endpoint, port, { report: reports.get(name), privateIp });
  const addresses = report?.addresses ?? [];
  const known = [privateIp, main?.ip, ...addresses.map(({ ip }) => parseIp(ip))].filter((ip) => ip !== undefined);
  return {
    name,
    region: metadata.name,
    port,
    publicAddress: main,
    publicAddresses: main === undefined ? [] : withSecond(main, addresses),
    underlayFamilies: known.length === 0 ? [4, 6] : familiesOf(known),
    privateIp,
    isDrained: status?.impaired?.some(({ nodeName, state }) => nodeName === name && state === 'Draining') === true,
    exposed: exposed && { hosts: exposed.addresses, port: exposed.port },
    observedIp: observed.get(name)?.find(isGlobalIp),
    seenAt: observed.get(name) ?? [],
    underlayMtuBytes: report?.underlayMtu,
    overlayIp: parseIp(report?.overlayIP ?? ''),
    driver: report?.driver,
    publicKey: parseWgKey(report?.publicKey ?? ''),
    links: reportedLinks(reports.get(name)),
  };
}

type PublicAddress = GatewayNode['publicAddresses'][number];

/**
 * `underNAT` says that nobody can call it. Otherwise: what the operator wrote, else what the agent found on the node itself, of the family of its
 * node's address: a global IPv6 address beside a private IPv4 one is most often behind a firewall.
 */
function publicAddress(
  endpoint: Endpoint,
  port: number,
  { report, privateIp }: { readonly report: TunnelEndpoint | undefined; readonly privateIp: Ip | undefined },
): PublicAddress | undefined {
  if (endpoint.underNAT === true) return undefined;
  const written = parseIp(endpoint.publicIP ?? '');
  if (written !== undefined) return { ip: written, port: endpoint.publicPort || port };
  const found =
    report?.spec.addresses.find(({ type }) => type === 'LoadBalancer') ??
    report?.spec.addresses.find(({ type, ip }) => type === 'Public' && (privateIp === undefined || familyOf(ip) === familyOf(privateIp)));
  const ip = parseIp(found?.ip ?? '');
  return ip === undefined ? undefined : { ip, port: found?.port ?? port };
}

/** Who can be called at one address can be called at a global one of the other family as well. */
function withSecond(main: PublicAddress, addresses: readonly TunnelAddress[]): PublicAddress[] {
  const second = addresses.find(({ type, ip }) => type === 'Public' && familyOf(ip) !== familyOf(main.ip));
  const ip = parseIp(second?.ip ?? '');
  const all = second === undefined || ip === undefined ? [main] : [main, { ip, port: second.port }];
  return all.toSorted((a, b) => familyOf(a.ip) - familyOf(b.ip));
}

function reportedLinks(report: TunnelEndpoint | undefined): GatewayNode['links'] {
  return new Map(
    (report?.status?.links ?? []).map(({ peer, path, encryption, mtu }) => [
      peer,
      { isPlain: path === 'direct' && encryption === 'none', mtuBytes: mtu },
    ]),
  );
}

/** From which addresses each gateway node comes, in order of the names of the gateways that see it. */
function observedAddresses(gateways: readonly Gateway[], tunnelEndpoints: readonly TunnelEndpoint[]): ReadonlyMap<string, readonly Ip[]> {
  const regionNames = new Set(gateways.map(({ metadata }) => metadata.name));
  const observed = new Map<string, Ip[]>();
  for (const { spec, status } of tunnelEndpoints.toSorted((a, b) => compareText(a.metadata.name, b.metadata.name))) {
    if (!regionNames.has(spec.gateway)) continue;
    for (const { peer, observed: seen = '' } of [...(status?.links ?? []), ...(status?.standbyLinks ?? [])]) {
      const ip = parseIp(seen.slice(0, seen.lastIndexOf(':')).replace(/^\[(.*)\]$/, '$1'));
      if (ip !== undefined) observed.set(peer, [...(observed.get(peer) ?? []), ip]);
    }
  }
  return observed;
}
