import type { Endpoint, Gateway, ImpairedEndpoint } from '../api/gateway.ts';
import { compareText } from '../lib/compare.ts';
import { type EndpointSigns, judgeEndpoint, rankOf, recheckAtMs } from './endpoint-fitness.ts';

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
  /** With defaults filled in. Its `status.activeEndpoints` are the ones to stay with, `status.impaired` is what was known of them. */
  readonly gateway: Gateway;
  /** For each node that exists and carries the region's label. */
  readonly signs: ReadonlyMap<string, EndpointSigns>;
  readonly switches: Switches;
  readonly nowMs: number;
  /** When a region that was cut off was heard again; undefined when it never was cut off. */
  readonly returnedAtMs?: number | undefined;
}

export interface Election {
  /** What belongs into `status.activeEndpoints`: the spec's copies, by node name. */
  readonly active: readonly Endpoint[];
  /** Those of `active` that were not active before. */
  readonly elected: readonly Endpoint[];
  /** What was active before and is no longer. */
  readonly left: readonly Endpoint[];
  /** What was active before, when nothing is active any more. */
  readonly lost: readonly Endpoint[];
  /** No candidate is heard of: those in `active` stay because most likely only the region's link to the API is lost. */
  readonly isCutOff: boolean;
  /** What belongs into `status.impaired`: in the order of the spec. */
  readonly impaired: readonly ImpairedEndpoint[];
  /** When to elect anew although nothing happens; undefined: never. */
  readonly recheckAtMs: number | undefined;
}

/**
 * Decides which endpoints of a region are active, by the rules of the API contract ("Election"): `tunnel` and `proxy` apart, each up to its
 * Replicas; who is active stays while it is fit and listed; free places are filled in the order of `spec.endpoints`. Only where nobody is fit, the least
 * bad are taken (`rankOf`); a node that is not Ready is never elected.
 *
 * Pure, and stable: once its result is in the status, the same input elects nothing new.
 */
export function electEndpoints({ gateway, signs, switches, nowMs, returnedAtMs }: ElectionInput): Election {
  const previous = gateway.status?.activeEndpoints ?? [];
  const candidates = candidatesOf(gateway).filter(({ nodeName }) => signs.has(nodeName));
  const isCutOff = candidates.length > 0 && !candidates.some(({ nodeName }) => isHeard(signs.get(nodeName)));
  const known = gateway.status?.impaired ?? [];
  const impaired = judgeAll(candidates, known, { signs, nowMs, isCutOff });
  const wasActive = (endpoint: Endpoint): boolean => previous.some((each) => isSame(each, endpoint));
  const late = lateOnes(known, nowMs, returnedAtMs);
  const isKept = ({ nodeName }: Pick<Endpoint, 'nodeName'>): boolean =>
    isCutOff || (late.has(nodeName) && isUnheard(impaired.get(nodeName)));

  const active = ENDPOINT_TYPES.flatMap((type) => {
    const ranked = candidates
      .filter((endpoint) => endpoint.type === type)
      .map((endpoint) => ({ endpoint, stays: wasActive(endpoint), rank: rankOf(impaired.get(endpoint.nodeName), type, nowMs) }))
      .filter(({ endpoint, stays }) => signs.get(endpoint.nodeName)?.isReady === true || (stays && isKept(endpoint)))
      // Whoever is active and fit is not moved because it fell often: that would be one move more.
      .map((each) => ({ ...each, rank: each.stays && (isKept(each.endpoint) || each.rank === FLAPPING) ? 0 : each.rank }))
      .toSorted((a, b) => a.rank - b.rank || Number(b.stays) - Number(a.stays));
    // Beside one that is fit the others would keep a share of the packets.
    const fit = ranked.filter(({ rank }) => rank <= FLAPPING);
    return (fit.length > 0 ? fit : ranked)
      .slice(0, wantedReplicas(gateway, type, switches))
      .map(({ endpoint }) => withSwitch(endpoint, type));
  }).toSorted((a, b) => compareText(a.nodeName, b.nodeName) || compareText(a.type, b.type));

  const rechecks = [...impaired].flatMap(([name, each]) => {
    const own = signs.get(name);
    return [own && recheckAtMs(each, own), late.has(name) && returnedAtMs !== undefined ? returnedAtMs + RETURN_MS : undefined];
  });
  // Ready Nodes whose agents are silent: a lost link makes them NotReady soon, or else it is none.
  if (isCutOff && candidates.some(({ nodeName }) => signs.get(nodeName)?.isReady)) rechecks.push(nowMs + RETURN_MS);
  const next = Math.min(...rechecks.filter((ms) => ms !== undefined));
  return {
    active,
    elected: active.filter((endpoint) => !wasActive(endpoint)),
    left: previous.filter((endpoint) => !active.some((each) => isSame(each, endpoint))),
    lost: active.length === 0 ? previous : [],
    isCutOff,
    impaired: [...impaired.values()].map((each) => (isKept(each) ? { ...each, expected: true } : each)),
    recheckAtMs: Number.isFinite(next) ? next : undefined,
  };
}

/** See `rankOf`. */
const FLAPPING = 1;

/** The API server hears from the node, and from its agent as far as that ever spoke. */
function isHeard(signs: EndpointSigns | undefined): boolean {
  return signs?.isReady === true && signs.silence === undefined && !signs.isStale;
}

/** Nodes of a region that was cut off report again one after the other: kubelets and agents do so every 10 s. */
const RETURN_MS = 30_000;

/** Nodes that were not heard when their region was heard again, for so long as they may still report by themselves. */
function lateOnes(known: readonly ImpairedEndpoint[], nowMs: number, returnedAtMs: number | undefined): ReadonlySet<string> {
  if (returnedAtMs === undefined || nowMs >= returnedAtMs + RETURN_MS) return new Set();
  return new Set(known.filter((each) => isUnheard(each) && Date.parse(each.since) < returnedAtMs).map(({ nodeName }) => nodeName));
}

function isUnheard(impaired: ImpairedEndpoint | undefined): boolean {
  return impaired?.state === 'NodeNotReady' || impaired?.state === 'AgentSilent';
}

function judgeAll(
  candidates: readonly Endpoint[],
  before: readonly ImpairedEndpoint[],
  { signs, nowMs, isCutOff }: { readonly signs: ElectionInput['signs']; readonly nowMs: number; readonly isCutOff: boolean },
): Map<string, ImpairedEndpoint> {
  const impaired = new Map<string, ImpairedEndpoint>();
  for (const { nodeName } of candidates) {
    const own = signs.get(nodeName);
    const last = before.find((each) => each.nodeName === nodeName);
    const judged = own && judgeEndpoint(nodeName, own, last, { nowMs, isCutOff });
    if (judged !== undefined) impaired.set(nodeName, judged);
  }
  return impaired;
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
