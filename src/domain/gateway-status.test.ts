import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { defaultGateway, type Gateway } from '../api/gateway.ts';
import type { Condition } from '../api/meta.ts';
import { EXTRA_CIDRS_ANNOTATION } from '../api/names.ts';
import type { TunnelLink } from '../api/tunnel-endpoint.ts';
import { DEFAULT_SWITCHES, type Switches } from './election.ts';
import { type EndpointSigns, plainSigns } from './endpoint-fitness.ts';
import { decideRegion, gatewayStatus, type GatewayVerdict } from './gateway-status.ts';
import { type NodeFacts, nodeFacts } from './node-facts.ts';
import { usableSubnets } from './overlap.ts';
import { type NodeInput, testGateway, testNode } from './test-objects.ts';

const T0 = '2026-01-01T00:00:00Z';
const T1 = '2026-01-01T00:01:00Z';

interface Cluster {
  readonly gateways: readonly Gateway[];
  readonly nodes?: Readonly<Record<string, NodeInput>>;
  readonly switches?: Switches;
  readonly linksOf?: () => readonly TunnelLink[] | undefined;
  readonly signs?: Readonly<Record<string, Partial<EndpointSigns>>>;
}

/** What a full pass over a cluster decides for each Gateway. */
function decideAll(
  { gateways, nodes = {}, switches = DEFAULT_SWITCHES, linksOf = () => undefined, signs = {} }: Cluster,
  now = T0,
): Map<string, GatewayVerdict> {
  const facts = new Map<string, NodeFacts>(Object.entries(nodes).map(([name, input]) => [name, nodeFacts(testNode(name, input))]));
  const decided = gateways.map((each) => {
    const gateway = defaultGateway(each);
    const own = [...facts.values()].filter(({ region }) => region === gateway.metadata.name);
    const signsOf = ({ name, isReady, drain }: NodeFacts): EndpointSigns => ({ ...plainSigns(isReady), drain, ...signs[name] });
    const view = { gateway, nodes: own, signsOf, lookup: (name: string) => facts.get(name), linksOf, services: [], switches };
    return { name: gateway.metadata.name, view, decision: decideRegion(view, Date.parse(now)) };
  });
  const usable = usableSubnets(decided.map(({ name, decision }) => ({ name, cidrs: decision.region.cidrs })));
  return new Map(decided.map(({ name, view, decision }) => [name, gatewayStatus(view, decision, usable.get(name)?.overlaps ?? [], now)]));
}

const line = ({ type, status, reason, message }: Condition): string => `${type} ${status} ${reason}: ${message}`;
const conditions = (verdict: GatewayVerdict | undefined): string[] => (verdict?.status.conditions ?? []).map(line);
const conditionOf = (cluster: Cluster, type: string): string =>
  conditions(decideAll(cluster).values().next().value).find((text) => text.startsWith(`${type} `)) ?? '';
const b = (podCIDR: string, input: NodeInput = {}): NodeInput => ({ region: 'b', podCIDR, ...input });
const withStatus = (gateway: Gateway, verdict: GatewayVerdict | undefined): Gateway => ({ ...gateway, status: verdict!.status });

describe('gatewayStatus', () => {
  it('shows a healthy region', () => {
    const verdict = decideAll({
      gateways: [testGateway('b', { endpoints: ['b1', 'b3'] })],
      nodes: { b1: b('10.1.0.0/24'), b3: b('10.3.0.0/24') },
    }).get('b')!;
    expect(conditions(verdict)).toMatchInlineSnapshot(`
      [
        "Ready True EndpointElected: active: tunnel b1 (1 of 1)",
        "Accepted True Valid: follows the API contract",
        "EndpointsKnown True NodesFound: the nodes of all endpoints belong to the region",
        "EndpointsFit True AllFit: nothing stands against any endpoint",
        "RegionReachable True NodeReady: an endpoint node is Ready",
        "SubnetsUsable True AllUsable: all subnets of the region are routed",
      ]
    `);
    expect(verdict.events.map(({ type, reason, message }) => `${type} ${reason}: ${message}`)).toMatchInlineSnapshot(`
      [
        "Normal ActiveEndpointElected: node b1 is now an active tunnel endpoint",
      ]
    `);
  });

  it('says in Ready what to do (raven#163: no endpoints, raven#164: unknown nodes)', () => {
    const cases: [what: string, cluster: Cluster][] = [
      ['no endpoints', { gateways: [testGateway('b')], nodes: { b1: b('10.1.0.0/24') } }],
      ['no tunnelConfig', { gateways: [testGateway('b', { endpoints: ['b1'], tunnels: undefined })], nodes: { b1: b('10.1.0.0/24') } }],
      ['no replicas', { gateways: [testGateway('b', { endpoints: ['b1'], tunnels: 0 })], nodes: { b1: b('10.1.0.0/24') } }],
      [
        'tunnel off',
        { gateways: [testGateway('b', { endpoints: ['b1'] })], nodes: { b1: b('10.1.0.0/24') }, switches: { tunnel: false, proxy: false } },
      ],
      ['proxy only', { gateways: [testGateway('b', { endpoints: ['b1 proxy'], proxies: 1 })], nodes: { b1: b('10.1.0.0/24') } }],
      [
        'unknown nodes',
        {
          gateways: [testGateway('b', { endpoints: ['b9', 'c1', 'x1', 'b1'] })],
          nodes: { b1: b('10.1.0.0/24', { ready: 'False' }), c1: { region: 'c' }, x1: {} },
        },
      ],
      [
        'one of two',
        {
          gateways: [testGateway('b', { endpoints: ['b1', 'b3'], tunnels: 2 })],
          nodes: { b1: b('10.1.0.0/24'), b3: b('10.3.0.0/24', { ready: 'False' }) },
        },
      ],
      ['proxy endpoint besides', { gateways: [testGateway('b', { endpoints: ['b1', 'b1 proxy'] })], nodes: { b1: b('10.1.0.0/24') } }],
    ];
    expect(cases.map(([what, cluster]) => `${what}: ${conditionOf(cluster, 'Ready')}`)).toMatchInlineSnapshot(`
      [
        "no endpoints: Ready False NoEndpoints: spec.endpoints lists no endpoint: add at least one, such as {nodeName: NODE, type: tunnel, port: 4500}",
        "no tunnelConfig: Ready False NoTunnelReplicas: no tunnel endpoint is elected: spec.tunnelConfig is absent, which means 0 active endpoints; set spec.tunnelConfig.Replicas to 1 or more",
        "no replicas: Ready False NoTunnelReplicas: no tunnel endpoint is elected: spec.tunnelConfig.Replicas asks for 0 active endpoints; set spec.tunnelConfig.Replicas to 1 or more",
        "tunnel off: Ready False TunnelDisabled: no tunnel endpoint is elected: set enable-l3-tunnel to "true" in ConfigMap raven-cfg",
        "proxy only: Ready False ProxyDisabled: no proxy endpoint is elected: set enable-l7-proxy to "true" in ConfigMap raven-cfg",
        "unknown nodes: Ready False NoTunnelEndpointFit: no tunnel endpoint can be elected: node b9 does not exist; node c1 belongs to region c: kubectl label node c1 --overwrite raven.openyurt.io/gateway=b; node x1 belongs to no region: kubectl label node x1 --overwrite raven.openyurt.io/gateway=b; node b1 is not Ready",
        "one of two: Ready True EndpointElected: active: tunnel b1 (1 of 2)",
        "proxy endpoint besides: Ready True EndpointElected: active: tunnel b1 (1 of 1)",
      ]
    `);
  });

  it('names endpoints whose node is unknown or elsewhere, and how to label it', () => {
    const cluster = {
      gateways: [testGateway('b', { endpoints: ['b1', 'b9', 'c1', 'x1', ''] })],
      nodes: { b1: b('10.1.0.0/24'), c1: { region: 'c' }, x1: {} },
    };
    expect(conditionOf(cluster, 'EndpointsKnown')).toMatchInlineSnapshot(
      `"EndpointsKnown False UnknownNodes: node b9 does not exist; node c1 belongs to region c: kubectl label node c1 --overwrite raven.openyurt.io/gateway=b; node x1 belongs to no region: kubectl label node x1 --overwrite raven.openyurt.io/gateway=b"`,
    );
    expect(conditionOf(cluster, 'Ready')).toContain('Ready True');
  });

  it('keeps the last active endpoint of a region that is cut off, and says so (R22)', () => {
    const down: NodeInput = { ready: 'Unknown' };
    const gateway = testGateway('b', { endpoints: ['b1', 'b3'], active: ['b1'] });
    const verdict = decideAll({ gateways: [gateway], nodes: { b1: b('10.1.0.0/24', down), b3: b('10.3.0.0/24', down) } }).get('b')!;
    expect(conditions(verdict).filter((text) => /^(Ready|RegionReachable)/.test(text))).toMatchInlineSnapshot(`
      [
        "Ready True LastActiveKept: active: tunnel b1 (1 of 1)",
        "RegionReachable False AllNodesNotReady: no endpoint node is Ready (b1, b3): the last active ones (b1) stay, as most likely only the link to the API server is lost. Check the region's uplink and its kubelets",
      ]
    `);
    expect(verdict.events).toEqual([]);
  });

  it('names a violation of the API contract with its field, and uses the rest', () => {
    const gateway = testGateway('b', {
      endpoints: [
        { nodeName: 'b1', type: 'bridge' },
        { nodeName: 'b1', publicIP: 'x' },
      ],
    });
    const cluster = { gateways: [gateway], nodes: { b1: b('10.1.0.0/24') } };
    expect(conditionOf(cluster, 'Accepted')).toMatchInlineSnapshot(
      `"Accepted False Invalid: spec.endpoints[0].type: must be tunnel or proxy, not "bridge"; spec.endpoints[1].publicIP: "x" is no IP address"`,
    );
    expect(conditionOf(cluster, 'Ready')).toContain('Ready True');
  });

  it('names an overlap on both Gateways (R36)', () => {
    const verdicts = decideAll({
      gateways: [testGateway('b', { endpoints: ['b1'] }), testGateway('c', { endpoints: ['c1'] }), testGateway('d', { endpoints: ['d1'] })],
      nodes: { b1: b('10.1.0.0/23'), c1: { region: 'c', podCIDR: '10.1.1.0/24' }, d1: { region: 'd', podCIDR: '10.4.0.0/24' } },
    });
    expect([...verdicts].map(([name, verdict]) => `${name}: ${conditions(verdict).at(-1) ?? ''}`)).toMatchInlineSnapshot(`
      [
        "b: SubnetsUsable False SubnetOverlap: 10.1.1.0/24 also claimed by region c, so routed to neither: give one of them other pod CIDRs",
        "c: SubnetsUsable False SubnetOverlap: 10.1.1.0/24 also claimed by region b, so routed to neither: give one of them other pod CIDRs",
        "d: SubnetsUsable True AllUsable: all subnets of the region are routed",
      ]
    `);
    expect([...verdicts.values()].map(({ events }) => events.map(({ reason }) => reason).join(' '))).toMatchInlineSnapshot(`
      [
        "ActiveEndpointElected SubnetOverlap",
        "ActiveEndpointElected SubnetOverlap",
        "ActiveEndpointElected",
      ]
    `);
  });

  it('says once what is wrong with CIDRs, and again only what is new', () => {
    const nodes = { b1: b('', { annotations: { 'projectcalico.org/x': '' } }), b2: b('bad') };
    const gateway = testGateway('b', { endpoints: ['b1'], annotations: { [EXTRA_CIDRS_ANNOTATION]: 'worse' } });
    const first = decideAll({ gateways: [gateway], nodes }).get('b')!;
    expect(first.events.map(({ reason }) => reason)).toEqual([
      'ActiveEndpointElected',
      'EmptyPodCIDR',
      'InvalidPodCIDR',
      'InvalidExtraCIDR',
      'CalicoBlocksNotRead',
    ]);
    const again = withStatus(gateway, first);
    expect(decideAll({ gateways: [again], nodes }, T1).get('b')).toMatchObject({ isChanged: false, events: [] });
    expect(
      decideAll({ gateways: [again], nodes: { ...nodes, b3: b('0.0.0.0/0') } }, T1)
        .get('b')!
        .events.map(({ message }) => message),
    ).toEqual([expect.stringContaining('node b3: 0.0.0.0/0 is too wide')]);
  });

  it('moves lastTransitionTime only with status, and leaves what others wrote', () => {
    const foreign = { type: 'TunnelsUp', status: 'True' as const, reason: 'All', message: '' };
    const nodes = { b1: b('10.1.0.0/24'), b3: b('10.3.0.0/24') };
    const gateway = testGateway('b', { endpoints: ['b1', 'b3'] });
    const first = decideAll({ gateways: [gateway], nodes }).get('b')!;
    const withForeign: Gateway = { ...gateway, status: { ...first.status, conditions: [foreign, ...first.status.conditions!], other: 1 } };
    const next = decideAll({ gateways: [withForeign], nodes: { ...nodes, b1: b('bad', { ready: 'False' }) } }, T1).get('b')!.status;
    expect(next['other']).toBe(1);
    expect(next.conditions!.map(({ type, status, lastTransitionTime }) => `${type} ${status} ${lastTransitionTime ?? '-'}`))
      .toMatchInlineSnapshot(`
        [
          "Ready True 2026-01-01T00:00:00Z",
          "Accepted True 2026-01-01T00:00:00Z",
          "EndpointsKnown True 2026-01-01T00:00:00Z",
          "EndpointsFit False 2026-01-01T00:01:00Z",
          "RegionReachable True 2026-01-01T00:00:00Z",
          "SubnetsUsable False 2026-01-01T00:01:00Z",
          "TunnelsUp True -",
        ]
      `);
  });

  it('says which tunnels are down and why, without what changes all the time; nothing before anybody reported, nor when its node is gone', () => {
    const link = { peer: 'a1', gateway: 'a', path: 'direct' as const, since: T0 };
    const silent = { ...link, state: 'Connecting' as const, message: 'no handshake: no answer from 203.0.113.1:4500/udp' };
    const nodes = { b1: b('10.1.0.0/24') };
    const gateway = testGateway('b', { endpoints: ['b1'] });
    const peers = (links: readonly TunnelLink[] | undefined, from = gateway) => {
      const verdict = decideAll({ gateways: [from], nodes, linksOf: () => links }).get('b')!;
      return { verdict, text: conditions(verdict).filter((text) => text.startsWith('PeersConnected')) };
    };
    expect(peers(undefined).text).toEqual([]);
    expect(peers([{ ...link, state: 'Up' }]).text).toEqual(['PeersConnected True AllLinksUp: 1 of 1 links up']);
    const down = peers([silent]);
    expect(down.text).toEqual(['PeersConnected False LinksDown: b1 to a1 (region a): no handshake: no answer from 203.0.113.1:4500/udp']);
    expect(peers(undefined, withStatus(gateway, down.verdict)).text).toEqual([]);
  });

  it('names ten findings and counts the rest, without saying them again', () => {
    const nodes = Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`b${i}`, b('bad')]));
    const gateway = testGateway('b', { endpoints: ['b1'] });
    const first = decideAll({ gateways: [gateway], nodes }).get('b')!;
    expect(conditions(first).at(-1)).toMatch(/; and 20 more$/);
    expect(first.events).toHaveLength(1 + 10);
    expect(decideAll({ gateways: [withStatus(gateway, first)], nodes }).get('b')!.events).toEqual([]);
  });
});

describe('a full pass over odd objects (R35; raven#180, #167, #169, #164, #163)', () => {
  const nodeName = fc.constantFrom('n1', 'n2', 'n3', 'n4', 'n9', '');
  const cidr = fc.constantFrom(
    '',
    'x',
    '10.1.0.0/24',
    '10.1.0.0/16',
    '10.2.0.0/24',
    '0.0.0.0/0',
    'fd00:1::/64',
    'fd00::/16',
    '10.3.0.5/24',
    '192.168.1.0/24; ',
  );
  const region = fc.constantFrom('a', 'b', 'nowhere', '', '__proto__');
  const node = fc.record({
    region,
    podCIDRs: fc.array(cidr, { maxLength: 3 }),
    ready: fc.constantFrom('True', 'False', 'Unknown'),
    ip: fc.constantFrom('10.1.0.9', 'fd00::9', ''),
  });
  const nodes = fc.dictionary(fc.constantFrom('n1', 'n2', 'n3', 'n4'), node) as fc.Arbitrary<Record<string, NodeInput>>;
  const endpoint = fc.record(
    {
      nodeName,
      type: fc.constantFrom('tunnel', 'proxy', '?'),
      port: fc.integer(),
      publicIP: fc.constantFrom('', 'x', '203.0.113.1'),
      underNAT: fc.boolean(),
    },
    { requiredKeys: ['nodeName', 'type'] },
  );
  const gatewayInput = fc.record({
    endpoints: fc.array(endpoint, { maxLength: 4 }),
    tunnels: fc.option(fc.integer({ min: -1, max: 3 }), { nil: undefined }),
    active: fc.array(
      nodeName.filter((name) => name !== ''),
      { maxLength: 3 },
    ),
    annotations: fc.record({ [EXTRA_CIDRS_ANNOTATION]: fc.array(cidr, { maxLength: 3 }).map((list) => list.join(',')) }),
  });

  test.prop([gatewayInput, gatewayInput, nodes])(
    'never throws, and is settled by its own result without a second event',
    (inputA, inputB, nodeInputs) => {
      const gateways = [testGateway('a', inputA), testGateway('b', inputB)];
      const first = decideAll({ gateways, nodes: nodeInputs });
      const second = decideAll(
        { gateways: gateways.map((each) => withStatus(each, first.get(each.metadata.name))), nodes: nodeInputs },
        T1,
      );
      for (const { isChanged, events } of second.values()) expect({ isChanged, events }).toEqual({ isChanged: false, events: [] });
    },
  );

  test.prop([gatewayInput, gatewayInput, nodes])(
    'never changes a region that shares no address with the odd one',
    (inputA, inputB, nodeInputs) => {
      const healthy: Cluster = {
        gateways: [testGateway('h', { endpoints: ['h1'] })],
        nodes: { h1: { region: 'h', podCIDR: '172.16.0.0/24', ip: '198.51.100.1' } },
      };
      const alone = decideAll(healthy).get('h');
      const together = decideAll({
        gateways: [testGateway('a', inputA), ...healthy.gateways, testGateway('b', inputB)],
        nodes: { ...nodeInputs, ...healthy.nodes },
      });
      expect(together.get('h')).toEqual(alone);
    },
  );
});
