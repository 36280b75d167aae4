import { z } from 'zod';
import { parseCidr } from '../net/cidr.ts';
import { parseIp } from '../net/ip.ts';
import type { FieldError } from './field-error.ts';
import { condition, objectMeta } from './meta.ts';
import { API_GROUP, DEFAULT_PROXY_PORT, DEFAULT_TUNNEL_PORT, EXTRA_CIDRS_ANNOTATION, GATEWAY_LABEL } from './names.ts';

const endpointFields = {
  nodeName: z.string().describe('Name of a Node of the region that may be its gateway.'),
  underNAT: z.boolean().optional().describe('The node is behind a NAT and cannot be reached from outside. The same for all endpoints.'),
  publicIP: z.string().optional().describe('Address at which other regions reach the node. Not needed when the region only dials out.'),
  config: z.record(z.string(), z.string()).optional().describe('Settings of this endpoint, as `enable-l3-tunnel`.'),
};

const endpoint = z.looseObject({
  ...endpointFields,
  type: z.string().describe('`tunnel`: carries packets between regions. `proxy`: serves requests to the nodes of the region.'),
  port: z.int().optional().describe('Port that the node listens on; default 4500 (UDP) for tunnels and 10262 (TCP) for proxies.'),
  natType: z.string().optional().describe('How the NAT in front of the node maps ports, as far as it is known.'),
  publicPort: z.int().optional().describe('Port at `publicIP` that leads to `port`; default: the same.'),
});
/** One way into a region: a node that may be its gateway. */
export type Endpoint = z.infer<typeof endpoint>;

const nodeInfo = z.looseObject({
  nodeName: z.string().describe('Name of the Node.'),
  privateIP: z.string().describe('Its first InternalIP; empty when it has none.'),
  subnets: z
    .array(z.string())
    .nullish()
    .transform((subnets) => subnets ?? [])
    .describe(
      'CIDRs of its pods, and for the first active gateway those of the annotation `raven.openyurt.io/extra-allowed-source-cidrs`.',
    ),
});
export type NodeInfo = z.infer<typeof nodeInfo>;

const labelSelector = z.looseObject({
  matchLabels: z.record(z.string(), z.string()).optional().describe('Labels that a node must have.'),
  matchExpressions: z
    .array(
      z.looseObject({
        key: z.string().describe('Name of a label.'),
        operator: z.string().describe('In, NotIn, Exists or DoesNotExist.'),
        values: z.array(z.string()).optional().describe('Values for In and NotIn.'),
      }),
    )
    .optional()
    .describe('Conditions on labels.'),
});

const nodeSelector = labelSelector
  .optional()
  .describe('Kept for other readers: a region consists of the nodes with the label `raven.openyurt.io/gateway` and its name.');

const exposeType = z
  .string()
  .optional()
  .describe('How endpoints are reached from outside: empty, `PublicIP`, or `LoadBalancer` for a Service for each active endpoint.');

const spec = z.looseObject({
  nodeSelector,
  proxyConfig: z
    .looseObject({
      Replicas: z.int().describe('How many proxy endpoints are active at a time.'),
      proxyHTTPPort: z.string().optional().describe('Ports for HTTP, with commas between.'),
      proxyHTTPSPort: z.string().optional().describe('Ports for HTTPS, with commas between.'),
    })
    .optional()
    .describe('Proxies of the region.'),
  tunnelConfig: z
    .looseObject({ Replicas: z.int().describe('How many tunnel endpoints are active at a time.') })
    .optional()
    .describe('Tunnels of the region.'),
  endpoints: z
    .array(endpoint)
    .nullish()
    .transform((endpoints) => endpoints ?? [])
    .describe('Nodes that may be gateways, the preferred first.'),
  exposeType,
});

const exposed = z.looseObject({
  nodeName: z.string().describe('Node of the endpoint.'),
  type: z.string().describe('`tunnel` or `proxy`.'),
  addresses: z.array(z.string()).describe('IP addresses and host names of the load balancer, sorted.'),
  port: z.int().describe('Port of the load balancer.'),
});
export type ExposedEndpoint = z.infer<typeof exposed>;

/** Why a node is no good endpoint at present, the least bad first; the first is of one that is good again. */
export const IMPAIRMENTS = ['Recovered', 'Draining', 'AgentSilent', 'NotForwarding', 'NodeNotReady'] as const;

const impaired = z.looseObject({
  nodeName: z.string().describe('Node of the endpoint.'),
  state: z
    .enum(IMPAIRMENTS)
    .describe('Draining: to be left. AgentSilent, NotForwarding, NodeNotReady: unfit. Recovered: fit again, and remembered for an hour.'),
  message: z.string().describe('Why, for people.'),
  since: z.string().describe('When the state was reached (RFC 3339).'),
  expected: z
    .boolean()
    .optional()
    .describe('The whole region was cut off, and this node may still report by itself: until then it counts as it did before.'),
  falls: z.int().optional().describe('How often it became unfit, each time within an hour of the time before.'),
  lastFall: z.string().optional().describe('When it last became unfit (RFC 3339).'),
});
/** What stands, or lately stood, against an endpoint's node. */
export type ImpairedEndpoint = z.infer<typeof impaired>;

const conditions = z.array(condition).optional().describe('What holds for the region, and what does not.');

const status = z.looseObject({
  nodes: z
    .array(nodeInfo)
    .nullish()
    .transform((nodes) => nodes ?? [])
    .describe('All nodes of the region, by name.'),
  activeEndpoints: z
    .array(endpoint)
    .nullish()
    .transform((endpoints) => endpoints ?? [])
    .describe('The endpoints that were elected, by node name.'),
  active: z.string().optional().describe('Names of the active tunnel nodes, with commas between, for `kubectl get`.'),
  peers: z.string().optional().describe('Tunnels of the active nodes that are up, and all of them, as `2/3`, for `kubectl get`.'),
  exposed: z.array(exposed).optional().describe('Where load balancers make active endpoints reachable.'),
  impaired: z.array(impaired).optional().describe('Endpoint nodes that are not fit, or lately were not, in the order of `spec.endpoints`.'),
  conditions,
});
export type GatewayStatus = z.infer<typeof status>;

/** A region: its nodes carry the label `raven.openyurt.io/gateway=<name>`. `raven.openyurt.io/v1beta1`. */
export const gatewaySchema = z.looseObject({
  apiVersion: z.literal(`${API_GROUP}/v1beta1`),
  kind: z.literal('Gateway'),
  metadata: objectMeta,
  spec: spec.prefault({}).describe('What the region should be.'),
  status: status.optional().describe('What the controller made of it.'),
});
export type Gateway = z.infer<typeof gatewaySchema>;

const endpointV1alpha1 = z.looseObject(endpointFields);

/** The older form of a Gateway, `raven.openyurt.io/v1alpha1`: tunnels only, one of them active. */
export const gatewayV1alpha1Schema = z.looseObject({
  apiVersion: z.literal(`${API_GROUP}/v1alpha1`),
  kind: z.literal('Gateway'),
  metadata: objectMeta,
  spec: z
    .looseObject({
      nodeSelector,
      endpoints: z
        .array(endpointV1alpha1)
        .nullish()
        .transform((endpoints) => endpoints ?? [])
        .describe('Nodes that may be gateways, the preferred first.'),
      exposeType,
    })
    .prefault({})
    .describe('What the region should be.'),
  status: z
    .looseObject({
      nodes: z
        .array(nodeInfo)
        .nullish()
        .transform((nodes) => nodes ?? [])
        .describe('All nodes of the region, by name.'),
      activeEndpoint: endpointV1alpha1.nullish().describe('The tunnel endpoint that was elected.'),
      conditions,
    })
    .optional()
    .describe('What the controller made of it.'),
});
export type GatewayV1alpha1 = z.infer<typeof gatewayV1alpha1Schema>;

/** Fills what the contract defines as default. Keeps everything else as it is. */
export function defaultGateway(gateway: Gateway): Gateway {
  const selector = gateway.spec.nodeSelector ?? {};
  return {
    ...gateway,
    spec: {
      ...gateway.spec,
      nodeSelector: { ...selector, matchLabels: { ...selector.matchLabels, [GATEWAY_LABEL]: gateway.metadata.name } },
      endpoints: gateway.spec.endpoints.map((each) => ({ ...each, port: each.port || defaultPort(each.type) })),
    },
  };
}

/** Port of an endpoint that names none. */
export function defaultPort(type: string): number {
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
