import type { EndpointSlice, Service } from '../api/core.ts';
import { defaultPort, type Endpoint, type ExposedEndpoint, type Gateway } from '../api/gateway.ts';
import { CONTROLLER_NAME, ENDPOINTS_NAME_LABEL, GATEWAY_LABEL, GATEWAY_TYPE_LABEL, SERVICE_DISCARD_ANNOTATION } from '../api/names.ts';
import { compareText } from '../lib/compare.ts';
import { fnv1a } from '../lib/hash.ts';
import { familyOf, type Ip, parseIp } from '../net/ip.ts';

/** Ports that endpoints of each type listen on, where they differ from the port of the Service; from ConfigMap `raven-agent-config`. */
export type TargetPorts = Readonly<Record<'tunnel' | 'proxy', number | undefined>>;

export interface ExposureInput {
  /** Undefined when it is gone: nothing is exposed then. */
  readonly gateway: Gateway | undefined;
  readonly namespace: string;
  readonly targetPorts: TargetPorts;
  /** What is there now for the gateway. */
  readonly services: readonly Service[];
  readonly slices: readonly EndpointSlice[];
}

export interface ExposurePlan {
  /** To create (no `resourceVersion`) or to change; only the fields that are ours. */
  readonly apply: readonly Exposing[];
  readonly remove: readonly Exposing[];
}

type Exposing = Service | EndpointSlice;

/** Every name that we make starts so; what else carries our labels is somebody's own. */
const NAME_PREFIXES = { tunnel: 'x-raven-tunnel-svc-', proxy: 'x-raven-proxy-svc-' } as const;
/** A Service's name has at most 63 characters (RFC 1035 label); the prefix takes 19, `-` and the hash 9. */
const MAX_GATEWAY_PART = 35;

/** Whether a Service or EndpointSlice is one of ours, and of which gateway: one whose label somebody took off still says it by its owner. */
export function exposedGatewayOf({ metadata: { name, labels, ownerReferences } }: Exposing): string | undefined {
  if (!Object.values(NAME_PREFIXES).some((prefix) => name.startsWith(prefix))) return undefined;
  return labels?.[GATEWAY_LABEL] ?? ownerReferences?.find(({ kind }) => kind === 'Gateway')?.name;
}

/**
 * Decides which Services and EndpointSlices expose the active endpoints of a gateway (API contract, "Exposure"): what differs from what is there.
 * Keyed by node and type, so that Services which the Go implementation made are taken over, whatever their names. Pure.
 */
export function planExposure({ gateway, namespace, targetPorts, services, slices }: ExposureInput): ExposurePlan {
  const wanted = gateway === undefined ? [] : exposedEndpoints(gateway);
  const kept = new Set<Exposing>();
  const apply: Exposing[] = [];
  const place = <T extends Exposing>(desired: T, found: T | undefined, isSame: (found: T) => boolean): void => {
    if (found !== undefined) kept.add(found);
    // The cloud still gives the load balancer back: a new one can be made when that is done.
    if (found !== undefined && isBeingDeleted(found)) return;
    if (found === undefined || !isSame(found) || !hasAll(found, desired)) apply.push(withVersionOf(desired, found));
  };
  for (const { endpoint, ip } of wanted) {
    if (gateway === undefined) break;
    const found = findService(gateway, endpoint, services);
    const ports = portsOf(endpoint, targetPorts);
    const service = desiredService({ gateway, namespace, endpoint, name: found?.metadata.name, ports });
    place(service, found, ({ spec }) => isServiceSame(spec, service.spec));
    if (ip === undefined) continue;
    const slice = desiredSlice({ service, ip, endpoint, port: ports.targetPort });
    place(
      slice,
      slices.find(({ metadata: { name } }) => name === slice.metadata.name),
      (each) => isSliceSame(each, slice),
    );
  }
  return { apply, remove: [...services, ...slices].filter((each) => !kept.has(each) && !isBeingDeleted(each)) };
}

/** Where load balancers make the active endpoints of a gateway reachable; what the ingress says in another order is the same. */
export function exposedAddresses(gateway: Gateway, services: readonly Service[]): ExposedEndpoint[] {
  return exposedEndpoints(gateway).flatMap(({ endpoint }) => {
    const { nodeName, type, port } = endpoint;
    const service = findService(gateway, endpoint, services);
    if (service === undefined || isBeingDeleted(service)) return [];
    const ingress = service.status?.loadBalancer?.ingress ?? [];
    const addresses = [...new Set(ingress.map(({ ip, hostname }) => ip || hostname || '').filter((text) => text !== ''))].toSorted(
      compareText,
    );
    return addresses.length === 0 ? [] : [{ nodeName, type, addresses, port: port || defaultPort(type) }];
  });
}

/** `[HOST]:PORT` of each type in the agents' settings; undefined when it is absent or cannot be read. */
export function parseTargetPorts(data: Readonly<Record<string, string>> | undefined): TargetPorts {
  const portOf = (text: string | undefined): number | undefined => {
    const port = Number(/:(\d{1,5})$/.exec(text?.trim() ?? '')?.[1]);
    return port >= 1 && port <= 65_535 ? port : undefined;
  };
  return { tunnel: portOf(data?.['tunnel-bind-addr']), proxy: portOf(data?.['proxy-external-addr']) };
}

/** A switched-off type is not elected, so that what is active is what is exposed. */
function exposedEndpoints({ spec, status }: Gateway): { readonly endpoint: Endpoint; readonly ip: Ip | undefined }[] {
  if (spec.exposeType !== 'LoadBalancer') return [];
  return (status?.activeEndpoints ?? [])
    .filter(({ type }) => type === 'tunnel' || type === 'proxy')
    .map((endpoint) => ({ endpoint, ip: parseIp(status?.nodes.find(({ nodeName }) => nodeName === endpoint.nodeName)?.privateIP ?? '') }));
}

interface Ports {
  readonly protocol: 'UDP' | 'TCP';
  readonly port: number;
  readonly targetPort: number;
}

function portsOf({ type, port }: Endpoint, targetPorts: TargetPorts): Ports {
  const outside = port || defaultPort(type);
  return {
    protocol: type === 'proxy' ? 'TCP' : 'UDP',
    port: outside,
    targetPort: targetPorts[type === 'proxy' ? 'proxy' : 'tunnel'] ?? outside,
  };
}

interface ServiceInput {
  readonly gateway: Gateway;
  readonly namespace: string;
  readonly endpoint: Endpoint;
  /** Of the one that is there. */
  readonly name: string | undefined;
  readonly ports: Ports;
}

function desiredService({ gateway, namespace, endpoint, name, ports }: ServiceInput): Service {
  const { name: owner, uid } = gateway.metadata;
  const { apiVersion, kind } = gateway;
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name: name ?? serviceName(owner, endpoint),
      namespace,
      labels: labelsOf(owner, endpoint),
      annotations: { [SERVICE_DISCARD_ANNOTATION]: 'true' },
      // Kubernetes removes it when the Gateway goes while no controller runs.
      ...(uid !== undefined && { ownerReferences: [{ apiVersion, kind, name: owner, uid }] }),
    },
    spec: { type: 'LoadBalancer', externalTrafficPolicy: 'Local', ports: [{ name: endpoint.type, ...ports }] },
  };
}

interface SliceInput {
  readonly service: Service;
  readonly ip: Ip;
  readonly endpoint: Endpoint;
  readonly port: number;
}

function desiredSlice({ service, ip, endpoint, port }: SliceInput): EndpointSlice {
  const { name, namespace, labels, ownerReferences } = service.metadata;
  const isV6 = familyOf(ip) === 6;
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      // The type of addresses cannot be changed, so each has an object of its own.
      name: isV6 ? `${name}-v6` : name,
      namespace,
      labels: { ...labels, 'kubernetes.io/service-name': name, 'endpointslice.kubernetes.io/managed-by': CONTROLLER_NAME },
      ...(ownerReferences !== undefined && { ownerReferences }),
    },
    addressType: isV6 ? 'IPv6' : 'IPv4',
    // With the node's name, so that `externalTrafficPolicy: Local` finds it.
    endpoints: [{ addresses: [ip], conditions: { ready: true }, nodeName: endpoint.nodeName }],
    ports: [{ name: endpoint.type, protocol: endpoint.type === 'proxy' ? 'TCP' : 'UDP', port }],
  };
}

function labelsOf(gateway: string, { type, nodeName }: Endpoint): Record<string, string> {
  return { [GATEWAY_LABEL]: gateway, [GATEWAY_TYPE_LABEL]: type, [ENDPOINTS_NAME_LABEL]: nodeName };
}

/** The same at each call. A gateway's name may hold dots and be longer than a Service's: then it goes into the hash too. */
function serviceName(gateway: string, { type, nodeName }: Endpoint): string {
  const part = gateway.replaceAll('.', '-').slice(0, MAX_GATEWAY_PART);
  const hash = fnv1a(part === gateway ? nodeName : `${gateway}/${nodeName}`);
  return `${NAME_PREFIXES[type === 'proxy' ? 'proxy' : 'tunnel']}${part}-${hash.toString(16).padStart(8, '0')}`;
}

/**
 * The Service that exposes an endpoint: the one that is called so, whatever its labels are now; else the one whose labels say so and whose name is
 * not that of another endpoint, as the Go implementation made them.
 */
function findService(gateway: Gateway, endpoint: Endpoint, services: readonly Service[]): Service | undefined {
  const nameOf = (each: Endpoint): string => serviceName(gateway.metadata.name, each);
  const named = services.find(({ metadata: { name } }) => name === nameOf(endpoint));
  if (named !== undefined) return named;
  const taken = new Set(exposedEndpoints(gateway).map((each) => nameOf(each.endpoint)));
  return services.filter((each) => isLabelled(each, endpoint) && !taken.has(each.metadata.name)).toSorted(byAge)[0];
}

function isLabelled({ metadata: { labels } }: Service, { type, nodeName }: Endpoint): boolean {
  return labels?.[GATEWAY_TYPE_LABEL] === type && labels[ENDPOINTS_NAME_LABEL] === nodeName;
}

function isBeingDeleted({ metadata: { deletionTimestamp } }: Exposing): boolean {
  return (deletionTimestamp ?? undefined) !== undefined;
}

/** Of two for the same endpoint the older one stays: its address is known already. */
function byAge(a: Service, b: Service): number {
  return (
    compareText(a.metadata.creationTimestamp ?? '', b.metadata.creationTimestamp ?? '') || compareText(a.metadata.name, b.metadata.name)
  );
}

/** Others may have added ports of their own. */
function isServiceSame(found: Service['spec'], desired: Service['spec']): boolean {
  const isIn = (port: NonNullable<Service['spec']['ports']>[number]): boolean =>
    (found.ports ?? []).some((each) => each.port === port.port && each.protocol === port.protocol && each.targetPort === port.targetPort);
  return (
    found.type === desired.type &&
    found.externalTrafficPolicy === desired.externalTrafficPolicy &&
    (desired.ports ?? []).every((port) => isIn(port))
  );
}

function isSliceSame(found: EndpointSlice, desired: EndpointSlice): boolean {
  const textOf = ({ endpoints, ports }: EndpointSlice): string =>
    JSON.stringify([
      endpoints.map(({ addresses, nodeName, conditions }) => [addresses, nodeName, conditions?.ready]),
      ports.map(({ name, protocol, port }) => [name, protocol, port]),
    ]);
  return textOf(found) === textOf(desired);
}

function hasAll({ metadata: found }: Exposing, { metadata: desired }: Exposing): boolean {
  const isIn = (all: Readonly<Record<string, string>> = {}, some: Readonly<Record<string, string>> = {}): boolean =>
    Object.entries(some).every(([key, value]) => all[key] === value);
  const isOwned = (desired.ownerReferences ?? []).every(({ uid }) => found.ownerReferences?.some((owner) => owner.uid === uid));
  return isOwned && isIn(found.labels, desired.labels) && isIn(found.annotations, desired.annotations);
}

function withVersionOf<T extends Exposing>(desired: T, found: T | undefined): T {
  if (found === undefined) return desired;
  const { uid, resourceVersion } = found.metadata;
  return { ...desired, metadata: { ...desired.metadata, ...(uid !== undefined && { uid }), resourceVersion } };
}
