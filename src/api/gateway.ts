import { z } from 'zod';
import { parseCidr } from '../net/cidr.ts';
import { parseIp } from '../net/ip.ts';
import { condition, objectMeta } from './meta.ts';
import { API_GROUP, DEFAULT_PROXY_PORT, DEFAULT_TUNNEL_PORT, EXTRA_CIDRS_ANNOTATION, GATEWAY_LABEL } from './names.ts';

/** One way into a region: a node that may be its gateway. Fields as in the upstream API, see `docs/reference.md`. */
const endpoint = z.looseObject({
  nodeName: z.string(),
  type: z.string(),
  port: z.int().optional(),
  underNAT: z.boolean().optional(),
  natType: z.string().optional(),
  publicIP: z.string().optional(),
  publicPort: z.int().optional(),
  config: z.record(z.string(), z.string()).optional(),
});
export type Endpoint = z.infer<typeof endpoint>;

const nodeInfo = z.looseObject({
  nodeName: z.string(),
  privateIP: z.string(),
  subnets: z
    .array(z.string())
    .nullish()
    .transform((subnets) => subnets ?? []),
});
export type NodeInfo = z.infer<typeof nodeInfo>;

const labelSelector = z.looseObject({
  matchLabels: z.record(z.string(), z.string()).optional(),
  matchExpressions: z.array(z.looseObject({ key: z.string(), operator: z.string(), values: z.array(z.string()).optional() })).optional(),
});

const spec = z.looseObject({
  nodeSelector: labelSelector.optional(),
  proxyConfig: z.looseObject({ Replicas: z.int(), proxyHTTPPort: z.string().optional(), proxyHTTPSPort: z.string().optional() }).optional(),
  tunnelConfig: z.looseObject({ Replicas: z.int() }).optional(),
  endpoints: z
    .array(endpoint)
    .nullish()
    .transform((endpoints) => endpoints ?? []),
  exposeType: z.string().optional(),
});

const status = z.looseObject({
  nodes: z
    .array(nodeInfo)
    .nullish()
    .transform((nodes) => nodes ?? []),
  activeEndpoints: z
    .array(endpoint)
    .nullish()
    .transform((endpoints) => endpoints ?? []),
  conditions: z.array(condition).optional(),
});
export type GatewayStatus = z.infer<typeof status>;

/** A region: its nodes carry the label `raven.openyurt.io/gateway=<name>`. `raven.openyurt.io/v1beta1`. */
export const gatewaySchema = z.looseObject({
  apiVersion: z.literal(`${API_GROUP}/v1beta1`),
  kind: z.literal('Gateway'),
  metadata: objectMeta,
  spec: spec.prefault({}),
  status: status.optional(),
});
export type Gateway = z.infer<typeof gatewaySchema>;

/** One violation of the API contract; `path` as `kubectl` prints it. */
export interface FieldError {
  readonly path: string;
  readonly message: string;
}

/** Fills what the contract defines as default. Keeps everything else as it is. */
export function defaultGateway(gateway: Gateway): Gateway {
  const selector = gateway.spec.nodeSelector ?? {};
  return {
    ...gateway,
    spec: {
      ...gateway.spec,
      nodeSelector: { ...selector, matchLabels: { ...selector.matchLabels, [GATEWAY_LABEL]: gateway.metadata.name } },
      endpoints: gateway.spec.endpoints.map((each) => ({ ...each, port: each.port || defaultPort(each) })),
    },
  };
}

function defaultPort({ type }: Endpoint): number {
  return type === 'proxy' ? DEFAULT_PROXY_PORT : DEFAULT_TUNNEL_PORT;
}

/** All violations of the contract, in field order; an empty list means valid. */
export function validateGateway(gateway: Gateway): FieldError[] {
  return [
    ...validateSpec(gateway),
    ...gateway.spec.endpoints.flatMap((each, i) => validateEndpoint(gateway, each, i)),
    ...validateExtraCidrs(gateway),
  ];
}

function validateSpec({ spec: { exposeType = '', endpoints, proxyConfig, tunnelConfig } }: Gateway): FieldError[] {
  const errors: FieldError[] = [];
  if (!['', 'PublicIP', 'LoadBalancer'].includes(exposeType)) {
    errors.push({ path: 'spec.exposeType', message: `must be empty, PublicIP or LoadBalancer, not ${JSON.stringify(exposeType)}` });
  }
  const proxies = endpoints.filter(({ type }) => type === 'proxy').length;
  if (proxyConfig !== undefined && proxyConfig.Replicas > 1 && proxyConfig.Replicas > proxies) {
    errors.push({ path: 'spec.proxyConfig.Replicas', message: `${proxyConfig.Replicas} is more than the ${proxies} proxy endpoints` });
  }
  for (const [name, config] of Object.entries({ proxyConfig, tunnelConfig })) {
    if (config !== undefined && config.Replicas < 0) errors.push({ path: `spec.${name}.Replicas`, message: 'must not be negative' });
  }
  return errors;
}

function validateEndpoint({ spec: { endpoints, exposeType = '' } }: Gateway, each: Endpoint, index: number): FieldError[] {
  const at = `spec.endpoints[${index}]`;
  const errors: FieldError[] = [];
  const check = (ok: boolean, field: string, message: string): void => {
    if (!ok) errors.push({ path: `${at}.${field}`, message });
  };
  check(each.nodeName !== '', 'nodeName', 'must not be empty');
  check(each.type === 'tunnel' || each.type === 'proxy', 'type', `must be tunnel or proxy, not ${JSON.stringify(each.type)}`);
  check(!each.publicIP || parseIp(each.publicIP) !== undefined, 'publicIP', `${JSON.stringify(each.publicIP)} is no IP address`);
  check(isPort(each.port), 'port', 'must be 0 to 65535');
  check(isPort(each.publicPort), 'publicPort', 'must be 0 to 65535');
  const underNAT = each.underNAT ?? false;
  check(exposeType === '' || !underNAT, 'underNAT', `must be false when exposeType is ${exposeType}`);
  check(underNAT === (endpoints[0]?.underNAT ?? false), 'underNAT', 'must be the same for all endpoints');
  const twin = endpoints.findIndex(({ nodeName, type }) => nodeName === each.nodeName && type === each.type);
  check(twin === index, 'nodeName', `node ${JSON.stringify(each.nodeName)} is already a ${each.type} endpoint (spec.endpoints[${twin}])`);
  return errors;
}

function isPort(port: number | undefined): boolean {
  return port === undefined || (port >= 0 && port <= 65535);
}

function validateExtraCidrs({ metadata }: Gateway): FieldError[] {
  return extraCidrTexts(metadata.annotations)
    .filter((text) => parseCidr(text) === undefined)
    .map((text) => ({ path: `metadata.annotations[${EXTRA_CIDRS_ANNOTATION}]`, message: `${JSON.stringify(text)} is no CIDR` }));
}

/** The entries of the extra-CIDRs annotation, trimmed, empty ones left out; not yet parsed. */
export function extraCidrTexts(annotations: Readonly<Record<string, string>> | undefined): string[] {
  return (annotations?.[EXTRA_CIDRS_ANNOTATION] ?? '')
    .split(',')
    .map((text) => text.trim())
    .filter((text) => text !== '');
}
