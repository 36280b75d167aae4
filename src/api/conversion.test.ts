import { fc, it as property } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { convertGateway } from './conversion.ts';
import { BETA_FIELDS_ANNOTATION } from './names.ts';

type Fields = Record<string, unknown>;

const ALPHA = 'raven.openyurt.io/v1alpha1';
const BETA = 'raven.openyurt.io/v1beta1';
const toAlpha = (object: unknown): Fields => convertGateway(object, 'v1alpha1') as Fields;
const toBeta = (object: unknown): Fields => convertGateway(object, 'v1beta1') as Fields;

const beta = {
  apiVersion: BETA,
  kind: 'Gateway',
  metadata: { name: 'edge', annotations: { theirs: 'yes' } },
  spec: {
    exposeType: 'PublicIP',
    proxyConfig: { Replicas: 2, proxyHTTPPort: '10255,9445' },
    tunnelConfig: { Replicas: 2 },
    endpoints: [
      { nodeName: 'p1', type: 'proxy', port: 10262 },
      { nodeName: 'b1', type: 'tunnel', port: 4501, publicIP: '192.0.2.1', natType: 'symmetric', config: { x: 'y' } },
      { nodeName: 'b2', type: 'tunnel', port: 4500 },
    ],
  },
  status: {
    nodes: [{ nodeName: 'b1', privateIP: '198.51.100.1', subnets: ['10.1.0.0/24'] }],
    activeEndpoints: [
      { nodeName: 'b1', type: 'tunnel', port: 4501 },
      { nodeName: 'b2', type: 'tunnel', port: 4500 },
      { nodeName: 'p1', type: 'proxy', port: 10262 },
    ],
    peers: '1/2',
  },
};
const alpha = {
  apiVersion: ALPHA,
  kind: 'Gateway',
  metadata: { name: 'edge' },
  spec: { endpoints: [{ nodeName: 'b1', underNAT: true, config: { x: 'y' } }, { nodeName: 'b2' }] },
  status: { nodes: [], activeEndpoint: { nodeName: 'b1' } },
};

describe('a Gateway on the way up to v1beta1', () => {
  it('gets one tunnel and one proxy at a time, tunnels on port 4500, and its active endpoint in a list', () => {
    expect(toBeta(alpha)).toEqual({
      apiVersion: BETA,
      kind: 'Gateway',
      metadata: { name: 'edge' },
      spec: {
        proxyConfig: { Replicas: 1 },
        tunnelConfig: { Replicas: 1 },
        endpoints: [
          { nodeName: 'b1', underNAT: true, config: { x: 'y' }, type: 'tunnel', port: 4500 },
          { nodeName: 'b2', type: 'tunnel', port: 4500 },
        ],
      },
      status: { nodes: [], activeEndpoints: [{ nodeName: 'b1', type: 'tunnel', port: 4500 }] },
    });
    expect(toAlpha(toBeta(alpha))).toEqual(alpha);
  });
});

describe('a Gateway on the way down to v1alpha1', () => {
  it('keeps its tunnels and the first active one; the rest is in one annotation', () => {
    const { metadata, ...rest } = toAlpha(beta);
    expect(rest).toEqual({
      apiVersion: ALPHA,
      kind: 'Gateway',
      spec: {
        exposeType: 'PublicIP',
        endpoints: [{ nodeName: 'b1', publicIP: '192.0.2.1', config: { x: 'y' } }, { nodeName: 'b2' }],
      },
      status: { nodes: beta.status.nodes, activeEndpoint: { nodeName: 'b1' } },
    });
    expect(Object.keys((metadata as { annotations: object }).annotations)).toEqual(['theirs', BETA_FIELDS_ANNOTATION]);
    expect(toBeta(toAlpha(beta))).toEqual(beta);
  });
});

describe('a Gateway whose v1alpha1 form was edited', () => {
  const edited = (spec: Fields, status?: Fields): Fields => {
    const before = toAlpha(beta) as { spec: Fields; status: Fields };
    return toBeta({ ...before, spec: { ...before.spec, ...spec }, status: { ...before.status, ...status } });
  };

  it('has the edit, and what v1alpha1 cannot say is restored', () => {
    const changed = edited({ exposeType: '', endpoints: [{ nodeName: 'b1', publicIP: '192.0.2.9' }, { nodeName: 'b2' }] });
    expect(changed['spec']).toEqual({
      exposeType: '',
      proxyConfig: beta.spec.proxyConfig,
      tunnelConfig: beta.spec.tunnelConfig,
      endpoints: [
        { nodeName: 'p1', type: 'proxy', port: 10262 },
        { nodeName: 'b1', type: 'tunnel', port: 4501, publicIP: '192.0.2.9', natType: 'symmetric' },
        { nodeName: 'b2', type: 'tunnel', port: 4500 },
      ],
    });
    expect(changed['metadata']).toEqual(beta.metadata);
  });

  it('follows endpoints that were removed, added or put in another order, by name', () => {
    const tunnels = (names: readonly string[]): unknown =>
      (
        edited({ endpoints: names.map((nodeName) => ({ nodeName })) })['spec'] as { endpoints: { nodeName: string; port: number }[] }
      ).endpoints.map(({ nodeName, port }) => `${nodeName}:${port}`);
    expect(tunnels(['b2', 'b1'])).toEqual(['p1:10262', 'b2:4500', 'b1:4501']);
    expect(tunnels(['b1'])).toEqual(['p1:10262', 'b1:4501']);
    expect(tunnels(['b3', 'b1', 'b2'])).toEqual(['p1:10262', 'b3:4500', 'b1:4501', 'b2:4500']);
    expect(tunnels([])).toEqual(['p1:10262']);
  });

  it('has another active endpoint alone when that was edited', () => {
    expect(edited({}, { activeEndpoint: { nodeName: 'b2' } })['status']).toMatchObject({
      activeEndpoints: [{ nodeName: 'b2', type: 'tunnel', port: 4500 }],
    });
  });

  it('comes as if there were no annotation when somebody spoilt it', () => {
    for (const text of ['', '{', 'null', '[]', '7', '{"spec":1,"endpoints":{},"status":[]}']) {
      const spoilt = { ...alpha, metadata: { name: 'edge', annotations: { [BETA_FIELDS_ANNOTATION]: text } } };
      const { spec, metadata } = toBeta(spoilt) as { spec: Fields; metadata: unknown };
      expect(spec['endpoints']).toEqual((toBeta(alpha)['spec'] as Fields)['endpoints']);
      expect(metadata).toEqual({ name: 'edge' });
    }
  });
});

describe('conversion', () => {
  it('leaves an object of the wanted version as it is', () => {
    expect(toBeta(beta)).toBe(beta);
    expect(toAlpha(alpha)).toBe(alpha);
  });

  it('refuses what is no Gateway of a known version', () => {
    expect(() => toBeta(null)).toThrow('is no object');
    expect(() => toBeta({ kind: 'Node', apiVersion: 'v1' })).toThrow('Node is no Gateway');
    expect(() => toBeta({ kind: 'Gateway', apiVersion: 'gateway.networking.k8s.io/v1' })).toThrow(/is not known; there are: .*v1beta1/);
  });

  property.prop([gateways(BETA)])('v1beta1 → v1alpha1 → v1beta1 loses and changes nothing', (object) => {
    expect(toBeta(toAlpha(object))).toEqual(object);
  });

  property.prop([gateways(ALPHA)])('v1alpha1 → v1beta1 → v1alpha1 loses and changes nothing', (object) => {
    expect(toAlpha(toBeta(object))).toEqual(object);
  });

  property.prop([gateways(BETA)])('touches no metadata but annotations, as the API server demands', (object) => {
    const { annotations: _, ...before } = object.metadata as Fields;
    const { annotations: __, ...after } = toAlpha(object)['metadata'] as Fields;
    expect(after).toEqual(before);
  });

  property.prop([fc.record({ metadata: fc.anything(), spec: fc.anything(), status: fc.anything() }), fc.constantFrom(ALPHA, BETA)])(
    'never throws, whatever a Gateway holds, and its result is of the wanted version',
    (parts, apiVersion) => {
      const object = { apiVersion, kind: 'Gateway', ...(JSON.parse(JSON.stringify(parts)) as Fields) };
      expect(toBeta(object)['apiVersion']).toBe(BETA);
      expect(toAlpha(object)['apiVersion']).toBe(ALPHA);
    },
  );
});

/** Gateways as people and other programs may have written them: with null lists, unknown fields, parts missing. */
function gateways(apiVersion: string): fc.Arbitrary<Fields & { metadata: Fields }> {
  const isBeta = apiVersion === BETA;
  const optional = { requiredKeys: [] as [] };
  const text = fc.constantFrom('', 'b1', 'b2', 'b3');
  const endpoint = fc.record(
    {
      nodeName: text,
      underNAT: fc.boolean(),
      publicIP: text,
      config: fc.dictionary(text, text),
      unknown: fc.jsonValue(),
      ...(isBeta && {
        type: fc.constantFrom('tunnel', 'proxy', 'other'),
        port: fc.constantFrom(0, 4500, 4501),
        natType: text,
        publicPort: fc.nat(),
      }),
    },
    { requiredKeys: (isBeta ? ['nodeName', 'type'] : ['nodeName']) as ['nodeName'] },
  );
  const list = fc.oneof(fc.constant(null), fc.array(endpoint, { maxLength: 5 }));
  const replicas = fc.record({ Replicas: fc.constantFrom(0, 1, 2), unknown: fc.jsonValue() }, optional);
  const spec = fc.record(
    {
      nodeSelector: fc.jsonValue(),
      endpoints: list,
      exposeType: text,
      unknown: fc.jsonValue(),
      ...(isBeta && { proxyConfig: replicas, tunnelConfig: replicas }),
    },
    optional,
  );
  const common = {
    nodes: fc.oneof(fc.constant(null), fc.array(fc.record({ nodeName: text, subnets: fc.constant(null) }))),
    conditions: fc.array(fc.record({ type: text })),
    unknown: fc.jsonValue(),
  };
  const status: fc.Arbitrary<Fields> = isBeta
    ? fc.record({ ...common, activeEndpoints: list, active: text, peers: text, exposed: fc.array(fc.jsonValue()) }, optional)
    : fc.record({ ...common, activeEndpoint: endpoint }, optional);
  const metadata = fc.record(
    { name: text, labels: fc.dictionary(text, text), annotations: fc.dictionary(fc.constantFrom('x', 'y'), text, { minKeys: 1 }) },
    { requiredKeys: ['name'] },
  );
  // What fast-check makes has no prototype, and JSON has no -0.
  return fc
    .record(
      { apiVersion: fc.constant(apiVersion), kind: fc.constant('Gateway'), metadata, spec, status },
      { requiredKeys: ['apiVersion', 'kind', 'metadata'] },
    )
    .map((object) => JSON.parse(JSON.stringify(object)) as Fields & { metadata: Fields });
}
