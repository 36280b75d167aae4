import { fc } from '@fast-check/vitest';
import { expect, it } from 'vitest';
import {
  NEXTHOP_ID_FIRST,
  NFT_TABLE,
  ROUTE_PROTOCOL,
  TABLE_FROM_REGIONS,
  TABLE_TO_REGIONS,
  TUNNEL_GROUP,
  USER_TUNNEL_DEVICE,
  VXLAN_DEVICE,
  VXLAN_ID,
  VXLAN_PORT,
} from '../api/names.ts';
import { formatChange } from '../domain/kernel-diff.ts';
import { EMPTY_KERNEL_PLAN, type KernelPlan, stateLines, stateOf } from '../domain/kernel-state.ts';
import type { Cidr } from '../net/cidr.ts';
import type { Ip } from '../net/ip.ts';
import { arbitraryPlan, TEST_ADDRESS_6, TEST_ADDRESSES, TEST_DEVICE } from './arbitrary-plan.ts';
import type { Kernel } from './kernel.ts';

/** A machine with an up device `u0` that has `TEST_ADDRESSES`, and a TUN device `rvn-ipsec`. */
export interface TestMachine {
  readonly kernel: Kernel;
  /** Carries out one command, as by hand. */
  run(command: string): Promise<void>;
}

export const samplePlan: KernelPlan = {
  links: [
    {
      type: 'vxlan',
      name: VXLAN_DEVICE,
      vni: VXLAN_ID,
      port: VXLAN_PORT,
      local: TEST_ADDRESSES[0] as Ip,
      dev: TEST_DEVICE,
      mac: '02:00:00:00:00:01',
      mtuBytes: 1400,
    },
    { type: 'tun', name: USER_TUNNEL_DEVICE, mtuBytes: 1380, group: TUNNEL_GROUP },
  ],
  fdb: [{ dev: VXLAN_DEVICE, mac: '02:00:00:00:00:0a', dst: '192.0.2.2' as Ip }],
  neighbours: ['192.0.2.2', 'fe80::ff:fe00:a'].map((ip) => ({ dev: VXLAN_DEVICE, ip: ip as Ip, mac: '02:00:00:00:00:0a' })),
  nexthops: [
    { id: NEXTHOP_ID_FIRST, via: '192.0.2.2' as Ip, dev: VXLAN_DEVICE, family: 4 },
    { id: NEXTHOP_ID_FIRST + 1, dev: USER_TUNNEL_DEVICE, family: 4 },
    { id: NEXTHOP_ID_FIRST + 2, via: 'fe80::ff:fe00:a' as Ip, dev: VXLAN_DEVICE, family: 6 },
    { id: NEXTHOP_ID_FIRST + 3, dev: USER_TUNNEL_DEVICE, family: 6 },
  ],
  routes: [
    { table: TABLE_TO_REGIONS, dst: '10.2.0.0/16' as Cidr, nexthopId: NEXTHOP_ID_FIRST, src: TEST_ADDRESSES[0] as Ip, mtuBytes: 1300 },
    { table: TABLE_TO_REGIONS, dst: '10.3.0.7/32' as Cidr, nexthopId: NEXTHOP_ID_FIRST + 1 },
    { table: TABLE_TO_REGIONS, dst: '10.4.0.0/16' as Cidr, type: 'throw' },
    { table: TABLE_TO_REGIONS, dst: 'fd00:5::/64' as Cidr, nexthopId: NEXTHOP_ID_FIRST + 2, src: TEST_ADDRESS_6, mtuBytes: 1300 },
    { table: TABLE_TO_REGIONS, dst: 'fd00:3::7/128' as Cidr, nexthopId: NEXTHOP_ID_FIRST + 3 },
    { table: TABLE_FROM_REGIONS, dst: '10.1.2.0/24' as Cidr, via: '192.0.2.2' as Ip, dev: VXLAN_DEVICE },
    { table: TABLE_FROM_REGIONS, dst: 'fd00:1:2::/64' as Cidr, via: 'fe80::ff:fe00:a' as Ip, dev: VXLAN_DEVICE },
  ],
  rules: ([4, 6] as const).flatMap((family) => [
    { pref: 100, family, table: TABLE_TO_REGIONS },
    { pref: 101, family, table: TABLE_FROM_REGIONS, mark: { value: 0x40, mask: 0x40 } },
  ]),
  nft: {
    name: NFT_TABLE,
    sets: [
      { name: 'own4', type: 'ipv4_addr', elements: ['10.1.1.0/24' as Cidr] },
      { name: 'own6', type: 'ipv6_addr', elements: ['fd00:1:1::/64' as Cidr] },
      { name: 'remote4', type: 'ipv4_addr', elements: ['10.2.0.0/16', '10.3.0.7/32'] as Cidr[] },
      { name: 'remote6', type: 'ipv6_addr', elements: ['fd00:5::/64', 'fd00:3::7/128'] as Cidr[] },
    ],
    chains: [
      {
        name: 'forward',
        type: 'filter',
        hook: 'forward',
        priority: -150,
        rules: ['oifname "raven0" tcp flags syn tcp option maxseg size set rt mtu', 'iifgroup 9027 meta mark set meta mark | 0x40'],
      },
      {
        name: 'postrouting',
        type: 'nat',
        hook: 'postrouting',
        priority: 90,
        rules: ['ip saddr @own4 ip daddr @remote4 snat ip to ip saddr', 'ip6 saddr @own6 ip6 daddr @remote6 snat ip6 to ip6 saddr'],
      },
    ],
  },
  sysctls: [VXLAN_DEVICE, USER_TUNNEL_DEVICE].flatMap((name) => [
    { key: `net/ipv4/conf/${name}/forwarding`, value: '1' },
    { key: `net/ipv4/conf/${name}/rp_filter`, value: '2' },
    { key: `net/ipv6/conf/${name}/accept_ra`, value: '0' },
    { key: `net/ipv6/conf/${name}/disable_ipv6`, value: '0' },
    { key: `net/ipv6/conf/${name}/forwarding`, value: '1' },
  ]),
};

const nexthop = `id ${NEXTHOP_ID_FIRST}`;

/** One thing each that somebody might do to our objects. */
const DAMAGE = [
  'ip link del dev raven0',
  'ip link set dev raven0 down',
  'ip link set dev raven0 mtu 1300',
  // Too narrow for IPv6, which goes from the device with its settings.
  'ip link set dev raven0 mtu 1279',
  'ip link set dev raven0 address 02:00:00:00:00:77',
  'ip link set dev rvn-ipsec down',
  'ip link set dev rvn-ipsec group 0',
  'bridge fdb del 02:00:00:00:00:0a dev raven0 dst 192.0.2.2 self permanent',
  'bridge fdb replace 02:00:00:00:00:0a dev raven0 dst 192.0.2.7 self permanent',
  'bridge fdb replace 02:00:00:00:00:0f dev raven0 dst 192.0.2.7 self permanent',
  'ip neigh del 192.0.2.2 dev raven0',
  'ip neigh replace 192.0.2.2 lladdr 02:00:00:00:00:0b dev raven0 nud permanent',
  `ip nexthop del ${nexthop}`,
  `ip nexthop replace ${nexthop} via 192.0.2.3 dev raven0 onlink`,
  `ip route del 10.2.0.0/16 table ${TABLE_TO_REGIONS}`,
  `ip route replace 10.2.0.0/16 ${nexthop.replace('id', 'nhid')} table ${TABLE_TO_REGIONS} proto ${ROUTE_PROTOCOL}`,
  `ip route replace 10.77.0.0/16 ${nexthop.replace('id', 'nhid')} table ${TABLE_TO_REGIONS} proto ${ROUTE_PROTOCOL}`,
  `ip route del fd00:5::/64 table ${TABLE_TO_REGIONS}`,
  `ip route del fd00:1:2::/64 table ${TABLE_FROM_REGIONS}`,
  `ip nexthop del id ${NEXTHOP_ID_FIRST + 2}`,
  'ip neigh del fe80::ff:fe00:a dev raven0',
  'nft delete element inet raven remote6 { fd00:5::/64 }',
  `ip -6 rule del pref 100 lookup ${TABLE_TO_REGIONS} protocol ${ROUTE_PROTOCOL}`,
  `ip rule del pref 100 lookup ${TABLE_TO_REGIONS} protocol ${ROUTE_PROTOCOL}`,
  `ip rule add pref 102 lookup ${TABLE_TO_REGIONS} protocol ${ROUTE_PROTOCOL}`,
  'nft delete table inet raven',
  'nft delete element inet raven remote4 { 10.2.0.0/16 }',
  'nft add element inet raven remote4 { 10.9.0.0/16 }',
];

/** What every `Kernel` must do. Each test gets a machine in the same state. */
export function kernelConformance(machine: () => TestMachine, { numRuns }: { readonly numRuns: number }): void {
  it('becomes what is planned, and then has nothing to write', async () => {
    await become(machine().kernel, samplePlan);
    expect(await become(machine().kernel, samplePlan)).toEqual([]);
  });

  it('moves all routes of a next hop with one write', async () => {
    const { kernel } = machine();
    await become(kernel, samplePlan);
    const moved = samplePlan.nexthops.map((each) =>
      each.via === undefined || each.family === 6 ? each : { ...each, via: '192.0.2.3' as Ip },
    );
    expect(await become(kernel, { ...samplePlan, nexthops: moved })).toEqual([
      `ip nexthop replace ${nexthop} via 192.0.2.3 dev raven0 onlink proto ${ROUTE_PROTOCOL}`,
    ]);
  });

  it('sees and repairs each thing that somebody does to our objects', async () => {
    const { kernel } = machine();
    await become(kernel, samplePlan);
    for (const command of DAMAGE) {
      await machine().run(command);
      expect(await repair(kernel, samplePlan), command).not.toEqual([]);
    }
    expect(await become(kernel, samplePlan)).toEqual([]);
  });

  it('goes from any plan to any other', async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryPlan, arbitraryPlan, async (first, second) => {
        const { kernel } = machine();
        await become(kernel, first);
        await become(kernel, second);
      }),
      { numRuns },
    );
  });

  it('carries out the rest when one write fails, and names that one', async () => {
    const { kernel } = machine();
    const broken = { id: NEXTHOP_ID_FIRST + 9, dev: 'nope', family: 4 } as const;
    const orphan = { table: TABLE_TO_REGIONS, dst: '10.9.0.0/16' as Cidr, nexthopId: broken.id };
    const plan = { ...samplePlan, nexthops: [broken, ...samplePlan.nexthops], routes: [orphan, ...samplePlan.routes] };
    const { failed } = await kernel.apply(kernel.diff(await kernel.observe(), plan));
    expect(failed.map(({ change }) => formatChange(change))).toEqual([
      `ip nexthop replace id ${broken.id} dev nope proto ${ROUTE_PROTOCOL}`,
      `ip route replace 10.9.0.0/16 nhid ${broken.id} table ${TABLE_TO_REGIONS} proto ${ROUTE_PROTOCOL}`,
    ]);
    expect(stateLines(await kernel.observe())).toEqual(stateLines(stateOf(samplePlan)));
  });

  it('leaves out what needs the TUN device until charon has made it', async () => {
    await machine().run(`ip link del dev ${USER_TUNNEL_DEVICE}`);
    const { kernel } = machine();
    const { failed } = await kernel.apply(kernel.diff(await kernel.observe(), samplePlan));
    expect(failed).toEqual([]);
    const state = await kernel.observe();
    expect(state.nexthops.map(({ id }) => id).toSorted((a, b) => a - b)).toEqual([NEXTHOP_ID_FIRST, NEXTHOP_ID_FIRST + 2]);
    expect(kernel.diff(state, samplePlan)).toEqual([]);
  });

  it('removes all of it, also when only a part is left, also twice', async () => {
    const { kernel } = machine();
    await become(kernel, samplePlan);
    const removed = await kernel.cleanup();
    expect(removed).toContain('ip link del dev raven0');
    expect(stateLines(await kernel.observe())).toEqual(stateLines(stateOf(EMPTY_KERNEL_PLAN)));
    expect(await kernel.cleanup()).toEqual([]);
    await machine().run(`ip rule add pref 100 lookup ${TABLE_TO_REGIONS} protocol ${ROUTE_PROTOCOL}`);
    expect(await kernel.cleanup()).toEqual([`ip rule del pref 100 lookup ${TABLE_TO_REGIONS} protocol ${ROUTE_PROTOCOL}`]);
  });
}

/** Makes the kernel equal to `plan`, with one look at it. */
export async function repair(kernel: Kernel, plan: KernelPlan): Promise<string[]> {
  const changes = kernel.diff(await kernel.observe(), plan);
  expect(await kernel.apply(changes)).toEqual({ written: changes, failed: [] });
  return changes.map(formatChange);
}

/**
 * Makes the kernel equal to `plan`, and checks that it is.
 *
 * @returns what was written
 */
export async function become(kernel: Kernel, plan: KernelPlan): Promise<string[]> {
  const written = await repair(kernel, plan);
  const state = await kernel.observe();
  expect(stateLines(state)).toEqual(stateLines(stateOf(plan)));
  expect(kernel.diff(state, plan)).toEqual([]);
  return written;
}
