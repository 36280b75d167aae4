import { fc, it as property } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { admitGateway, defaultSentGateway } from './admission.ts';

const ALPHA = 'raven.openyurt.io/v1alpha1';
const BETA = 'raven.openyurt.io/v1beta1';

function gateway(spec: unknown, apiVersion = BETA): Record<string, unknown> {
  return { apiVersion, kind: 'Gateway', metadata: { name: 'edge' }, spec };
}
const tunnel = { nodeName: 'b1', type: 'tunnel' };

/** The verdict on creating it: `allowed`, or code and violations. */
function verdict(object: unknown): unknown {
  const found = admitGateway({ operation: 'CREATE', object });
  return found.allowed ? 'allowed' : [found.code, ...found.errors.map(({ path, message }) => `${path}: ${message}`)];
}

describe('admission of a v1beta1 Gateway', () => {
  it('lets pass what the contract allows', () => {
    for (const spec of [undefined, {}, { endpoints: null }, { endpoints: [tunnel] }, { proxyConfig: { Replicas: 1 }, exposeType: '' }])
      expect(verdict(gateway(spec))).toBe('allowed');
    expect(verdict(gateway({ exposeType: 'LoadBalancer', endpoints: [{ ...tunnel, publicIP: '192.0.2.1' }] }))).toBe('allowed');
  });

  it('collects all violations, with the paths of their fields', () => {
    const spec = {
      exposeType: 'NodePort',
      proxyConfig: { Replicas: 2 },
      tunnelConfig: { Replicas: -1 },
      endpoints: [
        { nodeName: '', type: 'tunnel', publicIP: 'b1.example.org', port: 65536 },
        { nodeName: 'b1', type: 'vpn', underNAT: true, publicPort: -1 },
        { nodeName: 'b2', type: 'proxy', underNAT: true },
        { nodeName: 'b2', type: 'proxy', underNAT: true },
      ],
    };
    const annotations = { 'raven.openyurt.io/extra-allowed-source-cidrs': '10.0.0.0/8, 10.0.0.0/33' };
    expect(verdict({ ...gateway(spec), metadata: { name: 'edge', annotations } })).toMatchInlineSnapshot(`
      [
        422,
        "spec.exposeType: must be empty, PublicIP or LoadBalancer, not "NodePort"",
        "spec.tunnelConfig.Replicas: must not be negative",
        "spec.endpoints[0].nodeName: must not be empty",
        "spec.endpoints[0].publicIP: "b1.example.org" is no IP address",
        "spec.endpoints[0].port: must be 0 to 65535",
        "spec.endpoints[1].type: must be tunnel or proxy, not "vpn"",
        "spec.endpoints[1].publicPort: must be 0 to 65535",
        "spec.endpoints[1].underNAT: must be false when exposeType is NodePort",
        "spec.endpoints[1].underNAT: must be the same for all endpoints",
        "spec.endpoints[2].underNAT: must be false when exposeType is NodePort",
        "spec.endpoints[2].underNAT: must be the same for all endpoints",
        "spec.endpoints[3].underNAT: must be false when exposeType is NodePort",
        "spec.endpoints[3].underNAT: must be the same for all endpoints",
        "spec.endpoints[3].nodeName: node "b2" is already a proxy endpoint (spec.endpoints[2])",
        "metadata.annotations[raven.openyurt.io/extra-allowed-source-cidrs]: "10.0.0.0/33" is no CIDR",
      ]
    `);
  });

  it('names fields of a wrong type, and those that are missing', () => {
    expect(verdict(gateway({ endpoints: [{ type: 'tunnel', port: '4500' }], exposeType: 7 }))).toMatchInlineSnapshot(`
      [
        422,
        "spec.endpoints[0].nodeName: is required",
        "spec.endpoints[0].port: expected number, received string",
        "spec.exposeType: expected string, received number",
      ]
    `);
  });
});

describe('admission of a v1alpha1 Gateway', () => {
  it('lets pass what the contract allows', () => {
    expect(verdict(gateway({ endpoints: [{ nodeName: 'b1', underNAT: true }] }, ALPHA))).toBe('allowed');
    expect(verdict(gateway({ endpoints: [{ nodeName: 'b1' }], exposeType: 'LoadBalancer' }, ALPHA))).toBe('allowed');
  });

  it('asks for an endpoint, and for none of its public addresses behind a load balancer', () => {
    expect(verdict(gateway({ endpoints: [] }, ALPHA))).toEqual([422, 'spec.endpoints: must have at least one endpoint']);
    expect(verdict(gateway(undefined, ALPHA))).toEqual([422, 'spec.endpoints: must have at least one endpoint']);
    expect(verdict(gateway({ endpoints: [{ nodeName: 'b1', publicIP: '192.0.2.1' }], exposeType: 'LoadBalancer' }, ALPHA))).toEqual([
      422,
      'spec.endpoints[0].publicIP: must be empty when exposeType is LoadBalancer',
    ]);
  });

  it('asks for the rest of the contract too', () => {
    expect(verdict(gateway({ endpoints: [{ nodeName: '' }, { nodeName: 'b1', underNAT: true }], exposeType: 'x' }, ALPHA)))
      .toMatchInlineSnapshot(`
        [
          422,
          "spec.exposeType: must be empty, PublicIP or LoadBalancer, not "x"",
          "spec.endpoints[0].nodeName: must not be empty",
          "spec.endpoints[1].underNAT: must be false when exposeType is x",
          "spec.endpoints[1].underNAT: must be the same for all endpoints",
        ]
      `);
  });
});

describe('admission', () => {
  it('answers 400 to foreign kinds and versions, and to a changed name', () => {
    for (const object of [null, 'x', {}, { kind: 'Node', apiVersion: 'v1' }, gateway({}, 'gateway.networking.k8s.io/v1')])
      expect(admitGateway({ operation: 'CREATE', object })).toMatchObject({ allowed: false, code: 400 });
    const renamed = { ...gateway({}), metadata: { name: 'other' } };
    expect(admitGateway({ operation: 'UPDATE', object: renamed, oldObject: gateway({}) })).toMatchObject({
      allowed: false,
      code: 400,
      message: 'metadata.name: must stay "edge"',
    });
  });

  it('lets everything be deleted, and lose its finalizers meanwhile', () => {
    const invalid = gateway({ exposeType: 'x' });
    expect(admitGateway({ operation: 'DELETE', object: null, oldObject: invalid })).toEqual({ allowed: true });
    const leaving = { ...invalid, metadata: { name: 'edge', deletionTimestamp: '2024-01-01T00:00:00Z' } };
    expect(admitGateway({ operation: 'UPDATE', object: leaving, oldObject: leaving })).toEqual({ allowed: true });
  });

  property.prop([fc.anything(), fc.constantFrom(ALPHA, BETA)])('never throws, whatever comes', (spec, apiVersion) => {
    expect(admitGateway({ operation: 'CREATE', object: gateway(spec, apiVersion) }).allowed).toBeTypeOf('boolean');
    expect(admitGateway({ operation: 'CREATE', object: spec })).toMatchObject({ allowed: false });
    expect(defaultSentGateway(gateway(spec, apiVersion))).toBeDefined();
  });
});

describe('defaults of a Gateway', () => {
  const own = { 'raven.openyurt.io/gateway': 'edge' };

  it('are its own label beside others, and ports', () => {
    const matchExpressions = [{ key: 'x', operator: 'Exists' }];
    const spec = {
      nodeSelector: { matchLabels: { zone: 'b', 'raven.openyurt.io/gateway': 'cloud' }, matchExpressions },
      endpoints: [tunnel, { nodeName: 'b1', type: 'proxy', port: 0 }, { nodeName: 'b2', type: 'tunnel', port: 51820, mine: 1 }],
      mine: true,
    };
    expect(defaultSentGateway(gateway(spec))).toEqual(
      gateway({
        nodeSelector: { matchLabels: { zone: 'b', ...own }, matchExpressions },
        endpoints: [{ ...tunnel, port: 4500 }, { nodeName: 'b1', type: 'proxy', port: 10262 }, spec.endpoints[2]],
        mine: true,
      }),
    );
  });

  it('in v1alpha1 are exactly that label', () => {
    const spec = { nodeSelector: { matchLabels: { zone: 'b' }, matchExpressions: [] }, endpoints: [{ nodeName: 'b1' }] };
    expect(defaultSentGateway(gateway(spec, ALPHA))).toEqual(gateway({ ...spec, nodeSelector: { matchLabels: own } }, ALPHA));
  });

  it('go into nothing that is not ours or not well-formed, and into nothing twice', () => {
    for (const object of [null, 7, gateway([]), { ...gateway({}), metadata: {} }, { ...gateway({}), kind: 'Node' }, gateway({}, 'x/v1')])
      expect(defaultSentGateway(object)).toBe(object);
    const once = defaultSentGateway(gateway({ endpoints: [tunnel, null] }));
    expect(defaultSentGateway(once)).toEqual(once);
  });
});
