import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { type Gateway, gatewaySchema } from '../api/gateway.ts';
import { ROUTABLE_DOMAIN_ANNOTATION } from '../api/names.ts';
import { type TunnelEndpoint, tunnelEndpointSchema } from '../api/tunnel-endpoint.ts';
import { cidrContainsIp, parseCidr } from '../net/cidr.ts';
import { parseIp } from '../net/ip.ts';
import { planNodeIps } from './node-ips.ts';
import type { NodePlan } from './node-plan.ts';
import { plan } from './plan.ts';
import { buildSnapshot, regionOfNode, type Snapshot } from './snapshot.ts';

interface RegionInput {
  readonly name: string;
  readonly publicIP?: string;
  readonly domain?: string;
  /** Of `<name>1`, the gateway, `<name>2` and so on; pods of the n-th region's m-th node are 10.244.<10n+m>.0/24. */
  readonly ips: readonly string[];
  readonly subnet?: string;
}

function gateway({ name, publicIP, domain, ips, subnet }: RegionInput, at: number): Gateway {
  const endpoint = { nodeName: `${name}1`, type: 'tunnel', port: 4500, ...(publicIP === undefined ? { underNAT: true } : { publicIP }) };
  return gatewaySchema.parse({
    apiVersion: 'raven.openyurt.io/v1beta1',
    kind: 'Gateway',
    metadata: { name, ...(domain !== undefined && { annotations: { [ROUTABLE_DOMAIN_ANNOTATION]: domain } }) },
    spec: { endpoints: [endpoint] },
    status: {
      nodes: ips.map((privateIP, i) => ({
        nodeName: `${name}${i + 1}`,
        privateIP,
        subnets: [`10.244.${at * 10 + i + 1}.0/24`, ...(subnet === undefined || i > 0 ? [] : [subnet])],
      })),
      activeEndpoints: [endpoint],
    },
  });
}

/** What a1 sees of the other gateways, and b1 of a1. */
function seen(node: string, links: Record<string, string>): TunnelEndpoint {
  return tunnelEndpointSchema.parse({
    apiVersion: 'raven.openyurt.io/v1beta1',
    kind: 'TunnelEndpoint',
    metadata: { name: node },
    spec: { gateway: node[0], nodeName: node, driver: 'ipsec', dataPath: 'kernel', port: 4500, underlayMtu: 1500 },
    status: {
      links: Object.entries(links).map(([peer, ip]) => ({ peer, gateway: peer[0], state: 'Up', path: 'direct', observed: `${ip}:4500` })),
    },
  });
}

const A: RegionInput = { name: 'a', publicIP: '203.0.113.1', ips: ['10.0.1.10', '10.0.1.11'] };
const B: RegionInput = { name: 'b', ips: ['192.168.1.10', '192.168.1.11'] };
const C: RegionInput = { name: 'c', ips: ['192.168.2.10', '192.168.2.11'] };
const SEEN = [seen('a1', { b1: '198.51.100.2', c1: '198.51.100.3' }), seen('b1', { a1: '203.0.113.1' })];
const snapshotOf = (regions: readonly RegionInput[], reports = SEEN): Snapshot => buildSnapshot(regions.map(gateway), reports);

function planOf(node: string, snapshot: Snapshot, options: { forwardNodeIp?: boolean; dataPath?: 'kernel' | 'user' } = {}): NodePlan {
  const { forwardNodeIp = true, dataPath = 'kernel' } = options;
  const prefixes = regionOfNode(snapshot, node)?.nodes.flatMap(({ privateIp }) => parseCidr(`${privateIp}/24`) ?? []) ?? [];
  const facts = {
    underlay: { dev: 'eth0', mtuBytes: 1500, prefixes },
    hostSources: { 4: parseIp('10.244.11.1')! },
    ipv6Forwarding: undefined,
    driver: 'ipsec' as const,
    dataPath,
    forwardNodeIp,
  };
  return plan({ node, snapshot, facts, health: new Map() });
}

const hostRoutes = (p: NodePlan, table: number) =>
  p.routes.filter(({ dst, table: in_ }) => in_ === table && dst.endsWith('/32')).map(({ dst }) => dst);
const of = (snapshot: Snapshot, region: string) =>
  planNodeIps(
    snapshot.regions.find(({ name }) => name === region)!,
    snapshot,
    [],
  );

describe('node addresses', () => {
  it('are routed to their regions from every node, and delivered to the nodes of the own one', () => {
    const snapshot = snapshotOf([A, B, C]);
    const remote = ['10.0.1.10/32', '10.0.1.11/32', '192.168.2.10/32', '192.168.2.11/32'];
    expect(hostRoutes(planOf('b1', snapshot), 9027)).toEqual(remote);
    expect(hostRoutes(planOf('b2', snapshot), 9027)).toEqual(remote);
    expect(hostRoutes(planOf('b1', snapshot), 9028)).toEqual(['192.168.1.11/32']);
    expect(planOf('b2', snapshot).routes.find(({ dst }) => dst === '10.0.1.11/32')?.src).toBe('10.244.11.1');
    expect(planOf('b1', snapshot).nft?.sets.find(({ name }) => name === 'remote4')?.elements).toContain('192.168.2.10/31');
  });

  it('belong to the selectors of user-space tunnels', () => {
    const { tunnels } = planOf('b1', snapshotOf([A, B, C]), { dataPath: 'user' });
    expect(tunnels?.driver === 'ipsec' && tunnels.tunnels[0]?.localTs).toContain('192.168.1.10/31');
  });

  it.each(['kernel', 'user'] as const)('change nothing when they are not forwarded (%s)', (dataPath) => {
    const snapshot = snapshotOf([A, B, C]);
    for (const node of ['a1', 'a2', 'b1', 'b2']) {
      const p = planOf(node, snapshot, { forwardNodeIp: false, dataPath });
      expect(p.routes.filter(({ dst }) => dst.endsWith('/32'))).toEqual([]);
      expect(JSON.stringify(p)).not.toMatch(/192\.168\.[12]\.1[01]\/3[12]/);
    }
  });

  it.each<{ which: string; own: string; regions: RegionInput[]; reports: TunnelEndpoint[]; routed: string[] }>([
    {
      which: 'a gateway on a public address',
      own: 'b',
      regions: [{ ...A, ips: ['203.0.113.1', '203.0.113.2'] }, B],
      reports: SEEN,
      routed: ['203.0.113.2/32'],
    },
    {
      which: 'a gateway seen at its own address, as over a leased line',
      own: 'a',
      regions: [A, { ...B, ips: ['172.16.0.1', '172.16.0.2'] }],
      reports: [seen('a1', { b1: '172.16.0.1' })],
      routed: ['172.16.0.2/32'],
    },
    { which: 'a gateway that nobody has seen yet', own: 'b', regions: [A, B], reports: [], routed: ['10.0.1.11/32'] },
    {
      which: 'a gateway of the same site',
      own: 'b',
      regions: [A, B, C],
      reports: [seen('a1', { b1: '198.51.100.2', c1: '198.51.100.2' }), seen('b1', { a1: '203.0.113.1' })],
      routed: ['10.0.1.10/32', '10.0.1.11/32', '192.168.2.11/32'],
    },
  ])('stay out of the tunnels when they may carry them: $which', ({ own, regions, reports, routed }) => {
    const { byRegion } = of(snapshotOf(regions, reports), own);
    expect([...byRegion].filter(([name]) => name !== own).flatMap(([, cidrs]) => cidrs)).toEqual(routed);
  });

  it('that two regions have are refused in words that name both, the others work (R6)', () => {
    const snapshot = snapshotOf([A, B, { ...C, ips: ['192.168.1.10', '192.168.2.11'] }]);
    for (const node of ['a1', 'b1', 'b2', 'c1']) {
      const p = planOf(node, snapshot);
      expect(p.findings).toContainEqual({
        reason: 'NodeAddressDuplicate',
        message: 'node addresses that several regions use are not forwarded: 192.168.1.10 (regions b, c)',
      });
      expect(p.routes.map(({ dst }) => dst)).not.toContain('192.168.1.10/32');
    }
    expect(hostRoutes(planOf('a2', snapshot), 9027)).toEqual(['192.168.1.11/32', '192.168.2.11/32']);
  });

  it('inside pod CIDRs are refused', () => {
    const { byRegion, findings } = of(snapshotOf([A, B, { ...C, subnet: '192.168.1.0/28' }]), 'a');
    expect(byRegion.get('b')).toEqual([]);
    expect(findings).toEqual([
      {
        reason: 'NodeAddressInPodCIDR',
        message: 'node addresses inside the pod CIDRs of a region are not forwarded: 192.168.1.10, 192.168.1.11',
      },
    ]);
  });

  it('inside pod CIDRs are never called: that tunnel would lead into itself', () => {
    const hidden: RegionInput = { name: 'a', ips: A.ips, subnet: '192.168.1.0/28' };
    const reports = [seen('c1', { a1: '198.51.100.2', b1: '198.51.100.2' })];
    const calls = (ip: string): unknown =>
      planOf('a1', snapshotOf([hidden, { ...B, ips: [ip] }, C], reports)).tunnels?.tunnels.map(({ peer, remote }) => [peer, remote?.ip]);
    expect(calls('192.168.1.20')).toContainEqual(['b1', '192.168.1.20']);
    expect(calls('192.168.1.10')).not.toContainEqual(['b1', '192.168.1.10']);
  });

  it('on the own LAN stay on it', () => {
    expect(hostRoutes(planOf('b2', snapshotOf([A, B, { ...C, ips: ['192.168.1.20', '192.168.2.11'] }])), 9027)).toEqual([
      '10.0.1.10/32',
      '10.0.1.11/32',
      '192.168.2.11/32',
    ]);
  });

  it('of a routable region are left to the network, but passed on for others', () => {
    const snapshot = snapshotOf([{ ...A, domain: 'x' }, B, { ...C, domain: 'x' }]);
    const p = planOf('a1', snapshot);
    expect(hostRoutes(p, 9027)).toEqual(['192.168.1.10/32', '192.168.1.11/32']);
    expect(hostRoutes(p, 9028)).toEqual(['10.0.1.11/32', '192.168.2.10/32', '192.168.2.11/32']);
  });

  it('are named only so many at a time', () => {
    const ips = Array.from({ length: 30 }, (_, i) => `192.168.7.${i + 1}`);
    const [finding] = of(snapshotOf([A, { ...B, ips }, { ...C, ips }]), 'a').findings;
    expect(finding?.message).toMatch(/192\.168\.7\.10 \(regions b, c\), .* and 22 more$/);
  });

  const anyIp = fc.constantFrom(
    '10.0.1.10',
    '192.168.1.10',
    '192.168.1.11',
    '192.168.2.10',
    '203.0.113.1',
    '203.0.113.2',
    '10.244.1.7',
    'fd00::1',
    '',
    '127.0.0.1',
  );
  const anyRegion = fc.record({
    ips: fc.array(anyIp, { minLength: 1, maxLength: 3 }),
    isPublic: fc.boolean(),
    domain: fc.constantFrom(undefined, 'x'),
  });
  const anySeen = fc.array(fc.tuple(fc.nat({ max: 3 }), fc.nat({ max: 3 }), anyIp), { maxLength: 5 });

  test.prop([fc.array(anyRegion, { minLength: 2, maxLength: 4 }), anySeen])(
    'no packet to a gateway that is called, and none between nodes of one region, is ever routed into the overlay',
    (inputs, sights) => {
      const names = ['a', 'b', 'c', 'd'];
      const regions = inputs.map(({ ips, isPublic, domain }, at) => ({
        name: names[at]!,
        ips,
        ...(isPublic && { publicIP: `203.0.113.${at + 1}` }),
        ...(domain !== undefined && { domain }),
      }));
      const reports = names.map((name, at) =>
        seen(`${name}1`, Object.fromEntries(sights.filter(([by]) => by === at).map(([, peer, ip]) => [`${names[peer]}1`, ip]))),
      );
      const snapshot = snapshotOf(regions, reports);
      for (const own of snapshot.regions) {
        for (const { name } of own.nodes) {
          const p = planOf(name, snapshot);
          const targets = p.routes.filter(({ table }) => table === 9027).map(({ dst }) => dst);
          const outer = [...(p.tunnels?.tunnels ?? []).flatMap(({ remote }) => remote?.ip ?? []), ...p.fdb.map(({ dst }) => dst)];
          for (const ip of outer) expect(targets.filter((dst) => cidrContainsIp(dst, ip))).toEqual([]);
        }
      }
    },
  );
});
