import type { Lease } from '../api/core.ts';
import type { Gateway, ImpairedEndpoint } from '../api/gateway.ts';
import type { Condition } from '../api/meta.ts';
import type { TunnelEndpoint, TunnelLink } from '../api/tunnel-endpoint.ts';
import { compareText } from '../lib/compare.ts';
import { formatIpPort } from '../net/ip.ts';
import { nodeOfLease } from './agent-leases.ts';
import { HOST_UNFIT } from './host-needs.ts';

/** What `raven status -o json` prints. */
export interface ClusterStatus {
  readonly version: 1;
  /** Every region has an active gateway and every tunnel is up. */
  readonly ok: boolean;
  readonly gateways: readonly GatewayLine[];
  readonly tunnels: readonly TunnelLine[];
  /** Conditions that are not as they should be, of Gateways and TunnelEndpoints. */
  readonly warnings: readonly { readonly object: string; readonly reason: string; readonly message: string }[];
}

export interface GatewayLine {
  readonly name: string;
  readonly active: readonly string[];
  readonly standby: readonly string[];
  /** Of standbys that have tunnels: those that are up, and all of them, as `2/3`. */
  readonly standbyPeers: Readonly<Record<string, string>>;
  readonly nodes: number;
  readonly subnets: readonly string[];
  readonly driver?: string;
  readonly dataPath?: string;
  readonly addresses: readonly string[];
  readonly peersUp: number;
  readonly peersTotal: number;
  /** What stands, or lately stood, against its endpoints. */
  readonly impaired: readonly ImpairedEndpoint[];
  /** When each tunnel endpoint's agent last renewed its Lease, by that node's clock (RFC 3339); agents that never did are missing. */
  readonly heard: Readonly<Record<string, string>>;
}

export interface TunnelLine extends TunnelLink {
  readonly from: string;
  readonly fromGateway: string;
}

/** Sums up what is stored. Pure; in order of name. */
export function clusterStatus(
  gateways: readonly Gateway[],
  endpoints: readonly TunnelEndpoint[],
  leases: readonly Lease[] = [],
): ClusterStatus {
  const byNode = new Map(endpoints.map((each) => [each.metadata.name, each]));
  const renewals = new Map(leases.map(({ metadata, spec }) => [nodeOfLease(metadata.name), spec.renewTime ?? undefined]));
  const lines = gateways.map((gateway) => gatewayLine(gateway, byNode, renewals)).toSorted((a, b) => compareText(a.name, b.name));
  const tunnels = lines.flatMap(({ name, active }) =>
    active.flatMap((from) => (byNode.get(from)?.status?.links ?? []).map((link) => ({ from, fromGateway: name, ...link }))),
  );
  const reported = lines.every(({ active }) => active.every((node) => isWorking(byNode.get(node))));
  return {
    version: 1,
    ok: reported && lines.every(({ active }) => active.length > 0) && tunnels.every(({ state }) => state === 'Up'),
    gateways: lines,
    tunnels,
    warnings: [
      ...gateways.flatMap((each) => warningsOf(`gateway/${each.metadata.name}`, each.status?.conditions ?? [])),
      ...lines
        .flatMap(({ active }) => active)
        .flatMap((node) => warningsOf(`tunnelendpoint/${node}`, byNode.get(node)?.status?.conditions ?? [])),
    ],
  };
}

/** A node whose machine lacks something has no links that could be down. */
function isWorking(endpoint: TunnelEndpoint | undefined): boolean {
  return endpoint !== undefined && endpoint.status?.conditions.some(({ reason }) => reason === HOST_UNFIT) !== true;
}

function gatewayLine(
  { metadata, spec, status }: Gateway,
  byNode: ReadonlyMap<string, TunnelEndpoint>,
  renewals: ReadonlyMap<string | undefined, string | undefined>,
): GatewayLine {
  const active = (status?.activeEndpoints ?? []).filter(({ type }) => type === 'tunnel').map(({ nodeName }) => nodeName);
  const reports = active.flatMap((node) => byNode.get(node) ?? []);
  const links = reports.flatMap((report) => report.status?.links ?? []);
  const { driver, dataPath } = reports[0]?.spec ?? {};
  const standby = spec.endpoints
    .filter(({ type, nodeName }) => type === 'tunnel' && !active.includes(nodeName))
    .map(({ nodeName }) => nodeName);
  const heard = spec.endpoints
    .filter(({ type }) => type === 'tunnel')
    .map(({ nodeName }) => [nodeName, renewals.get(nodeName)] as const)
    .filter((each): each is readonly [string, string] => each[1] !== undefined);
  return {
    name: metadata.name,
    active,
    standby,
    standbyPeers: Object.fromEntries(
      standby.flatMap((name) => {
        const peers = byNode.get(name)?.status?.peers;
        return peers === undefined ? [] : [[name, peers]];
      }),
    ),
    nodes: status?.nodes.length ?? 0,
    subnets: (status?.nodes ?? []).flatMap(({ subnets }) => subnets),
    ...(driver !== undefined && { driver }),
    ...(dataPath !== undefined && { dataPath }),
    addresses: reports.flatMap(({ spec: { addresses } }) => addresses.map(({ ip, port }) => formatIpPort(ip, port))),
    peersUp: links.filter(({ state }) => state === 'Up').length,
    peersTotal: links.length,
    impaired: status?.impaired ?? [],
    heard: Object.fromEntries(heard),
  };
}

/** `KernelDataPath` False is a fact, not a fault. */
const INFORMATIVE = new Set(['KernelDataPath']);

function warningsOf(object: string, conditions: readonly Condition[]): ClusterStatus['warnings'] {
  return conditions
    .filter(({ type, status }) => status === 'False' && !INFORMATIVE.has(type))
    .map(({ reason, message }) => ({ object, reason, message }));
}
