import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { type Gateway, gatewaySchema } from '../api/gateway.ts';
import { type TunnelAddress, type TunnelEndpoint, tunnelEndpointSchema } from '../api/tunnel-endpoint.ts';
import { parseCidr } from '../net/cidr.ts';
import { FAMILIES, type Family, familyOf, parseIp } from '../net/ip.ts';
import type { LocalFacts } from './facts.ts';
import { formatFdb, formatLink, formatNeighbour, formatNexthop, formatRoute, formatRule, type NodePlan } from './node-plan.ts';
import { plan } from './plan.ts';
import { buildSnapshot } from './snapshot.ts';

/** One plan of both families: pods, and the network below. */

interface NodeInput {
  readonly ip: string;
  readonly subnets: readonly string[];
}

function gateway(name: string, nodes: Readonly<Record<string, NodeInput>>, endpoint: { publicIP?: string; underNAT?: boolean }): Gateway {
  const endpoints = [{ nodeName: Object.keys(nodes)[0], type: 'tunnel', port: 4500, ...endpoint }];
  return gatewaySchema.parse({
    apiVersion: 'raven.openyurt.io/v1beta1',
    kind: 'Gateway',
    metadata: { name },
    spec: { endpoints },
    status: {
      nodes: Object.entries(nodes).map(([nodeName, { ip, subnets }]) => ({ nodeName, privateIP: ip, subnets })),
      activeEndpoints: endpoints,
    },
  });
}

function reportOf(region: string, node: string, addresses: readonly string[]): TunnelEndpoint {
  return tunnelEndpointSchema.parse({
    apiVersion: 'raven.openyurt.io/v1beta1',
    kind: 'TunnelEndpoint',
    metadata: { name: node },
    spec: {
      gateway: region,
      nodeName: node,
      driver: 'ipsec',
      dataPath: 'kernel',
      port: 4500,
      underlayMtu: 1500,
      addresses: addresses.map(
        (ip) => ({ type: ip.startsWith('192.168.') ? 'Private' : 'Public', ip, port: 4500 }) satisfies TunnelAddress,
      ),
    },
  });
}

const facts = (changes: Partial<LocalFacts> = {}): LocalFacts => ({
  underlay: { dev: 'eth0', mtuBytes: 1500, prefixes: [] },
  hostSources: { 4: parseIp('10.244.3.1')!, 6: parseIp('fd00:3::1')! },
  ipv6Forwarding: true,
  driver: 'ipsec',
  dataPath: 'kernel',
  ...changes,
});

function planOf(
  node: string,
  gateways: readonly Gateway[],
  changes: Partial<LocalFacts> = {},
  endpoints: readonly TunnelEndpoint[] = [],
): NodePlan {
  return plan({ node, snapshot: buildSnapshot(gateways, endpoints), facts: facts(changes), health: new Map() });
}

function printed(p: NodePlan): string {
  return [
    ...p.links.map(formatLink),
    ...p.fdb.map(formatFdb),
    ...p.neighbours.map(formatNeighbour),
    ...p.nexthops.map((each) => `${each.family === 6 ? '-6 ' : ''}${formatNexthop(each)}`),
    ...p.routes.map(formatRoute),
    ...p.rules.map((each) => `${each.family === 6 ? '-6 ' : ''}${formatRule(each)}`),
    ...p.sysctls.map(({ key, value }) => `${key}=${value}`),
    ...(p.nft?.sets.map(({ name, elements }) => `${name} { ${elements.join(', ')} }`) ?? []),
    ...(p.nft?.chains.flatMap(({ name, rules }) => rules.map((rule) => `${name}: ${rule}`)) ?? []),
    ...(p.tunnels?.driver === 'ipsec'
      ? p.tunnels.tunnels.map((t) => `${t.peer} ${t.initiate ? 'call' : 'wait'} ${t.remote?.ip ?? 'any'}`)
      : []),
    ...p.findings.map(({ reason, message }) => `! ${reason}: ${message}`),
  ].join('\n');
}

const both = (n: number): string[] => [`10.244.${n}.0/24`, `fd00:${n}::/64`];
const A = gateway(
  'a',
  { a1: { ip: '203.0.113.1', subnets: both(1) }, a2: { ip: '203.0.113.2', subnets: both(2) } },
  { publicIP: '203.0.113.1' },
);
const B = gateway('b', { b1: { ip: '192.168.1.10', subnets: both(3) }, b2: { ip: '192.168.1.11', subnets: both(4) } }, { underNAT: true });
const C4 = gateway('c', { c1: { ip: '192.168.1.10', subnets: ['10.244.5.0/24'] } }, { underNAT: true });

/** IPv6 and nothing else. */
const A6 = gateway(
  'a',
  { a1: { ip: '2001:db8:a::1', subnets: ['fd00:1::/64'] }, a2: { ip: '2001:db8:a::2', subnets: ['fd00:2::/64'] } },
  { publicIP: '2001:db8:a::1' },
);
const B6 = gateway(
  'b',
  { b1: { ip: '2001:db8:b::10', subnets: ['fd00:3::/64'] }, b2: { ip: '2001:db8:b::11', subnets: ['fd00:4::/64'] } },
  { underNAT: true },
);

describe('a plan of both families', () => {
  it('has a next hop for each family on an ordinary node of a network with IPv4 alone', () => {
    expect(printed(planOf('b2', [A, B]))).toMatchInlineSnapshot(`
      "raven0 mtu 1450 address 02:2a:fe:56:a6:ea type vxlan id 200 local 192.168.1.11 dev eth0 dstport 4472 nolearning
      02:59:d4:19:22:f8 dev raven0 dst 192.168.1.10 self permanent
      192.168.1.10 lladdr 02:59:d4:19:22:f8 dev raven0 nud permanent
      fe80::59:d4ff:fe19:22f8 lladdr 02:59:d4:19:22:f8 dev raven0 nud permanent
      -6 id 1381403667 via fe80::59:d4ff:fe19:22f8 dev raven0 onlink
      id 1381409762 via 192.168.1.10 dev raven0 onlink
      10.244.1.0/24 nhid 1381409762 table 9027 src 10.244.3.1
      10.244.2.0/24 nhid 1381409762 table 9027 src 10.244.3.1
      fd00:1::/64 nhid 1381403667 table 9027 src fd00:3::1
      fd00:2::/64 nhid 1381403667 table 9027 src fd00:3::1
      pref 100 lookup 9027
      -6 pref 100 lookup 9027
      net/ipv4/conf/raven0/forwarding=1
      net/ipv4/conf/raven0/rp_filter=2
      net/ipv6/conf/raven0/accept_ra=0
      net/ipv6/conf/raven0/disable_ipv6=0
      net/ipv6/conf/raven0/forwarding=1
      own4 { 10.244.4.0/24 }
      remote4 { 10.244.1.0/24, 10.244.2.0/24 }
      own6 { fd00:4::/64 }
      remote6 { fd00:1::/64, fd00:2::/64 }
      forward: oifname "raven0" tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu
      forward: oifgroup 9027 tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu
      postrouting: ip saddr @own4 ip daddr @remote4 snat ip to ip saddr
      postrouting: ip saddr @remote4 ip daddr @own4 snat ip to ip saddr
      postrouting: ip daddr @remote4 ct status dnat snat ip to 10.244.3.1
      postrouting: ip daddr @remote4 fib saddr type local snat ip to 10.244.3.1
      postrouting: ip6 saddr @own6 ip6 daddr @remote6 snat ip6 to ip6 saddr
      postrouting: ip6 saddr @remote6 ip6 daddr @own6 snat ip6 to ip6 saddr
      postrouting: ip6 daddr @remote6 ct status dnat snat ip6 to fd00:3::1
      postrouting: ip6 daddr @remote6 fib saddr type local snat ip6 to fd00:3::1"
    `);
  });

  it('has all of both on a gateway, and names a region that lacks one', () => {
    expect(printed(planOf('b1', [A, B, C4]))).toMatchInlineSnapshot(`
      "raven0 mtu 1450 address 02:59:d4:19:22:f8 type vxlan id 200 local 192.168.1.10 dev eth0 dstport 4472 nolearning
      rvn-a1 mtu 1438 group 9027 type xfrm dev eth0 if_id 1378138279
      02:2a:fe:56:a6:ea dev raven0 dst 192.168.1.11 self permanent
      192.168.1.11 lladdr 02:2a:fe:56:a6:ea dev raven0 nud permanent
      fe80::2a:feff:fe56:a6ea lladdr 02:2a:fe:56:a6:ea dev raven0 nud permanent
      id 1381378348 dev rvn-a1
      id 1381379154 dev rvn-a1
      -6 id 1381432861 dev rvn-a1
      10.244.1.0/24 nhid 1381378348 table 9027 src 10.244.3.1
      10.244.2.0/24 nhid 1381378348 table 9027 src 10.244.3.1
      10.244.5.0/24 nhid 1381379154 table 9027 src 10.244.3.1
      fd00:1::/64 nhid 1381432861 table 9027 src fd00:3::1
      fd00:2::/64 nhid 1381432861 table 9027 src fd00:3::1
      10.244.4.0/24 via 192.168.1.11 dev raven0 onlink table 9028
      fd00:4::/64 via fe80::2a:feff:fe56:a6ea dev raven0 onlink table 9028
      pref 100 lookup 9027
      -6 pref 100 lookup 9027
      pref 101 fwmark 0x40/0x40 lookup 9028
      -6 pref 101 fwmark 0x40/0x40 lookup 9028
      net/ipv4/conf/raven0/forwarding=1
      net/ipv4/conf/raven0/rp_filter=2
      net/ipv4/conf/rvn-a1/forwarding=1
      net/ipv4/conf/rvn-a1/rp_filter=2
      net/ipv6/conf/raven0/accept_ra=0
      net/ipv6/conf/raven0/disable_ipv6=0
      net/ipv6/conf/raven0/forwarding=1
      net/ipv6/conf/rvn-a1/accept_ra=0
      net/ipv6/conf/rvn-a1/disable_ipv6=0
      net/ipv6/conf/rvn-a1/forwarding=1
      own4 { 10.244.3.0/24 }
      remote4 { 10.244.1.0/24, 10.244.2.0/24, 10.244.5.0/24 }
      own6 { fd00:3::/64 }
      remote6 { fd00:1::/64, fd00:2::/64 }
      untracked: iifgroup 9027 ip daddr != @own4 fib daddr type != local notrack
      untracked: iifgroup 9027 ip6 daddr != @own6 fib daddr type != local notrack
      untracked: iifname != "raven0" accept
      untracked: ip daddr @remote4 notrack accept
      untracked: ip saddr @remote4 ip daddr != @own4 fib daddr type != local notrack
      untracked: ip6 daddr @remote6 notrack accept
      untracked: ip6 saddr @remote6 ip6 daddr != @own6 fib daddr type != local notrack
      from_tunnel: iifgroup 9027 meta mark set meta mark | 0x40 accept
      from_tunnel: iifname != "raven0" accept
      from_tunnel: ip saddr @remote4 meta mark set meta mark | 0x40
      from_tunnel: ip6 saddr @remote6 meta mark set meta mark | 0x40
      forward: oifgroup 9027 tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu
      forward: oifname != "raven0" accept
      forward: meta mark set meta mark & 0xffffffbf
      forward: tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu
      postrouting: ip saddr @own4 ip daddr @remote4 snat ip to ip saddr
      postrouting: ip saddr @remote4 ip daddr @own4 snat ip to ip saddr
      postrouting: ip daddr @remote4 ct status dnat snat ip to 10.244.3.1
      postrouting: ip daddr @remote4 fib saddr type local snat ip to 10.244.3.1
      postrouting: ip6 saddr @own6 ip6 daddr @remote6 snat ip6 to ip6 saddr
      postrouting: ip6 saddr @remote6 ip6 daddr @own6 snat ip6 to ip6 saddr
      postrouting: ip6 daddr @remote6 ct status dnat snat ip6 to fd00:3::1
      postrouting: ip6 daddr @remote6 fib saddr type local snat ip6 to fd00:3::1
      a1 call 203.0.113.1
      ! FamilyNotCarried: IPv6 is not carried between regions b and c: b has IPv6 pod CIDRs and c has none"
    `);
  });

  it('is all IPv6 over IPv6, with room for the longer headers', () => {
    expect(printed(planOf('b1', [A6, B6], { hostSources: { 6: parseIp('fd00:3::1')! } }))).toMatchInlineSnapshot(`
      "raven0 mtu 1430 address 02:59:d4:19:22:f8 type vxlan id 200 local 2001:db8:b::10 dev eth0 dstport 4472 nolearning
      rvn-a1 mtu 1418 group 9027 type xfrm dev eth0 if_id 1378138279
      02:2a:fe:56:a6:ea dev raven0 dst 2001:db8:b::11 self permanent
      fe80::2a:feff:fe56:a6ea lladdr 02:2a:fe:56:a6:ea dev raven0 nud permanent
      -6 id 1381432861 dev rvn-a1
      fd00:1::/64 nhid 1381432861 table 9027 src fd00:3::1
      fd00:2::/64 nhid 1381432861 table 9027 src fd00:3::1
      fd00:4::/64 via fe80::2a:feff:fe56:a6ea dev raven0 onlink table 9028
      -6 pref 100 lookup 9027
      -6 pref 101 fwmark 0x40/0x40 lookup 9028
      net/ipv6/conf/raven0/accept_ra=0
      net/ipv6/conf/raven0/disable_ipv6=0
      net/ipv6/conf/raven0/forwarding=1
      net/ipv6/conf/rvn-a1/accept_ra=0
      net/ipv6/conf/rvn-a1/disable_ipv6=0
      net/ipv6/conf/rvn-a1/forwarding=1
      own6 { fd00:3::/64 }
      remote6 { fd00:1::/64, fd00:2::/64 }
      untracked: iifgroup 9027 ip6 daddr != @own6 fib daddr type != local notrack
      untracked: iifname != "raven0" accept
      untracked: ip6 daddr @remote6 notrack accept
      untracked: ip6 saddr @remote6 ip6 daddr != @own6 fib daddr type != local notrack
      from_tunnel: iifgroup 9027 meta mark set meta mark | 0x40 accept
      from_tunnel: iifname != "raven0" accept
      from_tunnel: ip6 saddr @remote6 meta mark set meta mark | 0x40
      forward: oifgroup 9027 tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu
      forward: oifname != "raven0" accept
      forward: meta mark set meta mark & 0xffffffbf
      forward: tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu
      postrouting: ip6 saddr @own6 ip6 daddr @remote6 snat ip6 to ip6 saddr
      postrouting: ip6 saddr @remote6 ip6 daddr @own6 snat ip6 to ip6 saddr
      postrouting: ip6 daddr @remote6 ct status dnat snat ip6 to fd00:3::1
      postrouting: ip6 daddr @remote6 fib saddr type local snat ip6 to fd00:3::1
      a1 call 2001:db8:a::1"
    `);
  });

  it('carries IPv4 pods over nodes with IPv6 by stand-ins, one for each node', () => {
    const nodes = Object.fromEntries(
      Array.from({ length: 40 }, (_, i) => [`b${i}`, { ip: `2001:db8:b::${i + 1}`, subnets: [`10.3.${i}.0/24`] }]),
    );
    const b = gateway('b', nodes, { underNAT: true });
    const { neighbours, routes, rules, fdb } = planOf('b0', [A, b]);
    expect(rules.every(({ family }) => family === 4)).toBe(true);
    expect(new Set(neighbours.map(({ ip }) => ip)).size).toBe(39);
    expect(neighbours.every(({ ip }) => ip.startsWith('169.254.'))).toBe(true);
    expect(fdb.every(({ dst }) => familyOf(dst) === 6)).toBe(true);
    const vias = routes.flatMap(({ via }) => via ?? []);
    expect(vias.toSorted()).toEqual(neighbours.map(({ ip }) => ip).toSorted());
  });
});

describe('what cannot be carried in IPv6 is said, and IPv4 goes on', () => {
  const v4 = planOf('b2', [A, B].map(withoutIpv6), { ipv6Forwarding: undefined });
  const isV4Alone = (p: NodePlan): void => expect({ ...p, findings: [] }).toEqual({ ...v4, findings: [] });

  it('by a kernel without it', () => {
    const p = planOf('b2', [A, B], { ipv6Forwarding: undefined });
    isV4Alone({ ...p, routes: p.routes });
    expect(p.findings).toEqual([{ reason: 'FamilyNotCarried', message: 'IPv6 is not carried by this node: its kernel has no IPv6' }]);
  });

  it('through devices that are too narrow for it', () => {
    const underlay = { dev: 'eth0', mtuBytes: 1320, prefixes: [] };
    expect(planOf('b2', [A, B], { underlay }).findings.map(({ message }) => message)).toEqual([
      'IPv6 is not carried by this node: 1270 bytes are left in raven0, and IPv6 needs 1280; give the underlay a larger MTU',
    ]);
    const narrowTunnel = planOf('b1', [A, B], { underlay: { ...underlay, mtuBytes: 1340 } });
    expect(narrowTunnel.findings).toEqual([
      {
        reason: 'FamilyNotCarried',
        gateway: 'a',
        message:
          'IPv6 is not carried to region a: the tunnel takes packets of 1278 bytes, and IPv6 needs 1280; give the underlay a larger MTU',
      },
    ]);
    expect(narrowTunnel.routes.filter(({ table }) => table === 9027).map(({ dst }) => familyOf(dst))).toEqual([4, 4]);
    expect(narrowTunnel.sysctls.map(({ key }) => key)).not.toContain('net/ipv6/conf/rvn-a1/disable_ipv6');
  });

  it('by a host that forwards none, whose setting is left to it', () => {
    const p = planOf('b2', [A, B], { ipv6Forwarding: false });
    expect(p.findings.map(({ reason }) => reason)).toEqual(['IPv6ForwardingOff']);
    expect(p.sysctls.some(({ key }) => key.includes('/all/'))).toBe(false);
  });

  it('to a node of the region whose address is of the other family', () => {
    const mixed = gateway('b', { b1: { ip: '192.168.1.10', subnets: both(3) }, b2: { ip: '2001:db8:b::11', subnets: both(4) } }, {});
    const { fdb, findings } = planOf('b1', [A, mixed]);
    expect(fdb).toEqual([]);
    expect(findings.map(({ reason }) => reason)).toContain('UnderlayFamilyDiffers');
  });

  function withoutIpv6(each: Gateway): Gateway {
    const nodes = each.status?.nodes.map((node) => ({ ...node, subnets: node.subnets.filter((text) => !text.includes(':')) }));
    return gatewaySchema.parse({ ...each, status: { ...each.status, nodes } });
  }
});

describe('the family of a tunnel', () => {
  const dual = reportOf('a', 'a1', ['203.0.113.1', '2001:db8:a::1']);
  const remoteOf = (node: string, gateways: readonly Gateway[], endpoints: readonly TunnelEndpoint[] = []) =>
    planOf(node, gateways, {}, endpoints).tunnels?.tunnels.map(({ remote }) => remote?.ip ?? 'any');

  it('is IPv4 when both ends have it, else IPv6', () => {
    expect(remoteOf('b1', [A, B], [dual, reportOf('b', 'b1', ['192.168.1.10', '2001:db8:b::10'])])).toEqual(['203.0.113.1']);
    expect(remoteOf('b1', [A, B6], [dual])).toEqual(['2001:db8:a::1']);
    expect(remoteOf('a1', [A, B6], [dual])).toEqual(['any']);
    expect(planOf('a1', [A, B6], {}, [dual]).links.find(({ name }) => name === 'rvn-b1')?.mtuBytes).toBe(1418);
  });

  it('is none when they have none in common: another public region with both relays', () => {
    const z = gateway('z', { z1: { ip: '203.0.113.9', subnets: both(9) } }, { publicIP: '203.0.113.9' });
    const zDual = reportOf('z', 'z1', ['203.0.113.9', '2001:db8:f::9']);
    expect(planOf('b1', [A, B6]).paths).toEqual([]);
    expect(planOf('b1', [A, B6]).findings.map(({ reason }) => reason)).toContain('RegionUnreachable');
    expect(planOf('b1', [A, B6, z], {}, [zDual]).paths.map(({ gateway: to, via }) => `${to} ${via ?? 'direct'}`)).toEqual([
      'a z1',
      'z direct',
    ]);
    expect(planOf('a1', [A, B6, z], {}, [zDual]).paths.map(({ gateway: to, via }) => `${to} ${via ?? 'direct'}`)).toEqual([
      'b z1',
      'z direct',
    ]);
  });

  it('is not taken from a global IPv6 address beside a private IPv4 one, which says nothing of who can call it', () => {
    const withV6 = reportOf('b', 'b1', ['192.168.1.10', '2001:db8:b::10']);
    const open = gateway('b', { b1: { ip: '192.168.1.10', subnets: both(3) } }, {});
    expect(remoteOf('a1', [A, open], [withV6])).toEqual(['any']);
  });
});

describe('properties in both families', () => {
  const subnets = fc.subarray(['10.244.10.0/24', 'fd00:10::/64', '10.244.11.0/24', 'fd00:11::/64', 'fd00:12::/48', 'x', '::/0']);
  const anyNode = fc.record({ ip: fc.constantFrom('192.168.1.10', '2001:db8:f::10', '', 'fe80::1'), subnets });
  const anyRegion = (name: string) =>
    fc
      .tuple(anyNode, anyNode, fc.constantFrom({}, { underNAT: true }, { publicIP: '198.51.100.9' }, { publicIP: '2001:db8:f::10' }))
      .map(([first, second, endpoint]) => gateway(name, { [`${name}1`]: first, [`${name}2`]: second }, endpoint));
  const anyFacts = fc.record({
    ipv6Forwarding: fc.constantFrom(true, false, undefined),
    dataPath: fc.constantFrom('kernel' as const, 'user' as const),
    underlay: fc
      .constantFrom(1500, 1400, 1330, 1280, 600)
      .map((mtuBytes) => ({ dev: 'eth0', mtuBytes, prefixes: [parseCidr('192.168.1.0/24')!] })),
  });
  const anyCase = fc.tuple(anyRegion('a'), anyRegion('b'), anyRegion('c'), anyFacts, fc.constantFrom('a1', 'a2', 'b1', 'b2', 'c1'));

  test.prop([anyCase])('every route, rule and neighbour belongs to one family, and what it refers to as well', ([a, b, c, local, node]) => {
    const p = planOf(node, [a, b, c], local);
    const families = new Set<Family>(p.rules.map(({ family }) => family));
    const familyOfId = new Map(p.nexthops.map(({ id, family }) => [id, family]));
    expect(familyOfId.size).toBe(p.nexthops.length);
    for (const { dst, via, src, nexthopId } of p.routes) {
      expect(families).toContain(familyOf(dst));
      if (nexthopId !== undefined) expect(familyOfId.get(nexthopId)).toBe(familyOf(dst));
      if (via !== undefined) expect(p.neighbours.map(({ ip }) => ip)).toContain(via);
      for (const address of [via, src]) if (address !== undefined) expect(familyOf(address)).toBe(familyOf(dst));
    }
    for (const { family, via } of p.nexthops) if (via !== undefined) expect(familyOf(via)).toBe(family);
    for (const family of FAMILIES) expect(p.nft?.sets.some(({ name }) => name === `own${family}`) ?? false).toBe(families.has(family));
  });

  test.prop([anyCase])(
    'IPv4 is the same whether or not there are IPv6 pods, apart from the number of next hops',
    ([a, b, c, local, node]) => {
      const isV4 = (text: string): boolean => familyOf(text) === 4;
      const of = (p: NodePlan) => ({
        routes: p.routes.filter(({ dst }) => isV4(dst)).map((route) => formatRoute(route).replace(/ nhid \d+/, '')),
        rules: p.rules.filter(({ family }) => family === 4),
        own: p.nft?.sets.filter(({ type }) => type === 'ipv4_addr'),
      });
      const strip = (each: Gateway): Gateway =>
        gatewaySchema.parse({
          ...each,
          status: { ...each.status, nodes: each.status?.nodes.map((n) => ({ ...n, subnets: n.subnets.filter((s) => !s.includes(':')) })) },
        });
      const full = planOf(node, [a, b, c], local);
      if (full.rules.some(({ family }) => family === 4)) expect(of(full)).toEqual(of(planOf(node, [a, b, c].map(strip), local)));
    },
  );
});
