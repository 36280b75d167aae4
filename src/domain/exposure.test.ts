import { describe, expect, it } from 'vitest';
import { type Service, serviceSchema } from '../api/core.ts';
import { type Gateway, gatewaySchema } from '../api/gateway.ts';
import { exposedAddresses, type ExposureInput, parseTargetPorts, planExposure } from './exposure.ts';

interface Input {
  readonly exposeType?: string;
  readonly active?: readonly string[];
  readonly ip?: string;
}

function region({ exposeType = 'LoadBalancer', active = ['b1'], ip = '192.168.1.10' }: Input = {}): Gateway {
  const endpoints = active.map((text) => {
    const [nodeName, type = 'tunnel'] = text.split(' ');
    return { nodeName, type, port: type === 'proxy' ? 10262 : 4500 };
  });
  return gatewaySchema.parse({
    apiVersion: 'raven.openyurt.io/v1beta1',
    kind: 'Gateway',
    metadata: { name: 'b', uid: 'u-1' },
    spec: { exposeType, endpoints },
    status: { nodes: ['b1', 'b3'].map((nodeName) => ({ nodeName, privateIP: ip, subnets: [] })), activeEndpoints: endpoints },
  });
}

const plan = (gateway: Gateway | undefined, now: Partial<ExposureInput> = {}) =>
  planExposure({ gateway, namespace: 'kube-system', targetPorts: parseTargetPorts(undefined), services: [], slices: [], ...now });
const names = (objects: readonly { kind: string; metadata: { name: string } }[]): string[] =>
  objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`);

/** What the plan asks for, as the API server would have it. */
function applied(gateway: Gateway): Pick<ExposureInput, 'services' | 'slices'> {
  const { apply } = plan(gateway);
  return { services: apply.filter((each) => each.kind === 'Service'), slices: apply.filter((each) => each.kind === 'EndpointSlice') };
}

function withIngress(service: Service, ingress: readonly object[], fields: object = {}): Service {
  return serviceSchema.parse({ ...service, ...fields, status: { loadBalancer: { ingress } } });
}

describe('planExposure', () => {
  it('makes a Service and an EndpointSlice for the active endpoint, as the contract has them', () => {
    const { apply, remove } = plan(region());
    expect(remove).toEqual([]);
    expect(apply).toMatchInlineSnapshot(`
      [
        {
          "apiVersion": "v1",
          "kind": "Service",
          "metadata": {
            "annotations": {
              "svc.openyurt.io/discard": "true",
            },
            "labels": {
              "raven.openyurt.io/endpoints-name": "b1",
              "raven.openyurt.io/gateway": "b",
              "raven.openyurt.io/gateway-type": "tunnel",
            },
            "name": "x-raven-tunnel-svc-b-8c2c24bc",
            "namespace": "kube-system",
            "ownerReferences": [
              {
                "apiVersion": "raven.openyurt.io/v1beta1",
                "kind": "Gateway",
                "name": "b",
                "uid": "u-1",
              },
            ],
          },
          "spec": {
            "externalTrafficPolicy": "Local",
            "ports": [
              {
                "name": "tunnel",
                "port": 4500,
                "protocol": "UDP",
                "targetPort": 4500,
              },
            ],
            "type": "LoadBalancer",
          },
        },
        {
          "addressType": "IPv4",
          "apiVersion": "discovery.k8s.io/v1",
          "endpoints": [
            {
              "addresses": [
                "192.168.1.10",
              ],
              "conditions": {
                "ready": true,
              },
              "nodeName": "b1",
            },
          ],
          "kind": "EndpointSlice",
          "metadata": {
            "labels": {
              "endpointslice.kubernetes.io/managed-by": "raven-controller",
              "kubernetes.io/service-name": "x-raven-tunnel-svc-b-8c2c24bc",
              "raven.openyurt.io/endpoints-name": "b1",
              "raven.openyurt.io/gateway": "b",
              "raven.openyurt.io/gateway-type": "tunnel",
            },
            "name": "x-raven-tunnel-svc-b-8c2c24bc",
            "namespace": "kube-system",
            "ownerReferences": [
              {
                "apiVersion": "raven.openyurt.io/v1beta1",
                "kind": "Gateway",
                "name": "b",
                "uid": "u-1",
              },
            ],
          },
          "ports": [
            {
              "name": "tunnel",
              "port": 4500,
              "protocol": "UDP",
            },
          ],
        },
      ]
    `);
  });

  it('is content with what it asked for', () => {
    for (const gateway of [region(), region({ active: ['b1', 'b3 proxy'] }), region({ ip: 'fd00::10' })])
      expect(plan(gateway, applied(gateway))).toEqual({ apply: [], remove: [] });
  });

  it('moves to the node that took over', () => {
    const { apply, remove } = plan(region({ active: ['b3'] }), applied(region()));
    expect(names(remove)).toEqual(names(plan(region()).apply));
    expect(names(apply)).toEqual(names(plan(region({ active: ['b3'] })).apply));
    expect(names(apply)).not.toEqual(names(remove));
  });

  it('leaves nothing when the gateway is exposed no more, or gone', () => {
    const now = applied(region());
    for (const gateway of [region({ exposeType: '' }), region({ exposeType: 'PublicIP' }), region({ active: [] }), undefined]) {
      const { apply, remove } = plan(gateway, now);
      expect([apply, names(remove)]).toEqual([[], names([...now.services, ...now.slices])]);
    }
  });

  it('overwrites only what is ours, and only when it is another', () => {
    const { services, slices } = applied(region());
    const [service] = services;
    const assigned = withIngress(service!, [], {
      metadata: {
        ...service!.metadata,
        resourceVersion: '7',
        annotations: { ...service!.metadata.annotations, 'cloud.example/id': 'lb-1' },
      },
      spec: {
        ...service!.spec,
        clusterIP: '10.96.1.1',
        healthCheckNodePort: 31000,
        ports: service!.spec.ports!.map((port) => ({ ...port, nodePort: 30123 })),
      },
    });
    expect(plan(region(), { services: [assigned], slices })).toEqual({ apply: [], remove: [] });
    const tampered = { ...assigned, spec: { ...assigned.spec, type: 'NodePort' } };
    const [repair] = plan(region(), { services: [tampered], slices }).apply;
    expect(repair).toEqual({ ...service, metadata: { ...service!.metadata, resourceVersion: '7' } });
  });

  it('takes over a Service of another name for the same node, and removes a second one', () => {
    const { services, slices } = applied(region());
    const [service] = services;
    const named = (name: string, creationTimestamp: string): Service => ({
      ...service!,
      metadata: { ...service!.metadata, name, creationTimestamp },
    });
    const older = named('x-raven-tunnel-svc-b-abcdef01', '2030-01-01T00:00:00Z');
    const newer = named('x-raven-tunnel-svc-b-abcdef02', '2030-01-02T00:00:00Z');
    const { apply, remove } = plan(region(), { services: [newer, older], slices });
    expect(names(apply)).toEqual(['EndpointSlice x-raven-tunnel-svc-b-abcdef01']);
    expect(names(remove)).toEqual(['Service x-raven-tunnel-svc-b-abcdef02', names(slices)[0]]);
  });

  it('never takes one Service for two endpoints, whatever labels somebody gave it', () => {
    const gateway = region({ active: ['b1', 'b3'] });
    const { services, slices } = applied(gateway);
    const [first, second] = services;
    const mislabelled = { ...first!, metadata: { ...first!.metadata, labels: second!.metadata.labels! } };
    const { apply, remove } = plan(gateway, { services: [mislabelled], slices });
    expect([names(apply), remove]).toEqual([names(services), []]);
    const changed = apply.filter((each) => each.kind === 'Service');
    expect(plan(gateway, { services: changed, slices })).toEqual({ apply: [], remove: [] });
  });

  it('sends packets to the port that the agents listen on', () => {
    const targetPorts = parseTargetPorts({ 'tunnel-bind-addr': '0.0.0.0:4501', 'proxy-external-addr': 'here' });
    expect(targetPorts).toEqual({ tunnel: 4501, proxy: undefined });
    const [service, slice] = plan(region(), { targetPorts }).apply;
    expect(service?.kind === 'Service' && service.spec.ports).toEqual([{ name: 'tunnel', protocol: 'UDP', port: 4500, targetPort: 4501 }]);
    expect(slice?.kind === 'EndpointSlice' && slice.ports).toEqual([{ name: 'tunnel', protocol: 'UDP', port: 4501 }]);
  });

  it('gives a gateway of any name a Service that may be called so', () => {
    const gateway = region();
    const long = { ...gateway, metadata: { ...gateway.metadata, name: `${'region.'.repeat(12)}x` } };
    const [name] = plan(long).apply.map(({ metadata }) => metadata.name);
    expect(name).toMatch(/^x-raven-tunnel-svc-[a-z0-9-]+-[0-9a-f]{8}$/);
    expect(name!.length).toBeLessThanOrEqual(63);
  });
});

describe('exposedAddresses', () => {
  const [service] = applied(region()).services;

  it('is the same in whatever order the load balancer tells them (R13)', () => {
    const ingress = [{ ip: '203.0.113.9' }, { hostname: 'lb.example' }, { ip: '203.0.113.10' }];
    const exposed = exposedAddresses(region(), [withIngress(service!, ingress)]);
    expect(exposed).toEqual([{ nodeName: 'b1', type: 'tunnel', addresses: ['203.0.113.10', '203.0.113.9', 'lb.example'], port: 4500 }]);
    expect(exposedAddresses(region(), [withIngress(service!, ingress.toReversed())])).toEqual(exposed);
  });

  it('is nothing until the load balancer has an address, and for nodes that are not active', () => {
    expect(exposedAddresses(region(), [withIngress(service!, [])])).toEqual([]);
    expect(exposedAddresses(region({ active: ['b3'] }), [withIngress(service!, [{ ip: '203.0.113.9' }])])).toEqual([]);
    expect(exposedAddresses(region({ exposeType: '' }), [withIngress(service!, [{ ip: '203.0.113.9' }])])).toEqual([]);
  });

  it('is nothing when the load balancer is being given back', () => {
    const metadata = { ...service!.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' };
    expect(exposedAddresses(region(), [withIngress(service!, [{ ip: '203.0.113.9' }], { metadata })])).toEqual([]);
  });

  it('stays when somebody takes the labels off, which come back', () => {
    const metadata = { ...service!.metadata, labels: {} };
    expect(exposedAddresses(region(), [withIngress(service!, [{ ip: '203.0.113.9' }], { metadata })])).toHaveLength(1);
  });
});
