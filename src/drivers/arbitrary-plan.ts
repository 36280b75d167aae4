import { fc } from '@fast-check/vitest';
import {
  NEXTHOP_ID_FIRST,
  NFT_TABLE,
  TABLE_FROM_REGIONS,
  TABLE_PROBES,
  TABLE_TO_REGIONS,
  TUNNEL_GROUP,
  USER_TUNNEL_DEVICE,
  VXLAN_DEVICE,
  VXLAN_ID,
  VXLAN_PORT,
} from '../api/names.ts';
import { type KernelPlan, managedSysctls } from '../domain/kernel-state.ts';
import type { FdbEntry, LinkPlan, Neighbour, Nexthop, NftTable, Route, Rule, VxlanLink } from '../domain/node-plan.ts';
import type { Cidr } from '../net/cidr.ts';
import { type Family, familyOf, type Ip } from '../net/ip.ts';
import { probeAddress } from '../net/probe-address.ts';

/** The machine that these plans are for: device `u0` with these addresses, and the TUN device `rvn-ipsec`. */
export const TEST_DEVICE = 'u0';
export const TEST_ADDRESSES = ['192.0.2.1', '192.0.2.9'] as const;
export const TEST_ADDRESS_6 = '2001:db8:1::1' as Ip;

const MACS = ['02:00:00:00:00:0a', '02:00:00:00:00:0b', '02:00:00:00:00:0c'];
const ADDRESSES = ['198.51.100.2', '198.51.100.3', '2001:db8::2', 'fe80::2'] as Ip[];
const PREFIXES = ['0.0.0.0/0', '10.2.0.0/16', '10.2.3.4/32', '10.3.0.0/24', 'fd00:2::/64', 'fd00:3::7/128', '::/0'] as Cidr[];
/** Not overlapping; some stand next to each other. */
const ELEMENTS = ['10.0.0.0/25', '10.0.0.128/25', '10.1.0.1/32', '10.4.0.0/16'] as Cidr[];
const NFT_RULES = [
  'ip saddr @own4 ip daddr @remote4 counter',
  'meta mark set meta mark | 0x40',
  'iifgroup 9027 accept',
  'oifname "raven0" tcp flags syn tcp option maxseg size set rt mtu',
];

/** Random plans that a kernel must accept: references hold, families match. */
export const arbitraryPlan: fc.Arbitrary<KernelPlan> = fc
  .record({
    raven0: fc.option(arbitraryVxlan(), { freq: 4, nil: undefined }),
    tun: fc.record({ mtuBytes: fc.constantFrom(1400, 1380), group: fc.constantFrom(0, TUNNEL_GROUP) }),
  })
  .chain(({ raven0, tun }) => {
    const links: LinkPlan[] = [...(raven0 === undefined ? [] : [raven0]), { type: 'tun', name: USER_TUNNEL_DEVICE, ...tun }];
    const devices = [TEST_DEVICE, ...links.map(({ name }) => name)];
    return fc.record({
      links: fc.constant(links),
      fdb: raven0 === undefined ? fc.constant([]) : arbitraryFdb(familyOf(raven0.local)),
      neighbours: raven0 === undefined ? fc.constant([]) : arbitraryNeighbours(),
      net: arbitraryNexthops(devices).chain((nexthops) => arbitraryRoutes(nexthops, devices).map((routes) => ({ nexthops, routes }))),
      rules: fc.subarray(RULES),
      nft: fc.option(arbitraryNft(), { freq: 4, nil: undefined }),
      sysctls: fc
        .constantFrom('0', '1')
        .map((value) =>
          links.flatMap(({ name }) => managedSysctls(name).map((key) => ({ key, value: key.endsWith('/disable_ipv6') ? '0' : value }))),
        ),
    });
  })
  .map(({ net, ...rest }) => ({ ...rest, ...net }));

const RULES: Rule[] = [
  { pref: 100, family: 4, table: TABLE_TO_REGIONS },
  { pref: 101, family: 4, table: TABLE_FROM_REGIONS, mark: { value: 0x40, mask: 0x40 } },
  { pref: 101, family: 4, table: TABLE_TO_REGIONS, mark: { value: 0x40, mask: 0xc0 } },
  { pref: 100, family: 6, table: TABLE_TO_REGIONS },
  { pref: 101, family: 6, table: TABLE_FROM_REGIONS, mark: { value: 0x40, mask: 0x40 } },
  { pref: 99, family: 4, table: TABLE_PROBES, ownUdpPort: 4473 },
];

function arbitraryVxlan(): fc.Arbitrary<VxlanLink> {
  const link = fc.record({
    type: fc.constant('vxlan' as const),
    name: fc.constant(VXLAN_DEVICE),
    vni: fc.constant(VXLAN_ID),
    port: fc.constantFrom(VXLAN_PORT, VXLAN_PORT + 1),
    local: fc.constantFrom(...(TEST_ADDRESSES as readonly string[] as Ip[]), TEST_ADDRESS_6),
    dev: fc.constant(TEST_DEVICE),
    mac: fc.constantFrom('02:00:00:00:00:01', '02:00:00:00:00:02'),
    mtuBytes: fc.constantFrom(1400, 1390),
  });
  const probeIp = fc.option(fc.constantFrom(...['b1', 'b3'].map(probeAddress)), { nil: undefined });
  return fc.tuple(link, probeIp).map(([each, ip]) => ({ ...each, ...(ip !== undefined && { probeIp: ip }) }));
}

function arbitraryFdb(underlay: Family): fc.Arbitrary<FdbEntry[]> {
  const dst = fc.constantFrom(...((underlay === 4 ? ['192.0.2.2', '192.0.2.3'] : ['2001:db8:1::2', '2001:db8:1::3']) as Ip[]));
  return fc.uniqueArray(fc.record({ dev: fc.constant(VXLAN_DEVICE), mac: fc.constantFrom(...MACS), dst }), { selector: ({ mac }) => mac });
}

function arbitraryNeighbours(): fc.Arbitrary<Neighbour[]> {
  const entry = fc.record({ dev: fc.constant(VXLAN_DEVICE), ip: fc.constantFrom(...ADDRESSES), mac: fc.constantFrom(...MACS) });
  return fc.uniqueArray(entry, { selector: ({ ip }) => ip });
}

function arbitraryNexthops(devices: readonly string[]): fc.Arbitrary<Nexthop[]> {
  const nexthop = fc
    .record({
      id: fc.integer({ min: NEXTHOP_ID_FIRST, max: NEXTHOP_ID_FIRST + 3 }),
      via: fc.option(fc.constantFrom(...ADDRESSES), { nil: undefined }),
      dev: fc.constantFrom(...devices),
      family: fc.constantFrom(4 as const, 6 as const),
    })
    .map(({ via, family, ...rest }): Nexthop => (via === undefined ? { ...rest, family } : { ...rest, via, family: familyOf(via) }));
  return fc.uniqueArray(nexthop, { selector: ({ id }) => id });
}

function arbitraryRoutes(nexthops: readonly Nexthop[], devices: readonly string[]): fc.Arbitrary<Route[]> {
  const route = fc
    .record({ table: fc.constantFrom(TABLE_TO_REGIONS, TABLE_FROM_REGIONS), dst: fc.constantFrom(...PREFIXES) })
    .chain((base) => {
      const family = familyOf(base.dst);
      const ids = nexthops.filter((nexthop) => nexthop.family === family).map(({ id }) => id);
      const via = ADDRESSES.filter((address) => familyOf(address) === family);
      const unicast = fc.record({
        src: fc.constantFrom(undefined, family === 4 ? (TEST_ADDRESSES[0] as Ip) : TEST_ADDRESS_6),
        mtuBytes: fc.constantFrom(undefined, 1300),
      });
      const ways: fc.Arbitrary<Partial<Route>>[] = [
        fc.constant({ type: 'throw' }),
        fc.tuple(fc.constantFrom(...devices), unicast).map(([dev, words]) => ({ dev, ...defined(words) })),
        fc
          .tuple(fc.constantFrom(...devices), fc.constantFrom(...via), unicast)
          .map(([dev, gateway, words]) => ({ dev, via: gateway, ...defined(words) })),
        ...(ids.length === 0
          ? []
          : [fc.tuple(fc.constantFrom(...ids), unicast).map(([nexthopId, words]) => ({ nexthopId, ...defined(words) }))]),
      ];
      return fc.oneof(...ways).map((way): Route => ({ ...base, ...way }));
    });
  return fc.uniqueArray(route, { selector: ({ table, dst }) => `${table} ${dst}`, maxLength: 8 });
}

/** Without the properties that are undefined. */
function defined({ src, mtuBytes }: { src: Ip | undefined; mtuBytes: number | undefined }): Partial<Route> {
  return { ...(src !== undefined && { src }), ...(mtuBytes !== undefined && { mtuBytes }) };
}

function arbitraryNft(): fc.Arbitrary<NftTable> {
  const elements = fc.tuple(
    fc.subarray(ELEMENTS),
    fc.constantFrom<Cidr[]>([], ['10.2.0.0/16' as Cidr], ['10.2.0.0/17' as Cidr], ['10.2.128.0/17' as Cidr]),
  );
  const set = elements.map(([fixed, varied]) => [...fixed, ...varied]);
  const set6 = fc.option(fc.subarray(['fd00:2::/64', 'fd00:3::7/128', 'fd00:4::/48'] as Cidr[]), { nil: undefined });
  return fc
    .record({ own4: set, remote4: set, remote6: set6, rules: fc.subarray(NFT_RULES), priority: fc.constantFrom(-150, 90) })
    .map(({ own4, remote4, remote6, rules, priority }) => ({
      name: NFT_TABLE,
      sets: [
        { name: 'own4', type: 'ipv4_addr', elements: own4 },
        { name: 'remote4', type: 'ipv4_addr', elements: remote4 },
        ...(remote6 === undefined ? [] : [{ name: 'remote6', type: 'ipv6_addr' as const, elements: remote6 }]),
      ],
      chains: [
        { name: 'forward', type: 'filter', hook: 'forward', priority, rules },
        {
          name: 'postrouting',
          type: 'nat',
          hook: 'postrouting',
          priority: 90,
          rules: [
            'ip saddr @own4 ip daddr @remote4 snat ip to ip saddr',
            ...(remote6 === undefined ? [] : ['ip6 daddr @remote6 snat ip6 to ip6 saddr']),
          ],
        },
      ],
    }));
}
