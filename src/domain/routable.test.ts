import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { type Gateway, gatewaySchema } from '../api/gateway.ts';
import { ROUTABLE_DOMAIN_ANNOTATION } from '../api/names.ts';
import { type TunnelEndpoint, tunnelEndpointSchema } from '../api/tunnel-endpoint.ts';
import { parseCidr } from '../net/cidr.ts';
import { parseIp } from '../net/ip.ts';
import { formatFdb, formatNeighbour, formatNexthop, formatRoute, type NodePlan } from './node-plan.ts';
import { choosePaths, type LinkHealth } from './paths.ts';
import { plan } from './plan.ts';
import { buildSnapshot } from './snapshot.ts';

interface RegionInput {
  readonly name: string;
  readonly ip: string;
  readonly isPublic?: boolean;
  readonly domain?: string | undefined;
  /** Of the ordinary node. */
  readonly second?: string;
}

function region({ name, ip, isPublic = false, domain, second = `${ip}1` }: RegionInput, at: number): Gateway {
  const endpoint = {
    nodeName: `${name}1`,
    type: 'tunnel',
    port: 4500,
    ...(isPublic ? { publicIP: `203.0.113.${at + 1}` } : { underNAT: true }),
  };
  return gatewaySchema.parse({
    apiVersion: 'raven.openyurt.io/v1beta1',
    kind: 'Gateway',
    metadata: { name, ...(domain !== undefined && { annotations: { [ROUTABLE_DOMAIN_ANNOTATION]: domain } }) },
    spec: { endpoints: [endpoint] },
    status: {
      nodes: [
        { nodeName: `${name}1`, privateIP: ip, subnets: [`10.244.${at * 2}.0/24`] },
        { nodeName: `${name}2`, privateIP: second, subnets: [`10.244.${at * 2 + 1}.0/24`] },
      ],
      activeEndpoints: [endpoint],
    },
  });
}

function report(node: string, links: readonly { peer: string; encryption?: 'none'; path?: 'relay' }[], underlayMtu = 1500): TunnelEndpoint {
  return tunnelEndpointSchema.parse({
    apiVersion: 'raven.openyurt.io/v1beta1',
    kind: 'TunnelEndpoint',
    metadata: { name: node },
    spec: {
      gateway: node.slice(0, -1),
      nodeName: node,
      driver: 'ipsec',
      dataPath: 'kernel',
      port: 4500,
      underlayMtu,
      overlayIP: '10.244.9.1',
    },
    status: {
      links: links.map(({ peer, encryption, path = 'direct' }) => ({
        peer,
        gateway: peer.slice(0, -1),
        state: 'Up',
        path,
        ...(encryption && { encryption }),
      })),
    },
  });
}

interface Site {
  readonly regions: readonly RegionInput[];
  readonly reports?: readonly TunnelEndpoint[];
  readonly health?: Record<string, LinkHealth>;
}

function planOf(node: string, { regions, reports = [], health = {} }: Site): NodePlan {
  return plan({
    node,
    snapshot: buildSnapshot(regions.map(region), reports),
    facts: {
      underlay: { dev: 'eth0', mtuBytes: 1500, prefixes: [parseCidr('172.16.0.0/24')!] },
      hostSources: { 4: parseIp('10.244.0.1')! },
      ipv6Forwarding: undefined,
      driver: 'ipsec',
      dataPath: 'kernel',
    },
    health: new Map(Object.entries(health)),
  });
}

const wayTo = (p: NodePlan, name: string) => {
  const path = p.paths.find(({ gateway }) => gateway === name);
  if (path === undefined) return 'none';
  return `${path.via === undefined ? 'direct' : `via ${path.via}`} ${path.isPlain ? 'plain' : 'tunnel'}${path.encryption === 'none' ? ', not encrypted' : ''}`;
};
const tunnelsOf = (p: NodePlan) => p.tunnels?.tunnels.map(({ peer }) => peer);

const VPC = 'vpc-1';
const A = { name: 'a', ip: '172.16.0.1', isPublic: true, domain: VPC } as const;
const B = { name: 'b', ip: '192.168.1.10' } as const;
const D = { name: 'd', ip: '172.16.9.1', domain: VPC } as const;
const unmarked = (input: RegionInput): RegionInput => ({ ...input, domain: undefined });

describe('routable regions', () => {
  it('go by raven0 to the other gateway, without a tunnel', () => {
    const p = planOf('a1', { regions: [A, B, D], reports: [report('d1', [], 1400)] });
    expect(tunnelsOf(p)).toEqual(['b1']);
    expect(
      [...p.fdb.map(formatFdb), ...p.neighbours.map(formatNeighbour), ...p.nexthops.map(formatNexthop), ...p.routes.map(formatRoute)].join(
        '\n',
      ),
    ).toMatchInlineSnapshot(`
      "02:61:44:22:58:de dev raven0 dst 172.16.0.11 self permanent
      02:2f:54:7b:e1:24 dev raven0 dst 172.16.9.1 self permanent
      172.16.0.11 lladdr 02:61:44:22:58:de dev raven0 nud permanent
      172.16.9.1 lladdr 02:2f:54:7b:e1:24 dev raven0 nud permanent
      id 1381377139 via 172.16.9.1 dev raven0 onlink
      id 1381379557 dev rvn-b1
      10.244.2.0/23 nhid 1381379557 table 9027 src 10.244.0.1
      10.244.4.0/23 nhid 1381377139 table 9027 src 10.244.0.1 mtu 1350
      10.244.1.0/24 via 172.16.0.11 dev raven0 onlink table 9028
      10.244.9.1/32 via 172.16.9.1 dev raven0 onlink table 9030 mtu 1350"
    `);
  });

  it.each<[string, Site, string, string]>([
    ['both marked alike', { regions: [A, B, D] }, 'direct plain, not encrypted', 'b1'],
    ['one not marked', { regions: [A, B, unmarked(D)] }, 'direct tunnel', 'b1,d1'],
    ['another domain', { regions: [A, B, { ...D, domain: 'vpc-2' }] }, 'direct tunnel', 'b1,d1'],
    ['an empty mark', { regions: [{ ...A, domain: ' ' }, B, { ...D, domain: ' ' }] }, 'direct tunnel', 'b1,d1'],
    ['a gateway address that both have', { regions: [A, B, { ...D, ip: A.ip }] }, 'direct tunnel', 'b1,d1'],
    ['a gateway address that an ordinary node of the other has', { regions: [A, B, { ...D, second: A.ip }] }, 'direct tunnel', 'b1,d1'],
    [
      'the tunnel stands while the other end still sends into it',
      { regions: [A, B, D], reports: [report('d1', [{ peer: 'a1' }])] },
      'direct plain, not encrypted',
      'b1,d1',
    ],
    [
      'it goes when the other end has gone over too',
      { regions: [A, B, D], reports: [report('d1', [{ peer: 'a1', encryption: 'none' }])] },
      'direct plain, not encrypted',
      'b1',
    ],
  ])('%s: %s', (_, site, way, tunnels) => {
    const p = planOf('a1', site);
    expect([wayTo(p, 'd'), tunnelsOf(p)?.join()]).toEqual([way, tunnels]);
  });

  it.each<[string, LinkHealth | undefined, string]>([
    ['stay so until the tunnel is up', { up: false, stuck: false }, 'direct plain, not encrypted'],
    ['stay so before the tunnel is begun', undefined, 'direct plain, not encrypted'],
    ['are encrypted as soon as it is up', { up: true, stuck: false }, 'direct tunnel'],
    ['do not send in the clear for long when it does not come up', { up: false, stuck: true }, 'direct tunnel'],
  ])('that lose their mark %s', (_, health, way) => {
    const p = planOf('a1', {
      regions: [unmarked(A), B, D],
      reports: [report('a1', [{ peer: 'd1', encryption: 'none' }])],
      health: health === undefined ? {} : { d1: health },
    });
    expect([wayTo(p, 'd'), tunnelsOf(p)]).toEqual([way, ['b1', 'd1']]);
  });

  it('relay for others, and say that part of the way is not encrypted', () => {
    const site = { regions: [A, B, D], reports: [report('d1', [{ peer: 'b1', encryption: 'none', path: 'relay' }])] };
    expect(wayTo(planOf('b1', site), 'd')).toBe('via a1 tunnel, not encrypted');
    expect(wayTo(planOf('d1', site), 'b')).toBe('via a1 plain, not encrypted');
    // That its relayed path was not encrypted does not make the far end a neighbour.
    expect(wayTo(planOf('d1', { ...site, regions: [unmarked(A), B, unmarked(D)], health: { a1: { up: true, stuck: false } } }), 'b')).toBe(
      'via a1 tunnel',
    );
  });

  it('never have the node addresses of the other gateways routed into the overlay', () => {
    const greedy = { name: 'g', ip: '172.16.8.1' };
    const snapshot = buildSnapshot([A, D, greedy].map(region), []);
    const covering = snapshot.regions.map((each) => (each.name === 'g' ? { ...each, cidrs: [parseCidr('172.16.8.0/23')!] } : each));
    const facts = {
      underlay: { dev: 'eth0', mtuBytes: 1500, prefixes: [parseCidr('172.16.0.0/24')!] },
      hostSources: {},
      ipv6Forwarding: undefined,
      driver: 'ipsec',
      dataPath: 'kernel',
    } as const;
    for (const node of ['a1', 'a2']) {
      const p = plan({ node, snapshot: { regions: covering }, facts, health: new Map() });
      expect(p.routes.map(({ dst }) => dst)).not.toContain('172.16.8.0/23');
      expect(p.findings.map(({ reason }) => reason)).toContain('SubnetCoversUnderlay');
    }
  });

  const anyRegions = fc
    .array(
      fc.record({
        isPublic: fc.boolean(),
        domain: fc.constantFrom(undefined, 'x', 'y'),
        ip: fc.constantFrom('172.16.0.1', '172.16.0.2', '172.16.0.3', '172.16.0.4', '172.16.0.5'),
      }),
      { minLength: 2, maxLength: 6 },
    )
    .map((inputs) => inputs.map((input, at): RegionInput => ({ ...input, name: `r${at}`, second: `172.17.0.${at}` })));
  const anyHealth = fc.dictionary(
    fc.constantFrom('r01', 'r11', 'r21', 'r31', 'r41', 'r51'),
    fc.record({ up: fc.boolean(), stuck: fc.boolean() }),
  );
  const anyLinks = fc.array(fc.tuple(fc.nat({ max: 5 }), fc.nat({ max: 5 }), fc.boolean()), { maxLength: 12 });

  test.prop([anyRegions, fc.array(anyHealth, { minLength: 6, maxLength: 6 }), anyLinks])(
    'a packet that has a path arrives after at most two legs, whatever each gateway thinks of its tunnels',
    (inputs, healths, links) => {
      const reports = inputs.map(({ name }, at) =>
        report(
          `${name}1`,
          links.filter(([from]) => from === at).map(([, to, plain]) => ({ peer: `r${to}1`, ...(plain && { encryption: 'none' }) })),
        ),
      );
      const snapshot = buildSnapshot(inputs.map(region), reports);
      const next = snapshot.regions.map((own, at) => {
        const { paths } = choosePaths(own, own.active[0]!, snapshot, { health: new Map(Object.entries(healths[at]!)) });
        return new Map(paths.map(({ region: to, peer, via }) => [to.name, (via ?? peer).region]));
      });
      for (const [at, ways] of next.entries()) {
        for (const to of ways.keys()) {
          let here: string | undefined = `r${at}`;
          for (let legs = 0; legs < 2 && here !== to; legs++) here = next[Number(here?.slice(1))]?.get(to);
          expect(here, `r${at} → ${to}`).toBe(to);
        }
      }
    },
  );

  test.prop([anyRegions])('both ends of a pair come to the same result', (regions) => {
    for (const [i, a] of regions.entries()) {
      for (const b of regions.slice(i + 1)) {
        expect(planOf(`${a.name}1`, { regions }).paths.find(({ gateway, via }) => gateway === b.name && via === undefined)?.isPlain).toBe(
          planOf(`${b.name}1`, { regions }).paths.find(({ gateway, via }) => gateway === a.name && via === undefined)?.isPlain,
        );
      }
    }
  });
});
