import type { BlockAffinity, Event, Lease, Node, Service } from '../api/core.ts';
import type { Gateway } from '../api/gateway.ts';
import type { Kind, ObjectOf } from '../api/kinds.ts';
import type { ObjectMeta } from '../api/meta.ts';
import { GATEWAY_LABEL } from '../api/names.ts';
import { type TunnelEndpoint, upOfTotal } from '../api/tunnel-endpoint.ts';
import { formatIpPort } from '../net/ip.ts';
import { formatAge } from './age.ts';

/** One column of `raven get`; an empty text is shown as `<none>`. */
export interface Column<T> {
  readonly title: string;
  readonly text: (object: T) => string;
  /** Only with `-o wide`. */
  readonly wide?: true;
}

export interface ColumnContext {
  readonly nowMs: number;
  /** For the peers of Gateways. */
  readonly endpoints: readonly TunnelEndpoint[];
}

/** The columns of a kind's table, from left to right. */
export function columnsOf<K extends Kind>(kind: K, context: ColumnContext): readonly Column<ObjectOf<K>>[] {
  const age: Column<{ metadata: ObjectMeta }> = { title: 'AGE', text: ({ metadata }) => ageSince(metadata.creationTimestamp, context) };
  const columns: { readonly [Each in Kind]: () => readonly Column<ObjectOf<Each>>[] } = {
    Gateway: () => [NAME, ...gatewayColumns(context.endpoints), age, ...WIDE_GATEWAY],
    TunnelEndpoint: () => [NAME, ...TUNNEL_ENDPOINT, age, ...WIDE_TUNNEL_ENDPOINT],
    Node: () => [NAME, ...NODE, age, ...WIDE_NODE],
    Lease: () => [NAMESPACE, NAME, ...leaseColumns(context), age],
    Event: () => [NAMESPACE, ...eventColumns(context)],
    ConfigMap: () => [NAMESPACE, NAME, { title: 'DATA', text: ({ data }) => String(Object.keys(data ?? {}).length) }, age],
    Service: () => [NAMESPACE, NAME, ...SERVICE, age],
    EndpointSlice: () => [
      NAMESPACE,
      NAME,
      { title: 'ENDPOINTS', text: ({ endpoints }) => endpoints.flatMap(({ addresses }) => addresses).join(',') },
      age,
    ],
    BlockAffinity: () => [NAME, ...BLOCK_AFFINITY, age],
  };
  return columns[kind]();
}

const NAME: Column<{ metadata: ObjectMeta }> = { title: 'NAME', text: ({ metadata }) => metadata.name };
const NAMESPACE: Column<{ metadata: ObjectMeta }> = { title: 'NAMESPACE', text: ({ metadata }) => metadata.namespace ?? '' };

function gatewayColumns(endpoints: readonly TunnelEndpoint[]): Column<Gateway>[] {
  const byName = new Map(endpoints.map((each) => [each.metadata.name, each]));
  return [
    { title: 'ACTIVE', text: (gateway) => [...new Set(activeNodes(gateway))].join(',') },
    {
      title: 'PEERS',
      text: (gateway) => upOfTotal([...new Set(activeNodes(gateway, 'tunnel'))].flatMap((node) => byName.get(node)?.status?.links ?? [])),
    },
    { title: 'NODES', text: ({ status }) => String(status?.nodes.length ?? 0) },
  ];
}

const WIDE_GATEWAY: readonly Column<Gateway>[] = [
  {
    title: 'ENDPOINTS',
    wide: true,
    text: ({ spec }) => spec.endpoints.map(({ nodeName, type }) => (type === 'tunnel' ? nodeName : `${nodeName}(${type})`)).join(','),
  },
  { title: 'SUBNETS', wide: true, text: ({ status }) => (status?.nodes ?? []).flatMap(({ subnets }) => subnets).join(',') },
];

const TUNNEL_ENDPOINT: readonly Column<TunnelEndpoint>[] = [
  { title: 'GATEWAY', text: ({ spec }) => spec.gateway },
  { title: 'DATAPATH', text: ({ spec }) => spec.dataPath },
  {
    title: 'ADDRESSES',
    text: ({ spec }) => spec.addresses.map(({ ip, port }) => formatIpPort(ip, port)).join(','),
  },
  { title: 'LINKS', text: ({ status }) => upOfTotal(status?.links ?? []) },
];

const WIDE_TUNNEL_ENDPOINT: readonly Column<TunnelEndpoint>[] = [
  { title: 'DRIVER', wide: true, text: ({ spec }) => spec.driver },
  { title: 'UNDERLAY-MTU', wide: true, text: ({ spec }) => String(spec.underlayMtu) },
  { title: 'OVERLAY-IP', wide: true, text: ({ spec }) => spec.overlayIP ?? '' },
  {
    title: 'PEERS',
    wide: true,
    text: ({ status }) =>
      (status?.links ?? []).map(({ peer, state, via }) => `${peer}=${state}${via === undefined ? '' : ` via ${via}`}`).join(','),
  },
];

const NODE: readonly Column<Node>[] = [
  { title: 'STATUS', text: nodeStatus },
  { title: 'REGION', text: ({ metadata }) => metadata.labels?.[GATEWAY_LABEL] ?? '' },
  {
    title: 'INTERNAL-IP',
    text: ({ status }) => (status?.addresses ?? []).flatMap(({ type, address }) => (type === 'InternalIP' ? address : [])).join(','),
  },
  { title: 'PODCIDR', text: ({ spec }) => spec.podCIDRs?.join(',') ?? spec.podCIDR ?? '' },
];

const WIDE_NODE: readonly Column<Node>[] = [
  {
    title: 'LABELS',
    wide: true,
    text: ({ metadata }) =>
      Object.entries(metadata.labels ?? {})
        .map(([key, value]) => `${key}=${value}`)
        .join(','),
  },
];

const SERVICE: readonly Column<Service>[] = [
  { title: 'TYPE', text: ({ spec }) => spec.type ?? '' },
  { title: 'CLUSTER-IP', text: ({ spec }) => spec.clusterIP ?? '' },
  {
    title: 'EXTERNAL-IP',
    text: ({ status }) => (status?.loadBalancer?.ingress ?? []).map(({ ip, hostname }) => ip ?? hostname ?? '').join(','),
  },
  { title: 'PORT(S)', text: ({ spec }) => (spec.ports ?? []).map(({ port, protocol }) => `${port}/${protocol ?? 'TCP'}`).join(',') },
];

const BLOCK_AFFINITY: readonly Column<BlockAffinity>[] = [
  { title: 'NODE', text: ({ spec }) => spec.node },
  { title: 'CIDR', text: ({ spec }) => spec.cidr },
  { title: 'STATE', text: ({ spec }) => spec.state },
];

function leaseColumns(context: ColumnContext): Column<Lease>[] {
  return [
    { title: 'HOLDER', text: ({ spec }) => spec.holderIdentity ?? '' },
    { title: 'RENEWED', text: ({ spec }) => ageSince(spec.renewTime, context) },
  ];
}

function eventColumns(context: ColumnContext): Column<Event>[] {
  return [
    { title: 'LAST SEEN', text: ({ lastTimestamp, metadata }) => ageSince(lastTimestamp ?? metadata.creationTimestamp, context) },
    { title: 'TYPE', text: ({ type }) => type },
    { title: 'REASON', text: ({ reason }) => reason },
    { title: 'OBJECT', text: ({ involvedObject: { kind, name } }) => `${kind.toLowerCase()}/${name}` },
    { title: 'COUNT', wide: true, text: ({ count }) => String(count ?? 1) },
    { title: 'MESSAGE', text: ({ message }) => message },
  ];
}

function activeNodes({ status }: Gateway, only?: string): string[] {
  return (status?.activeEndpoints ?? []).filter(({ type }) => type === (only ?? type)).map(({ nodeName }) => nodeName);
}

/** As kubectl says it. */
function nodeStatus({ spec, status }: Node): string {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready')?.status;
  const word = ready === 'True' ? 'Ready' : ready === 'False' ? 'NotReady' : 'Unknown';
  return spec.unschedulable === true ? `${word},SchedulingDisabled` : word;
}

function ageSince(time: string | null | undefined, { nowMs }: ColumnContext): string {
  return formatAge(nowMs - Date.parse(time ?? ''));
}
