import { gatewaySchema, gatewayV1alpha1Schema } from './gateway.ts';
import { API_GROUP, DEFAULT_NAMESPACE, WEBHOOK_SERVICE } from './names.ts';
import { type CelRule, extendSchema, type OpenApiSchema, toOpenApi } from './open-api.ts';
import { tunnelEndpointSchema } from './tunnel-endpoint.ts';

/** `apiextensions.k8s.io/v1`. */
export interface CustomResourceDefinition {
  readonly apiVersion: 'apiextensions.k8s.io/v1';
  readonly kind: 'CustomResourceDefinition';
  readonly metadata: { readonly name: string };
  readonly spec: Readonly<Record<string, unknown>>;
}

interface Column {
  readonly name: string;
  readonly type: string;
  readonly jsonPath: string;
  readonly description?: string;
  readonly priority?: number;
}

const AGE: Column = { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' };

/** A bound that the cost of the rules below is reckoned with; no region has so many gateways. */
const MAX_ENDPOINTS = 64;
/** An object's name has at most 253 characters (RFC 1123 subdomain); addresses and CIDRs fewer. */
const MAX_NAME = 253;

/** What `validateGateway` finds, as far as CEL can tell: it holds also while no webhook answers. */
const GATEWAY_SPEC_RULES: readonly CelRule[] = [
  {
    rule: "!has(self.exposeType) || self.exposeType in ['', 'PublicIP', 'LoadBalancer']",
    message: 'must be empty, PublicIP or LoadBalancer',
    fieldPath: '.exposeType',
  },
  {
    rule: "!has(self.exposeType) || self.exposeType == '' || !has(self.endpoints) || self.endpoints.all(e, !has(e.underNAT) || !e.underNAT)",
    message: 'an endpoint of an exposed gateway must not be underNAT',
    fieldPath: '.endpoints',
  },
  {
    rule: '!has(self.endpoints) || self.endpoints.all(e, (has(e.underNAT) && e.underNAT) == (has(self.endpoints[0].underNAT) && self.endpoints[0].underNAT))',
    message: 'underNAT must be the same for all endpoints',
    fieldPath: '.endpoints',
  },
];
const V1BETA1_SPEC_RULES: readonly CelRule[] = [
  ...GATEWAY_SPEC_RULES,
  {
    rule: "!has(self.proxyConfig) || self.proxyConfig.Replicas <= 1 || (has(self.endpoints) && self.proxyConfig.Replicas <= size(self.endpoints.filter(e, e.type == 'proxy')))",
    message: 'must not exceed 1 and the number of proxy endpoints',
    fieldPath: '.proxyConfig.Replicas',
  },
  {
    rule: '!has(self.endpoints) || self.endpoints.all(e, self.endpoints.exists_one(o, o.nodeName == e.nodeName && o.type == e.type))',
    message: 'a node must not be listed twice with the same type',
    fieldPath: '.endpoints',
  },
];
const NODE_NAME_RULE: CelRule = { rule: "self.nodeName != ''", message: 'must not be empty', fieldPath: '.nodeName' };
const PUBLIC_IP_RULE: CelRule = {
  rule: "!has(self.publicIP) || self.publicIP == '' || isIP(self.publicIP)",
  message: 'must be empty or an IP address',
  fieldPath: '.publicIP',
};
const ENDPOINT_RULES: readonly CelRule[] = [
  NODE_NAME_RULE,
  PUBLIC_IP_RULE,
  { rule: "self.type in ['tunnel', 'proxy']", message: 'must be tunnel or proxy', fieldPath: '.type' },
  ...['port', 'publicPort'].map((name) => ({
    rule: `!has(self.${name}) || (self.${name} >= 0 && self.${name} <= 65535)`,
    message: 'must be 0 to 65535',
    fieldPath: `.${name}`,
  })),
];
const REPLICAS_RULE: CelRule = { rule: 'self.Replicas >= 0', message: 'must not be negative', fieldPath: '.Replicas' };

/** @param conversion `webhook`: by the controller, as in a cluster; `none`: for an API server without one, where only v1beta1 can be used */
export function gatewayCrd(conversion: 'webhook' | 'none' = 'webhook'): CustomResourceDefinition {
  return crd('gateways', {
    names: { kind: 'Gateway', listKind: 'GatewayList', plural: 'gateways', singular: 'gateway', shortNames: ['gw'], categories: ['yurt'] },
    versions: [
      version('v1beta1', true, v1beta1Schema(), [
        { name: 'Active', type: 'string', jsonPath: '.status.active', description: 'nodes that carry the tunnels' },
        { name: 'Peers', type: 'string', jsonPath: '.status.peers', description: 'tunnels that are up, and all' },
        { name: 'Expose', type: 'string', jsonPath: '.spec.exposeType', priority: 1 },
        { name: 'Ready', type: 'string', jsonPath: ".status.conditions[?(@.type=='Ready')].status", priority: 1 },
        AGE,
      ]),
      version('v1alpha1', false, v1alpha1Schema(), [
        { name: 'ActiveEndpoint', type: 'string', jsonPath: '.status.activeEndpoint.nodeName' },
        AGE,
      ]),
    ],
    conversion: conversion === 'none' ? { strategy: 'None' } : WEBHOOK_CONVERSION,
  });
}

export function tunnelEndpointCrd(): CustomResourceDefinition {
  const schema = extendSchema(toOpenApi(tunnelEndpointSchema), '', {
    'x-kubernetes-validations': [
      { rule: 'self.spec.nodeName == self.metadata.name', message: 'must be the name of the object', fieldPath: '.spec.nodeName' },
    ],
  });
  return crd('tunnelendpoints', {
    names: {
      kind: 'TunnelEndpoint',
      listKind: 'TunnelEndpointList',
      plural: 'tunnelendpoints',
      singular: 'tunnelendpoint',
      shortNames: ['te'],
      categories: ['yurt'],
    },
    versions: [
      version('v1beta1', true, schema, [
        { name: 'Gateway', type: 'string', jsonPath: '.spec.gateway' },
        { name: 'DataPath', type: 'string', jsonPath: '.spec.dataPath' },
        { name: 'Peers', type: 'string', jsonPath: '.status.peers' },
        { name: 'Forwards', type: 'string', jsonPath: '.status.forwarding.state', priority: 1 },
        { name: 'Driver', type: 'string', jsonPath: '.spec.driver', priority: 1 },
        AGE,
      ]),
    ],
    conversion: { strategy: 'None' },
  });
}

function v1beta1Schema(): OpenApiSchema {
  let schema = withGatewayBounds(toOpenApi(gatewaySchema));
  schema = extendSchema(schema, 'spec', { 'x-kubernetes-validations': V1BETA1_SPEC_RULES });
  schema = extendSchema(schema, 'spec.endpoints[]', { 'x-kubernetes-validations': ENDPOINT_RULES });
  schema = extendSchema(schema, 'spec.endpoints[].type', { maxLength: MAX_NAME });
  for (const field of ['proxyConfig', 'tunnelConfig'])
    schema = extendSchema(schema, `spec.${field}`, { 'x-kubernetes-validations': [REPLICAS_RULE] });
  return schema;
}

function v1alpha1Schema(): OpenApiSchema {
  let schema = withGatewayBounds(toOpenApi(gatewayV1alpha1Schema));
  schema = extendSchema(schema, 'spec', { 'x-kubernetes-validations': GATEWAY_SPEC_RULES });
  return extendSchema(schema, 'spec.endpoints[]', { 'x-kubernetes-validations': [NODE_NAME_RULE, PUBLIC_IP_RULE] });
}

function withGatewayBounds(schema: OpenApiSchema): OpenApiSchema {
  let bounded = extendSchema(schema, 'spec.endpoints', { maxItems: MAX_ENDPOINTS });
  for (const field of ['nodeName', 'publicIP']) bounded = extendSchema(bounded, `spec.endpoints[].${field}`, { maxLength: MAX_NAME });
  return extendSchema(bounded, 'spec.exposeType', { maxLength: MAX_NAME });
}

/** The controller adds `caBundle`. */
const WEBHOOK_CONVERSION = {
  strategy: 'Webhook',
  webhook: {
    clientConfig: { service: { namespace: DEFAULT_NAMESPACE, name: WEBHOOK_SERVICE, path: '/convert', port: 443 } },
    conversionReviewVersions: ['v1'],
  },
};

function version(name: string, storage: boolean, schema: OpenApiSchema, columns: readonly Column[]): Readonly<Record<string, unknown>> {
  return {
    name,
    served: true,
    storage,
    schema: { openAPIV3Schema: schema },
    subresources: { status: {} },
    additionalPrinterColumns: columns,
  };
}

function crd(plural: string, spec: Readonly<Record<string, unknown>>): CustomResourceDefinition {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${API_GROUP}` },
    spec: { group: API_GROUP, scope: 'Cluster', ...spec },
  };
}
