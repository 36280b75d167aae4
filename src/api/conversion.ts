import { isDeepStrictEqual } from 'node:util';
import { ALPHA_VERSION, API_GROUP, BETA_FIELDS_ANNOTATION, BETA_VERSION, DEFAULT_TUNNEL_PORT } from './names.ts';

type Fields = Readonly<Record<string, unknown>>;

/** What v1alpha1 has no field for; the value of `BETA_FIELDS_ANNOTATION`, as JSON. */
interface BetaFields {
  /** `proxyConfig` and `tunnelConfig`, as far as they are there. */
  readonly spec?: Fields;
  /** One entry per endpoint, in order: of a tunnel its name and what else v1alpha1 cannot say, any other whole. */
  readonly endpoints?: readonly unknown[];
  readonly status?: Fields;
}

export type GatewayVersion = typeof ALPHA_VERSION | typeof BETA_VERSION;

/** What only v1beta1 has; every other field, also an unknown one, is the same in both. */
const SPEC_KEYS = ['proxyConfig', 'tunnelConfig'];
const ENDPOINT_KEYS = ['type', 'port', 'natType', 'publicPort'];
const STATUS_KEYS = ['active', 'peers', 'exposed', 'impaired'];

/**
 * Converts a Gateway between `v1alpha1` and `v1beta1`; one that is in the wanted version already comes back as it is.
 *
 * Upwards each endpoint becomes a tunnel on port 4500, and both Replicas are 1. Downwards there are the tunnel endpoints, and the first active
 * one of them; what v1alpha1 cannot express goes into an annotation, from which the way up restores it. When the v1alpha1 form was edited in
 * between, the edit wins and the rest is restored. Only `apiVersion`, that annotation, `spec` and `status` differ afterwards.
 *
 * Works on objects of any shape, valid or not: a part that is not what it should be passes as it is.
 * @throws {Error} when the object is no Gateway of a known version
 */
export function convertGateway(object: unknown, to: GatewayVersion): Fields {
  if (!isFields(object)) throw new Error('is no object');
  const { apiVersion, kind } = object;
  if (kind !== 'Gateway') throw new Error(`${String(kind)} is no Gateway`);
  if (apiVersion === versionName(to)) return object;
  if (apiVersion === versionName(BETA_VERSION)) return down(object);
  if (apiVersion === versionName(ALPHA_VERSION)) return up(object);
  throw new Error(`${String(apiVersion)} is not known; there are: ${versionName(BETA_VERSION)}, ${versionName(ALPHA_VERSION)}`);
}

function versionName(version: GatewayVersion): string {
  return `${API_GROUP}/${version}`;
}

function down(object: Fields): Fields {
  const plain = {
    ...object,
    apiVersion: versionName(ALPHA_VERSION),
    ...(isFields(object['spec']) && { spec: specDown(object['spec']) }),
    ...(isFields(object['status']) && { status: statusDown(object['status']) }),
  };
  // What the way up would make by itself needs no annotation: manifests written as v1alpha1 come back as they were.
  if (isDeepStrictEqual(up(plain), object)) return plain;
  const metadata = isFields(object['metadata']) ? object['metadata'] : {};
  const annotations = isFields(metadata['annotations']) ? metadata['annotations'] : {};
  const text = JSON.stringify(betaFields(object));
  return { ...plain, metadata: { ...metadata, annotations: { ...annotations, [BETA_FIELDS_ANNOTATION]: text } } };
}

function specDown(spec: Fields): Fields {
  const { endpoints } = spec;
  const tunnels = Array.isArray(endpoints) ? { endpoints: endpoints.filter(isTunnel).map(endpointDown) } : {};
  return { ...without(spec, SPEC_KEYS), ...tunnels };
}

function statusDown(status: Fields): Fields {
  const { activeEndpoints, ...rest } = status;
  const first = Array.isArray(activeEndpoints) ? activeEndpoints.find(isTunnel) : undefined;
  return { ...without(rest, STATUS_KEYS), ...(isFields(first) && { activeEndpoint: endpointDown(first) }) };
}

function endpointDown(endpoint: unknown): unknown {
  return isFields(endpoint) ? without(endpoint, ENDPOINT_KEYS) : endpoint;
}

function betaFields({ spec, status }: Fields): BetaFields {
  const { endpoints } = isFields(spec) ? spec : {};
  return {
    ...(isFields(spec) && { spec: only(spec, SPEC_KEYS) }),
    ...(Array.isArray(endpoints) && {
      endpoints: endpoints.map((each: unknown) => (isTunnel(each) && isFields(each) ? only(each, ['nodeName', ...ENDPOINT_KEYS]) : each)),
    }),
    ...(isFields(status) && { status: only(status, ['activeEndpoints', ...STATUS_KEYS]) }),
  };
}

function up(object: Fields): Fields {
  const { saved, metadata } = takeBetaFields(object['metadata']);
  const { spec, status } = object;
  return {
    ...object,
    apiVersion: versionName(BETA_VERSION),
    ...('metadata' in object && { metadata }),
    ...(isFields(spec) && { spec: specUp(spec, saved) }),
    ...(isFields(status) && { status: statusUp(status, saved?.status) }),
  };
}

/** The annotation's content, and the metadata without it. One that cannot be read counts as absent. */
function takeBetaFields(metadata: unknown): { readonly saved: BetaFields | undefined; readonly metadata: unknown } {
  if (!isFields(metadata) || !isFields(metadata['annotations'])) return { saved: undefined, metadata };
  const { [BETA_FIELDS_ANNOTATION]: text, ...annotations } = metadata['annotations'];
  if (text === undefined) return { saved: undefined, metadata };
  const { annotations: _, ...rest } = metadata;
  return { saved: parseBetaFields(text), metadata: Object.keys(annotations).length === 0 ? rest : { ...rest, annotations } };
}

function parseBetaFields(text: unknown): BetaFields | undefined {
  try {
    const value: unknown = JSON.parse(String(text));
    if (!isFields(value)) return undefined;
    const { spec, endpoints, status } = value;
    return {
      ...(isFields(spec) && { spec: only(spec, SPEC_KEYS) }),
      ...(Array.isArray(endpoints) && { endpoints }),
      ...(isFields(status) && { status }),
    };
  } catch {
    return undefined;
  }
}

function specUp(spec: Fields, saved: BetaFields | undefined): Fields {
  const { endpoints } = spec;
  return {
    ...spec,
    ...(saved === undefined ? { proxyConfig: { Replicas: 1 }, tunnelConfig: { Replicas: 1 } } : saved.spec),
    ...(Array.isArray(endpoints) && { endpoints: endpointsUp(endpoints, saved?.endpoints ?? []) }),
  };
}

/** Puts tunnels, in their order, where tunnels were, and leaves the others in their places; more tunnels than before come last. */
function endpointsUp(tunnels: readonly unknown[], saved: readonly unknown[]): unknown[] {
  const known = saved.filter(isTunnel);
  const rest = tunnels.map((each) => endpointUp(each, takeByName(known, each)));
  const restored = saved.flatMap((each) => (isTunnel(each) ? rest.splice(0, 1) : [each]));
  return [...restored, ...rest];
}

/** Takes the first of the node out of `known`: one that is listed twice finds both, in order. */
function takeByName(known: unknown[], endpoint: unknown): unknown {
  const index = known.findIndex((each) => isFields(each) && isFields(endpoint) && each['nodeName'] === endpoint['nodeName']);
  return index < 0 ? undefined : known.splice(index, 1)[0];
}

function endpointUp(endpoint: unknown, known: unknown): unknown {
  if (!isFields(endpoint)) return endpoint;
  return { ...endpoint, ...(isFields(known) ? only(known, ENDPOINT_KEYS) : { type: 'tunnel', port: DEFAULT_TUNNEL_PORT }) };
}

function statusUp(status: Fields, saved: Fields | undefined): Fields {
  const { activeEndpoint, ...rest } = status;
  const { activeEndpoints: savedActive } = saved ?? {};
  const active = activeUp(activeEndpoint, savedActive);
  return { ...rest, ...(saved && only(saved, STATUS_KEYS)), ...(active !== undefined && { activeEndpoints: active }) };
}

/** The saved list, when its first tunnel is still the active one; else just this one. */
function activeUp(endpoint: unknown, saved: unknown): unknown {
  const list: readonly unknown[] = Array.isArray(saved) ? saved : [];
  const first = list.find(isTunnel);
  if (!isFields(endpoint)) return first === undefined ? saved : undefined;
  if (!isFields(first) || first['nodeName'] !== endpoint['nodeName']) return [endpointUp(endpoint, undefined)];
  return list.map((each) => (each === first ? endpointUp(endpoint, first) : each));
}

/** Whether v1alpha1 has it: its endpoints are all tunnels. Something that has no type at all passes, to be refused by name. */
function isTunnel(endpoint: unknown): boolean {
  return !isFields(endpoint) || endpoint['type'] === 'tunnel' || endpoint['type'] === undefined;
}

function only(fields: Fields, keys: readonly string[]): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([key]) => keys.includes(key)));
}

function without(fields: Fields, keys: readonly string[]): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([key]) => !keys.includes(key)));
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
