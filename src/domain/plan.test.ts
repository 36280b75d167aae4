import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { type Gateway, gatewaySchema } from '../api/gateway.ts';
import { type TunnelEndpoint, tunnelEndpointSchema } from '../api/tunnel-endpoint.ts';
import { parseCidr } from '../net/cidr.ts';
import { parseIp } from '../net/ip.ts';
import type { LocalFacts } from './facts.ts';
import { formatFdb, formatLink, formatNeighbour, formatNexthop, formatRoute, formatRule, type NodePlan, type Tunnel } from './node-plan.ts';
import type { LinkHealth } from './paths.ts';
import { plan } from './plan.ts';
import { buildSnapshot } from './snapshot.ts';

interface RegionInput {
  readonly name: string;
  readonly publicIP?: string;
  readonly underNAT?: boolean;
  readonly createdAt?: string;
  readonly nodes: Readonly<Record<string, { ip: string; subnets: string[] }>>;
  readonly active?: string;
}

function gateway({ name, publicIP, underNAT, createdAt, nodes, active }: RegionInput): Gateway {
  const endpoint = (nodeName: string) => ({
    nodeName,
    type: 'tunnel',
    port: 4500,
    ...(publicIP && { publicIP }),
    ...(underNAT && { underNAT }),
  });
  const first = active ?? Object.keys(nodes)[0];
  return gatewaySchema.parse({
    apiVersion: 'raven.openyurt.io/v1beta1',
    kind: 'Gateway',
    metadata: { name, ...(createdAt && { creationTimestamp: createdAt }) },
    spec: { endpoints: first === undefined ? [] : [endpoint(first)] },
    status: {
      nodes: Object.entries(nodes).map(([nodeName, { ip, subnets }]) => ({ nodeName, privateIP: ip, subnets })),
      activeEndpoints: first === undefined ? [] : [endpoint(first)],
    },
  });
}

const A = gateway({
  name: 'a',
  publicIP: '203.0.113.1',
  nodes: { a1: { ip: '203.0.113.1', subnets: ['10.244.1.0/24'] }, a2: { ip: '203.0.113.2', subnets: ['10.244.2.0/24'] } },
});
const B = gateway({
  name: 'b',
  underNAT: true,
  nodes: { b1: { ip: '192.168.1.10', subnets: ['10.244.3.0/24'] }, b2: { ip: '192.168.1.11', subnets: ['10.244.4.0/24'] } },
});
const C = gateway({ name: 'c', underNAT: true, nodes: { c1: { ip: '192.168.1.10', subnets: ['10.244.5.0/24'] } } });

const facts = (dataPath: LocalFacts['dataPath'], hostSource = '10.244.3.1'): LocalFacts => ({
  underlay: { dev: 'eth0', mtuBytes: 1500, prefixes: [parseCidr('192.168.1.0/24')!] },
  hostSources: { 4: parseIp(hostSource)! },
  ipv6Forwarding: undefined,
  driver: 'ipsec',
  dataPath,
});

function planOf(
  node: string,
  gateways: readonly Gateway[],
  options: { dataPath?: LocalFacts['dataPath']; endpoints?: TunnelEndpoint[]; up?: string[] } = {},
): NodePlan {
  const health = new Map<string, LinkHealth>((options.up ?? []).map((peer) => [peer, { up: true, stuck: false }]));
  return plan({ node, snapshot: buildSnapshot(gateways, options.endpoints ?? []), facts: facts(options.dataPath ?? 'kernel'), health });
}

function printed(p: NodePlan): string {
  return [
    ...p.links.map(formatLink),
    ...p.fdb.map(formatFdb),
    ...p.neighbours.map(formatNeighbour),
    ...p.nexthops.map(formatNexthop),
    ...p.routes.map(formatRoute),
    ...p.rules.map(formatRule),
    ...ipsecOf(p).map(
      (t) => `${t.peer} ${t.initiate ? 'call' : 'wait'} ${t.remote?.ip ?? 'any'} ${t.localTs.join(',')} === ${t.remoteTs.join(',')}`,
    ),
  ].join('\n');
}

const ipsecOf = ({ tunnels }: NodePlan): readonly Tunnel[] => (tunnels?.driver === 'ipsec' ? tunnels.tunnels : []);

describe('plan', () => {
  it('sends everything for other regions from an ordinary node to its gateway, by one next hop', () => {
    expect(printed(planOf('b2', [A, B, C]))).toMatchInlineSnapshot(`
      "raven0 mtu 1450 address 02:2a:fe:56:a6:ea type vxlan id 200 local 192.168.1.11 dev eth0 dstport 4472 nolearning
      02:59:d4:19:22:f8 dev raven0 dst 192.168.1.10 self permanent
      192.168.1.10 lladdr 02:59:d4:19:22:f8 dev raven0 nud permanent
      id 1381409762 via 192.168.1.10 dev raven0 onlink
      10.244.1.0/24 nhid 1381409762 table 9027 src 10.244.3.1
      10.244.2.0/24 nhid 1381409762 table 9027 src 10.244.3.1
      10.244.5.0/24 nhid 1381409762 table 9027 src 10.244.3.1
      pref 100 lookup 9027"
    `);
  });

  it('gives a gateway with kernel ESP a device per peer and relays through the public region', () => {
    expect(printed(planOf('b1', [A, B, C]))).toMatchInlineSnapshot(`
      "raven0 mtu 1450 address 02:59:d4:19:22:f8 type vxlan id 200 local 192.168.1.10 dev eth0 dstport 4472 nolearning
      rvn-a1 mtu 1438 group 9027 type xfrm dev eth0 if_id 1378138279
      02:2a:fe:56:a6:ea dev raven0 dst 192.168.1.11 self permanent
      192.168.1.11 lladdr 02:2a:fe:56:a6:ea dev raven0 nud permanent
      id 1381378348 dev rvn-a1
      id 1381379154 dev rvn-a1
      10.244.1.0/24 nhid 1381378348 table 9027 src 10.244.3.1
      10.244.2.0/24 nhid 1381378348 table 9027 src 10.244.3.1
      10.244.5.0/24 nhid 1381379154 table 9027 src 10.244.3.1
      10.244.4.0/24 via 192.168.1.11 dev raven0 onlink table 9028
      pref 100 lookup 9027
      pref 101 fwmark 0x40/0x40 lookup 9028
      a1 call 203.0.113.1 0.0.0.0/0,::/0 === 0.0.0.0/0,::/0"
    `);
  });

  it('drops ICMP redirects only where packets turn back: on a relay whose peers share its device', () => {
    const drops = (node: string, gateways: readonly Gateway[], dataPath: LocalFacts['dataPath']): boolean =>
      planOf(node, gateways, { dataPath }).nft?.chains.some(({ rules }) => rules.some((rule) => rule.includes('redirect drop'))) === true;
    expect(drops('a1', [A, B, C], 'user')).toBe(true);
    expect(drops('a1', [A, B, C], 'kernel')).toBe(false);
    expect(drops('a1', [A, B], 'user')).toBe(false);
    expect(drops('b1', [A, B, C], 'user')).toBe(false);
  });

  it('gives a gateway without kernel ESP narrow selectors to direct peers and wide ones to its relay', () => {
    expect(printed(planOf('b1', [A, B, C], { dataPath: 'user' }))).toMatchInlineSnapshot(`
      "raven0 mtu 1450 address 02:59:d4:19:22:f8 type vxlan id 200 local 192.168.1.10 dev eth0 dstport 4472 nolearning
      rvn-ipsec mtu 1400 group 9027
      02:2a:fe:56:a6:ea dev raven0 dst 192.168.1.11 self permanent
      192.168.1.11 lladdr 02:2a:fe:56:a6:ea dev raven0 nud permanent
      id 1381378348 dev rvn-ipsec
      id 1381379154 dev rvn-ipsec
      10.244.1.0/24 nhid 1381378348 table 9027 src 10.244.3.1 mtu 1400
      10.244.2.0/24 nhid 1381378348 table 9027 src 10.244.3.1 mtu 1400
      10.244.5.0/24 nhid 1381379154 table 9027 src 10.244.3.1 mtu 1400
      10.244.4.0/24 via 192.168.1.11 dev raven0 onlink table 9028
      pref 100 lookup 9027
      pref 101 fwmark 0x40/0x40 lookup 9028
      a1 call 203.0.113.1 10.244.3.0/24,10.244.4.0/24 === 0.0.0.0/0,::/0"
    `);
    expect(ipsecOf(planOf('a1', [A, B, C], { dataPath: 'user' })).map(({ localTs }) => localTs)).toEqual([
      ['0.0.0.0/0', '::/0'],
      ['0.0.0.0/0', '::/0'],
    ]);
  });

  it('lets the first of several active endpoints carry what goes to one relay, and the other be ready', () => {
    const [first] = B.status?.activeEndpoints ?? [];
    const two = { ...B, status: { ...B.status!, activeEndpoints: ['b1', 'b2'].map((nodeName) => ({ ...first!, nodeName })) } };
    const routes = (gateway: Gateway) => planOf('b1', [A, gateway, C]).routes.filter(({ table }) => table !== 9030);
    expect(routes(two)).toEqual(routes(B));
    const [alone, ready] = [planOf('b2', [A, B, C]), planOf('b2', [A, two, C])];
    expect(ready.role).toBe('gateway');
    expect(ready.nexthops).toEqual(expect.arrayContaining([...alone.nexthops]));
    expect(ready.routes.filter(({ table }) => table === 9027)).toEqual(alone.routes.filter(({ table }) => table === 9027));
  });

  it('lets exactly one side of every pair call', () => {
    const caller = (node: string, peer: string) => ipsecOf(planOf(node, [A, B, C])).find((t) => t.peer === peer)?.initiate;
    expect([caller('a1', 'b1'), caller('b1', 'a1')]).toEqual([false, true]);
    const D = gateway({ name: 'd', publicIP: '203.0.113.9', nodes: { d1: { ip: '203.0.113.9', subnets: ['10.244.9.0/24'] } } });
    expect([caller('a1', 'c1'), caller('c1', 'a1')]).toEqual([false, true]);
    const both = [planOf('a1', [A, D]), planOf('d1', [A, D])].map((p) => ipsecOf(p)[0]?.initiate);
    expect(both).toEqual([true, false]);
  });

  it('keeps the relay when a younger public region joins', () => {
    const old = gateway({
      name: 'z',
      publicIP: '203.0.113.7',
      createdAt: '2024-01-01T00:00:00Z',
      nodes: { z1: { ip: '203.0.113.7', subnets: ['10.244.7.0/24'] } },
    });
    const young = gateway({
      name: 'm',
      publicIP: '203.0.113.8',
      createdAt: '2025-01-01T00:00:00Z',
      nodes: { m1: { ip: '203.0.113.8', subnets: ['10.244.8.0/24'] } },
    });
    expect(planOf('b1', [old, B, C]).paths.find(({ gateway: name }) => name === 'c')?.via).toBe('z1');
    expect(planOf('b1', [young, old, B, C]).paths.find(({ gateway: name }) => name === 'c')?.via).toBe('z1');
  });

  it('uses private addresses between regions behind one public address, once that tunnel is up', () => {
    const near = gateway({ name: 'c', underNAT: true, nodes: { c1: { ip: '192.168.1.30', subnets: ['10.244.5.0/24'] } } });
    const report = tunnelEndpointSchema.parse({
      apiVersion: 'raven.openyurt.io/v1beta1',
      kind: 'TunnelEndpoint',
      metadata: { name: 'a1' },
      spec: { gateway: 'a', nodeName: 'a1', driver: 'ipsec', dataPath: 'kernel', port: 4500, underlayMtu: 1500 },
      status: {
        links: ['b1', 'c1'].map((peer, i) => ({ peer, gateway: peer[0], state: 'Up', path: 'direct', observed: `198.51.100.2:450${i}` })),
      },
    });
    const before = planOf('b1', [A, B, near], { endpoints: [report] });
    expect(before.tunnels?.tunnels.find(({ peer }) => peer === 'c1')).toMatchObject({
      initiate: true,
      remote: { ip: '192.168.1.30', port: 4500 },
    });
    expect(before.paths.find(({ peer }) => peer === 'c1')?.via).toBe('a1');
    expect(planOf('b1', [A, B, near], { endpoints: [report], up: ['c1'] }).paths.find(({ peer }) => peer === 'c1')?.via).toBeUndefined();
  });

  it('does not route what two regions claim, and routes the rest (R36)', () => {
    const clash = gateway({ name: 'd', underNAT: true, nodes: { d1: { ip: '10.0.0.1', subnets: ['10.244.1.128/25', '10.244.6.0/24'] } } });
    const p = planOf('b2', [A, B, clash]);
    expect(p.routes.map(({ dst }) => dst)).toEqual(['10.244.1.0/25', '10.244.2.0/24', '10.244.6.0/24']);
  });

  it('never routes the own network or a tunnel address into the tunnel', () => {
    const greedy = gateway({ name: 'd', nodes: { d1: { ip: '10.0.0.1', subnets: ['192.168.0.0/23', '203.0.113.0/30'] } } });
    const p = planOf('b1', [A, B, greedy]);
    const covered = p.routes.map(({ dst }) => dst);
    expect(covered).not.toContain('192.168.0.0/23');
    expect(covered).toContain('192.168.0.0/24');
    expect(covered).not.toContain('203.0.113.0/30');
    expect(p.findings.map(({ reason }) => reason)).toContain('SubnetCoversUnderlay');
  });

  it('carries nothing and says why on a node of no region or without its address', () => {
    expect(planOf('stranger', [A, B])).toMatchObject({ role: 'none', links: [], nft: undefined, findings: [{ reason: 'NoRegion' }] });
  });

  test.prop([fc.shuffledSubarray([A, B, C], { minLength: 3 }), fc.constantFrom('a1', 'a2', 'b1', 'b2', 'c1')])(
    'does not depend on the order of objects',
    (order, node) => {
      expect(planOf(node, order)).toEqual(planOf(node, [A, B, C]));
    },
  );

  const anyText = fc.oneof(
    fc.string({ maxLength: 12 }),
    fc.constantFrom('', '10.244.1.0/24', '0.0.0.0/0', '10.0.0.0/33', 'fd00::/64', '203.0.113.1'),
  );
  const anyGateway = fc.record({
    apiVersion: fc.constant('raven.openyurt.io/v1beta1'),
    kind: fc.constant('Gateway'),
    metadata: fc.record({ name: fc.constantFrom('x', 'y', 'b') }),
    spec: fc.record(
      { endpoints: fc.option(fc.array(fc.record({ nodeName: anyText, type: anyText, publicIP: anyText }))) },
      { requiredKeys: [] },
    ),
    status: fc.record(
      {
        nodes: fc.option(
          fc.array(
            fc.record({ nodeName: fc.oneof(anyText, fc.constant('b1')), privateIP: anyText, subnets: fc.option(fc.array(anyText)) }),
          ),
        ),
        activeEndpoints: fc.option(
          fc.array(fc.record({ nodeName: anyText, type: fc.constantFrom('tunnel', 'proxy', ''), publicIP: anyText })),
        ),
      },
      { requiredKeys: [] },
    ),
  });

  test.prop([fc.array(anyGateway, { maxLength: 4 }), fc.constantFrom('a1', 'b1', 'b2', 'x')])(
    'never throws, whatever the Gateways hold (R35)',
    (odd, node) => {
      const gateways = odd.map((each) => gatewaySchema.parse(each));
      for (const dataPath of ['kernel', 'user'] as const) planOf(node, [A, B, ...gateways], { dataPath });
    },
  );

  test.prop([fc.array(anyGateway, { maxLength: 3 })])(
    'an odd Gateway takes no route away from healthy regions unless it claims their addresses (raven#180)',
    (odd) => {
      const gateways = odd
        .map((each) => gatewaySchema.parse(each))
        .map((each, i) => ({ ...each, metadata: { ...each.metadata, name: `odd${i}` } }));
      const claimsOurs = gateways.some((g) =>
        g.status?.nodes.some(
          ({ nodeName, subnets }) =>
            nodeName === 'b2' || subnets.some((s) => s.startsWith('10.244.') || s.startsWith('0.') || s.startsWith('203.')),
        ),
      );
      const before = planOf('b2', [A, B, C]).routes.map(({ dst }) => dst);
      const after = planOf('b2', [A, B, C, ...gateways]).routes.map(({ dst }) => dst);
      if (!claimsOurs) expect(after).toEqual(expect.arrayContaining(before));
    },
  );
});
