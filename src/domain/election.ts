import type { Endpoint, Gateway } from '../api/gateway.ts';
import { compareText } from '../lib/compare.ts';

export const ENDPOINT_TYPES = ['tunnel', 'proxy'] as const;
export type EndpointType = (typeof ENDPOINT_TYPES)[number];

/** Which layers are on at all: ConfigMap `raven-cfg`. */
export type Switches = Readonly<Record<EndpointType, boolean>>;

/** Keys of `raven-cfg`, and of `config` on the active endpoints of that type. */
export const SWITCH_KEYS = { tunnel: 'enable-l3-tunnel', proxy: 'enable-l7-proxy' } as const satisfies Record<EndpointType, string>;

/** Without a `raven-cfg`. Upstream has both off then: the most common reason why nothing happens at all. */
export const DEFAULT_SWITCHES: Switches = { tunnel: true, proxy: false };

/** Reads `raven-cfg`'s data; undefined when there is no such ConfigMap. On when `true`, case ignored. */
export function parseSwitches(data: Readonly<Record<string, string>> | undefined): Switches {
  if (data === undefined) return DEFAULT_SWITCHES;
  const isOn = (type: EndpointType): boolean => data[SWITCH_KEYS[type]]?.trim().toLowerCase() === 'true';
  return { tunnel: isOn('tunnel'), proxy: isOn('proxy') };
}

export interface ElectionInput {
  /** With defaults filled in. Its `status.activeEndpoints` are the ones to stay with. */
  readonly gateway: Gateway;
  /** Whether the node is Ready, for each node that exists and carries the region's label. */
  readonly readiness: ReadonlyMap<string, boolean>;
  readonly switches: Switches;
}

export interface Election {
  /** What belongs into `status.activeEndpoints`: the spec's copies, by node name. */
  readonly active: readonly Endpoint[];
  /** Those of `active` that were not active before. */
  readonly elected: readonly Endpoint[];
  /** What was active before, when nothing is active any more. */
  readonly lost: readonly Endpoint[];
  /** No candidate is Ready: those in `active` stay because most likely only the region's link to the API is lost. */
  readonly isCutOff: boolean;
}

/**
 * Decides which endpoints of a region are active, by the rules of the API contract ("Election"): `tunnel` and `proxy` apart, each up to its
 * Replicas; who is active stays while it is Ready and listed; free places are filled in the order of `spec.endpoints`.
 *
 * Pure, and stable: once its result is in the status, the same input elects nothing new.
 */
export function electEndpoints({ gateway, readiness, switches }: ElectionInput): Election {
  const previous = gateway.status?.activeEndpoints ?? [];
  const candidates = candidatesOf(gateway).filter(({ nodeName }) => readiness.has(nodeName));
  const isCutOff = candidates.length > 0 && !candidates.some(({ nodeName }) => readiness.get(nodeName));
  const wasActive = (endpoint: Endpoint): boolean => previous.some((each) => isSame(each, endpoint));
  const isFit = (endpoint: Endpoint): boolean => (isCutOff ? wasActive(endpoint) : readiness.get(endpoint.nodeName) === true);
  const fit = candidates.filter(isFit);

  const active = ENDPOINT_TYPES.flatMap((type) => {
    const ofType = fit.filter((endpoint) => endpoint.type === type);
    const staying = ofType.filter(wasActive);
    const joining = ofType.filter((endpoint) => !staying.includes(endpoint));
    return [...staying, ...joining].slice(0, wantedReplicas(gateway, type, switches)).map((endpoint) => withSwitch(endpoint, type));
  }).toSorted((a, b) => compareText(a.nodeName, b.nodeName) || compareText(a.type, b.type));

  return {
    active,
    elected: active.filter((endpoint) => !wasActive(endpoint)),
    lost: active.length === 0 ? previous : [],
    isCutOff,
  };
}

/** How many endpoints of a type should be active; a switched-off type none at all. */
export function wantedReplicas({ spec }: Gateway, type: EndpointType, switches: Switches): number {
  if (!switches[type]) return 0;
  const config = type === 'tunnel' ? spec.tunnelConfig : spec.proxyConfig;
  return Math.max(config?.Replicas ?? 0, 0);
}

/** Endpoints of a known type, the first of each (nodeName, type), in the order of the spec. */
export function candidatesOf({ spec: { endpoints } }: Gateway): Endpoint[] {
  const byKey = new Map<string, Endpoint>();
  for (const endpoint of endpoints) {
    const key = `${endpoint.type} ${endpoint.nodeName}`;
    if (isEndpointType(endpoint.type) && endpoint.nodeName !== '' && !byKey.has(key)) byKey.set(key, endpoint);
  }
  return [...byKey.values()];
}

function isEndpointType(type: string): type is EndpointType {
  return (ENDPOINT_TYPES as readonly string[]).includes(type);
}

function isSame(a: Endpoint, b: Endpoint): boolean {
  return a.nodeName === b.nodeName && a.type === b.type;
}

/** Upstream's agents start a layer when its flag stands here. */
function withSwitch(endpoint: Endpoint, type: EndpointType): Endpoint {
  return { ...endpoint, config: { ...endpoint.config, [SWITCH_KEYS[type]]: 'true' } };
}
