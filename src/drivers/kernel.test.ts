import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ROUTE_PROTOCOL, TABLE_TO_REGIONS } from '../api/names.ts';
import { formatChange } from '../domain/kernel-diff.ts';
import { TEST_ADDRESS_6 } from './arbitrary-plan.ts';
import { become, kernelConformance, repair, samplePlan } from './kernel-conformance.ts';
import { createTestNetns, type TestNetns } from './test-netns.ts';

const TIMEOUT_MS = 60_000;

describe.runIf(process.getuid?.() === 0)('the Linux kernel', { timeout: TIMEOUT_MS }, () => {
  let machine: TestNetns;
  beforeEach(async () => {
    machine = await createTestNetns();
  }, TIMEOUT_MS);
  afterEach(() => machine.remove(), TIMEOUT_MS);

  kernelConformance(() => machine, { numRuns: 4 });

  async function differences(): Promise<string[]> {
    return machine.kernel.diff(await machine.kernel.observe(), samplePlan).map(formatChange);
  }

  it('sees and repairs what only a real kernel can suffer', async () => {
    await become(machine.kernel, samplePlan);
    for (const [name, script] of DAMAGE) {
      await machine.sh(script);
      expect(await repair(machine.kernel, samplePlan), name).not.toEqual([]);
    }
    expect(await become(machine.kernel, samplePlan)).toEqual([]);
  });

  it('carries IPv6 on its devices also where the host switches it off for new ones, and switches it on nowhere else', async () => {
    await machine.sh('sysctl -qw net.ipv6.conf.default.disable_ipv6=1 net.ipv6.conf.u0.disable_ipv6=1');
    const plan = { ...samplePlan, routes: samplePlan.routes.filter(({ src }) => src !== TEST_ADDRESS_6) };
    await become(machine.kernel, plan);
    expect(await machine.sh('for dev in all default u0 raven0; do cat /proc/sys/net/ipv6/conf/$dev/disable_ipv6; done')).toBe(
      '0\n1\n1\n0\n',
    );
  });

  it('leaves alone what ARP makes of our device', async () => {
    await become(machine.kernel, samplePlan);
    await machine.sh('ip neigh replace 192.0.2.77 lladdr 02:00:00:00:00:0a dev raven0 nud stale');
    expect(await differences()).toEqual([]);
  });

  it('changes only elements of sets in one transaction when only they differ', async () => {
    await become(machine.kernel, samplePlan);
    const handles = await machine.sh('nft -a list table inet raven | grep handle');
    await machine.sh('nft delete element inet raven remote4 { 10.2.0.0/16 }; nft add element inet raven remote4 { 10.2.0.0/17 }');
    expect(await differences()).toEqual([
      'nft delete element inet raven remote4 { 10.2.0.0/17 }',
      'nft add element inet raven remote4 { 10.2.0.0/16 }',
    ]);
    await become(machine.kernel, samplePlan);
    expect(await machine.sh('nft -a list table inet raven | grep handle')).toBe(handles);
  });

  it('reports and keeps a device of another type that has our name', async () => {
    await machine.sh('ip link add raven0 type veth peer name rvn-x');
    const state = await machine.kernel.observe();
    expect(state.foreign).toEqual(['ip link raven0', 'ip link rvn-x']);
    const changes = machine.kernel.diff(state, samplePlan);
    expect(changes.map(formatChange).filter((text) => text.includes('raven0') && !text.startsWith('nft'))).toEqual([]);
    expect((await machine.kernel.apply(changes)).failed).toEqual([]);
    await machine.kernel.cleanup();
    expect(await machine.sh('ip -d link show raven0')).toContain('veth');
  });

  it('names routes and rules of others in our tables, and leaves them', async () => {
    await become(machine.kernel, samplePlan);
    await machine.sh(`ip route add 10.99.0.0/16 dev u0 table ${TABLE_TO_REGIONS}; ip rule add pref 7 lookup ${TABLE_TO_REGIONS}`);
    const { foreign } = await machine.kernel.observe({ foreignRoutes: true });
    expect(foreign).toEqual([`ip rule pref 7 lookup ${TABLE_TO_REGIONS}`, `ip route 10.99.0.0/16 dev u0 table ${TABLE_TO_REGIONS}`]);
    expect(await differences()).toEqual([]);
  });

  it('leaves everything of others as it was after cleanup, byte for byte (R27, R28)', async () => {
    await machine.sh(FOREIGN);
    await machine.closeTun();
    const before = await machine.sh(SNAPSHOT);
    await machine.openTun();
    await become(machine.kernel, samplePlan);
    await machine.kernel.cleanup();
    expect(await machine.sh(SNAPSHOT)).toBe(before);
    await machine.closeTun();
    await machine.openTun();
    await become(machine.kernel, samplePlan);
    await machine.sh(`ip link del raven0; ip rule del pref 100 lookup 9027 protocol ${ROUTE_PROTOCOL}`);
    await machine.kernel.cleanup();
    await machine.kernel.cleanup();
    expect(await machine.sh(SNAPSHOT)).toBe(before);
  });
});

const DAMAGE = [
  ['a rule added', 'nft add rule inet raven forward accept'],
  ['a rule put first', 'nft insert rule inet raven forward drop'],
  ['rules deleted', 'nft flush chain inet raven forward'],
  [
    'a rule changed',
    `nft replace rule inet raven forward handle $(nft -a list chain inet raven forward | sed -n 's/.*mss.*handle //p; s/.*maxseg.*handle //p' | head -1) accept`,
  ],
  ['a chain switched to drop', "nft chain inet raven forward '{ policy drop; }'"],
  ['a chain added', 'nft add chain inet raven other'],
  ['the table put to sleep', "nft add table inet raven '{ flags dormant; }'"],
  ['an appended route', `ip route append 10.2.0.0/16 dev u0 table ${TABLE_TO_REGIONS} proto ${ROUTE_PROTOCOL}`],
  ['a route with a metric', `ip route add 10.2.0.0/16 dev u0 metric 5 table ${TABLE_TO_REGIONS} proto ${ROUTE_PROTOCOL}`],
  ['a route taken over', `ip route replace 10.2.0.0/16 dev u0 table ${TABLE_TO_REGIONS}`],
  ['a next hop made a blackhole', 'ip nexthop del id 1381367808; ip nexthop add id 1381367808 blackhole'],
  [
    'a next hop made a group',
    'ip nexthop del id 1381367808; ip nexthop add id 5 via 192.0.2.5 dev u0; ip nexthop add id 1381367808 group 5',
  ],
  ['a rule with another selector', `ip rule add from 10.0.0.0/8 pref 50 lookup ${TABLE_TO_REGIONS} protocol ${ROUTE_PROTOCOL}`],
  ['an IPv6 rule', `ip -6 rule add pref 50 lookup ${TABLE_TO_REGIONS} protocol ${ROUTE_PROTOCOL}`],
  ['a flooding entry', 'bridge fdb append 00:00:00:00:00:00 dev raven0 dst 192.0.2.2'],
  [
    'two flooding entries',
    'bridge fdb append 00:00:00:00:00:00 dev raven0 dst 192.0.2.2; bridge fdb append 00:00:00:00:00:00 dev raven0 dst 192.0.2.3 port 99',
  ],
  ['a learned neighbour', 'ip neigh replace 192.0.2.2 lladdr 02:00:00:00:00:0a dev raven0 nud reachable'],
  ['VXLAN learning', 'ip link del raven0; ip link add raven0 type vxlan id 200 local 192.0.2.1 dev u0 dstport 4472'],
] as const;

/** Objects of others of every kind that we have, as near to ours as they can be. */
const FOREIGN = `
  ip link add flannel.1 type vxlan id 1 local 192.0.2.1 dev u0 dstport 8472 nolearning
  ip link set flannel.1 addrgenmode none
  ip link set flannel.1 up
  bridge fdb append 02:00:00:00:00:0a dev flannel.1 dst 192.0.2.2
  ip neigh replace 192.0.2.2 lladdr 02:00:00:00:00:0a dev flannel.1 nud permanent
  ip nexthop add id 1381367807 via 192.0.2.2 dev u0
  ip nexthop add id 1381433344 via 192.0.2.2 dev u0
  ip route add 10.2.0.0/16 nhid 1381367807
  ip route add 10.2.0.0/16 via 192.0.2.3 dev u0 table 9026 proto ${ROUTE_PROTOCOL}
  ip route add 10.99.0.0/16 via 192.0.2.3 dev u0 table 9027
  ip route add 10.98.0.0/16 via 192.0.2.3 dev u0 table 9028 proto static
  ip -6 route add fd00:2::/64 dev u0 table 9027
  ip rule add pref 100 lookup 9026 protocol ${ROUTE_PROTOCOL}
  ip rule add pref 100 fwmark 0x80/0x80 lookup 9027
  ip rule add pref 102 fwmark 0x40/0x40 lookup 9028 protocol static
  nft 'table inet raven2 { set own4 { type ipv4_addr; flags interval; elements = { 10.1.0.0/16 } }; chain raven { type filter hook forward priority -150; ip saddr @own4 accept; }; }'
  nft 'table ip raven { chain raven { type nat hook postrouting priority 90; }; }'
  iptables-legacy -t nat -A POSTROUTING -s 10.0.0.0/8 -j MASQUERADE
`;

const SNAPSHOT = `
  ip -d link; ip rule; ip -6 rule; ip route show table all; ip -6 route show table all; ip nexthop; ip neigh
  bridge fdb; nft list ruleset; iptables-legacy-save | grep -v '^#' | sed 's/\\[.*\\]//'
  cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/all/rp_filter /proc/sys/net/ipv4/conf/u0/rp_filter
`;
