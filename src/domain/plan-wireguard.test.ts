import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { type Gateway, gatewaySchema } from '../api/gateway.ts';
import { type TunnelEndpoint, tunnelEndpointSchema } from '../api/tunnel-endpoint.ts';
import type { Cidr } from '../net/cidr.ts';
import type { Ip } from '../net/ip.ts';
import type { DataPath, NodePlan, VpnDriver } from './node-plan.ts';
import { formatLink, formatRoute } from './node-plan.ts';
import { plan } from './plan.ts';
import { buildSnapshot } from './snapshot.ts';
import { diffWireguard, EMPTY_DEVICE, formatWgChange } from './wireguard-diff.ts';

const keyOf = (node: string): string => Buffer.alloc(32, node).toString('base64');

function region(name: string, ip: string, publicIP?: string): Gateway {
  const endpoint = { nodeName: `${name}1`, type: 'tunnel', port: 4500, ...(publicIP === undefined ? { underNAT: true } : { publicIP }) };
  const digit = name.charCodeAt(0) - 96;
  return gatewaySchema.parse({
    apiVersion: 'raven.openyurt.io/v1beta1',
    kind: 'Gateway',
    metadata: { name, creationTimestamp: '2025-01-01T00:00:00Z' },
    spec: { endpoints: [endpoint] },
    status: {
      nodes: [{ nodeName: `${name}1`, privateIP: ip, subnets: [`10.244.${digit}.0/24`] }],
      activeEndpoints: [endpoint],
    },
  });
}

interface Report {
  readonly driver?: string;
  readonly publicKey?: string;
  readonly underlayMtu?: number;
  /** Peers and where they are seen. */
  readonly sees?: Readonly<Record<string, string>>;
}

function report(
  node: string,
  { driver = 'wireguard', publicKey = keyOf(node), underlayMtu = 1500, sees = {} }: Report = {},
): TunnelEndpoint {
  const links = Object.entries(sees).map(([peer, observed]) => ({ peer, gateway: peer[0], state: 'Up', path: 'direct', observed }));
  return tunnelEndpointSchema.parse({
    apiVersion: 'raven.openyurt.io/v1beta1',
    kind: 'TunnelEndpoint',
    metadata: { name: node },
    spec: { gateway: node[0], nodeName: node, driver, dataPath: 'kernel', port: 4500, underlayMtu, ...(publicKey !== '' && { publicKey }) },
    status: { links },
  });
}

const A = region('a', '203.0.113.1', '203.0.113.1');
const B = region('b', '192.168.1.10');
const C = region('c', '192.168.1.10');
const ALL = ['a1', 'b1', 'c1'].map((node) => report(node));

interface Options {
  readonly endpoints?: readonly TunnelEndpoint[];
  readonly up?: readonly string[];
  readonly dataPath?: DataPath;
  readonly driver?: VpnDriver;
  readonly underlayMtu?: number;
}

function planOf(node: string, gateways: readonly Gateway[], options: Options = {}): NodePlan {
  const { endpoints = ALL, up = [], dataPath = 'kernel', driver = 'wireguard', underlayMtu = 1500 } = options;
  return plan({
    node,
    snapshot: buildSnapshot(gateways, endpoints),
    facts: {
      underlay: { dev: 'eth0', mtuBytes: underlayMtu, prefixes: ['192.168.1.0/24' as Cidr] },
      hostSources: { 4: `10.244.${node.charCodeAt(0) - 96}.1` as Ip },
      ipv6Forwarding: undefined,
      driver,
      dataPath,
    },
    health: new Map(up.map((peer) => [peer, { up: true, stuck: false }])),
  });
}

function printed({ links, routes, tunnels, findings }: NodePlan): string {
  const names = new Map(['a1', 'b1', 'c1'].map((node) => [keyOf(node), node]));
  const goal = { publicKey: undefined, presharedKeys: undefined, endpointsSet: new Map(), stuck: new Set<string>() };
  const peers = tunnels?.driver === 'wireguard' ? diffWireguard(EMPTY_DEVICE, { ...goal, plan: tunnels }).map(formatWgChange) : [];
  return [
    ...links.filter(({ name }) => name.startsWith('raven-wg')).map(formatLink),
    ...routes.filter(({ nexthopId }) => nexthopId !== undefined).map((route) => formatRoute(route).replace(/nhid \d+/, 'nhid N')),
    ...peers.map((line) => line.replaceAll(/\S{43}=/g, (key) => names.get(key) ?? key)),
    ...findings.map(({ reason, gateway, message }) => `${reason} ${gateway}: ${message}`),
  ].join('\n');
}

describe('the plan with WireGuard', () => {
  it('gives a NATed gateway one peer that leads to all regions, kept alive', () => {
    expect(printed(planOf('b1', [A, B, C]))).toMatchInlineSnapshot(`
      "raven-wg0 mtu 1440 group 9027 type wireguard
      10.244.1.0/24 nhid N table 9027 src 10.244.2.1
      10.244.3.0/24 nhid N table 9027 src 10.244.2.1
      wg set raven-wg0 listen-port 4500
      wg set raven-wg0 peer a1 endpoint 203.0.113.1:4500 persistent-keepalive 25 allowed-ips 10.244.1.0/24,10.244.3.0/24"
    `);
  });

  it('gives the relay each region by its own gateway, to which it can only wait to be called', () => {
    expect(printed(planOf('a1', [A, B, C]))).toMatchInlineSnapshot(`
      "raven-wg0 mtu 1440 group 9027 type wireguard
      10.244.2.0/24 nhid N table 9027 src 10.244.1.1
      10.244.3.0/24 nhid N table 9027 src 10.244.1.1
      wg set raven-wg0 listen-port 4500
      wg set raven-wg0 peer b1 allowed-ips 10.244.2.0/24
      wg set raven-wg0 peer c1 allowed-ips 10.244.3.0/24"
    `);
  });

  it('moves a region behind the same NAT from the relay to its own gateway once that tunnel is up', () => {
    const near = region('c', '192.168.1.30');
    const endpoints = [report('a1', { sees: { b1: '198.51.100.2:4500', c1: '198.51.100.2:4501' } }), report('b1'), report('c1')];
    const allowedOf = (up: readonly string[]) =>
      planOf('b1', [A, B, near], { endpoints, up }).tunnels?.tunnels.map((each) => [
        each.peer,
        each.remote?.ip,
        'allowedIps' in each && each.allowedIps,
      ]);
    expect(allowedOf([])).toEqual([
      ['a1', '203.0.113.1', ['10.244.1.0/24', '10.244.3.0/24']],
      ['c1', '192.168.1.30', []],
    ]);
    expect(allowedOf(['c1'])).toEqual([
      ['a1', '203.0.113.1', ['10.244.1.0/24']],
      ['c1', '192.168.1.30', ['10.244.3.0/24']],
    ]);
  });

  it.each<[string, DataPath, number]>([
    ['exactly, where the kernel fills packets up to the MTU of their route', 'kernel', 1240],
    ['in steps of 16, where wireguard-go fills them up to that of the device', 'user', 1232],
  ])('fits the smallest underlay of a way: %s', (_, dataPath, mtuBytes) => {
    const endpoints = [report('a1'), report('b1'), report('c1', { underlayMtu: 1300 })];
    const { links, routes } = planOf('b1', [A, B, C], { endpoints, dataPath });
    expect(links.find(({ name }) => name === 'raven-wg0')).toMatchObject({
      type: dataPath === 'kernel' ? 'wireguard' : 'tun',
      mtuBytes: 1440,
    });
    expect(routes.filter(({ table }) => table === 9027).map(({ dst, mtuBytes: mtu }) => [dst, mtu])).toEqual([
      ['10.244.1.0/24', undefined],
      ['10.244.3.0/24', mtuBytes],
    ]);
  });

  it('has no tunnel to a gateway with another driver, names both, and keeps the rest', () => {
    const endpoints = [report('a1'), report('b1'), report('c1', { driver: 'ipsec', publicKey: '' })];
    const mixed = planOf('a1', [A, B, C], { endpoints });
    expect(mixed.tunnels?.tunnels.map(({ peer }) => peer)).toEqual(['b1']);
    expect(mixed.findings).toEqual([
      {
        reason: 'VpnDriverDiffers',
        gateway: 'c',
        message: 'gateway c1 of region c uses the VPN driver ipsec, a1 uses wireguard: no tunnel between the two',
      },
    ]);
    expect(mixed.routes.filter(({ table }) => table === 9027).map(({ dst }) => dst)).toEqual(['10.244.2.0/24']);
    const other = planOf('c1', [A, B, C], { endpoints, driver: 'ipsec' });
    expect(other.tunnels?.tunnels).toEqual([]);
    expect(other.findings.map(({ reason, gateway }) => `${reason} ${gateway}`)).toEqual(['VpnDriverDiffers a', 'VpnDriverDiffers b']);
  });

  it.each<[string, Report, RegExp]>([
    ['has published no key yet', { publicKey: '' }, /^gateway c1 of region c has not published its WireGuard key yet/],
    ['has the key of another', { publicKey: keyOf('b1') }, /^gateway c1 of region c has the same WireGuard key as b1/],
    ['has our key', { publicKey: keyOf('a1') }, /^gateway c1 of region c has the same WireGuard key as a1/],
  ])('has no tunnel to a gateway that %s', (_, c1, message) => {
    const { tunnels, findings } = planOf('a1', [A, B, C], { endpoints: [report('a1'), report('b1'), report('c1', c1)] });
    expect(tunnels?.tunnels.map(({ peer }) => peer)).toEqual(['b1']);
    expect(findings).toEqual([{ reason: 'PeerKeyMissing', gateway: 'c', message: expect.stringMatching(message) as string }]);
  });

  const arbitraryReport = fc.record({
    driver: fc.constantFrom('wireguard', 'ipsec', ''),
    publicKey: fc.constantFrom(keyOf('a1'), keyOf('b1'), keyOf('d1'), 'none', ''),
    underlayMtu: fc.constantFrom(1500, 1280, 0),
  });

  test.prop([
    fc.array(arbitraryReport, { minLength: 4, maxLength: 4 }),
    fc.subarray(['a1', 'b1', 'c1', 'd1']),
    fc.constantFrom<DataPath>('kernel', 'user'),
  ])('gives each prefix to one peer only, each route a peer, and no key twice, whatever the reports say', (reports, up, dataPath) => {
    const D = region('d', '203.0.113.9', '203.0.113.9');
    const endpoints = reports.map((each, i) => report(`${'abcd'[i]}1`, each));
    for (const node of ['a1', 'b1', 'c1', 'd1']) {
      const made = planOf(node, [A, B, C, D], { endpoints, up, dataPath });
      expect(planOf(node, [D, C, B, A], { endpoints: endpoints.toReversed(), up, dataPath })).toEqual(made);
      if (made.tunnels?.driver !== 'wireguard') expect.unreachable();
      else {
        const { tunnels } = made.tunnels;
        const prefixes = tunnels.flatMap(({ allowedIps }) => allowedIps);
        expect(new Set(prefixes).size).toBe(prefixes.length);
        expect(new Set(tunnels.map(({ publicKey }) => publicKey)).size).toBe(tunnels.length);
        const routed = made.routes.filter(({ table }) => table === 9027).map(({ dst }) => dst);
        expect(routed.toSorted()).toEqual(prefixes.toSorted());
      }
    }
  });
});
