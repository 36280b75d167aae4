import { type Node, nodeSchema } from '../api/core.ts';
import { type Endpoint, type Gateway, gatewaySchema } from '../api/gateway.ts';
import { GATEWAY_LABEL } from '../api/names.ts';

export interface NodeInput {
  readonly region?: string;
  /** Status of the condition Ready; absent: True. */
  readonly ready?: 'True' | 'False' | 'Unknown';
  readonly ip?: string;
  readonly podCIDRs?: readonly string[];
  readonly podCIDR?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly cordoned?: boolean;
}

/** A Node for tests, parsed as the store would. */
export function testNode(
  name: string,
  { region, ready = 'True', ip = '192.168.1.10', podCIDRs, podCIDR, annotations, cordoned }: NodeInput = {},
): Node {
  return nodeSchema.parse({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels: region === undefined ? {} : { [GATEWAY_LABEL]: region }, ...(annotations && { annotations }) },
    spec: { ...(podCIDRs && { podCIDRs }), ...(podCIDR !== undefined && { podCIDR }), ...(cordoned && { unschedulable: true }) },
    status: { addresses: [{ type: 'InternalIP', address: ip }], conditions: [{ type: 'Ready', status: ready }] },
  });
}

export interface GatewayInput {
  /** `b1`, `b1 proxy`, or in full; all `tunnel` unless said otherwise. */
  readonly endpoints?: readonly (string | Partial<Endpoint>)[];
  /** undefined: no `tunnelConfig`. */
  readonly tunnels?: number | undefined;
  readonly proxies?: number;
  readonly active?: readonly string[];
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A Gateway for tests, parsed as the store would. One tunnel wanted unless said otherwise. */
export function testGateway(name: string, input: GatewayInput = {}): Gateway {
  const { endpoints = [], proxies, active, annotations } = input;
  const tunnels = 'tunnels' in input ? input.tunnels : 1;
  return gatewaySchema.parse({
    apiVersion: 'raven.openyurt.io/v1beta1',
    kind: 'Gateway',
    metadata: { name, ...(annotations && { annotations }) },
    spec: {
      endpoints: endpoints.map(testEndpoint),
      ...(tunnels !== undefined && { tunnelConfig: { Replicas: tunnels } }),
      ...(proxies !== undefined && { proxyConfig: { Replicas: proxies } }),
    },
    ...(active && { status: { activeEndpoints: active.map(testEndpoint) } }),
  });
}

function testEndpoint(input: string | Partial<Endpoint>): Partial<Endpoint> {
  if (typeof input !== 'string') return { type: 'tunnel', ...input };
  const [nodeName = '', type = 'tunnel'] = input.split(' ');
  return { nodeName, type };
}
