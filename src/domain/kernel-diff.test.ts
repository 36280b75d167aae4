import { describe, expect, it } from 'vitest';
import type { Cidr } from '../net/cidr.ts';
import type { Ip } from '../net/ip.ts';
import { diffKernel, formatChange } from './kernel-diff.ts';
import { EMPTY_KERNEL_PLAN, EMPTY_STATE, type KernelPlan, type KernelState, stateOf } from './kernel-state.ts';
import type { VxlanLink } from './node-plan.ts';

const raven0: VxlanLink = {
  type: 'vxlan',
  name: 'raven0',
  vni: 200,
  port: 4472,
  local: '192.0.2.1' as Ip,
  dev: 'eth0',
  mac: '02:00:00:00:00:01',
  mtuBytes: 1450,
};

const gateway: KernelPlan = {
  links: [raven0, { type: 'xfrm', name: 'rvn-b1', ifId: 7, dev: 'eth0', mtuBytes: 1400, group: 9027 }],
  fdb: [{ dev: 'raven0', mac: '02:00:00:00:00:0a', dst: '192.0.2.2' as Ip }],
  neighbours: [{ dev: 'raven0', ip: '192.0.2.2' as Ip, mac: '02:00:00:00:00:0a' }],
  nexthops: [{ id: 1381367808, dev: 'rvn-b1', family: 4 }],
  routes: [
    { table: 9027, dst: '10.2.0.0/16' as Cidr, nexthopId: 1381367808 },
    { table: 9028, dst: '10.1.2.0/24' as Cidr, via: '192.0.2.2' as Ip, dev: 'raven0' },
  ],
  rules: [
    { pref: 100, family: 4, table: 9027 },
    { pref: 100, family: 6, table: 9027 },
  ],
  nft: { name: 'raven', sets: [], chains: [] },
  sysctls: [{ key: 'net/ipv4/conf/raven0/rp_filter', value: '2' }],
};

function printed(state: KernelState, plan: KernelPlan): string {
  return diffKernel(state, plan).map(formatChange).join('\n');
}

describe('diffKernel', () => {
  it("changes from IPsec's devices to WireGuard's: the new one stands before routes go there, and the old ones go last", () => {
    const wireguard: KernelPlan = {
      ...gateway,
      links: [raven0, { type: 'wireguard', name: 'raven-wg0', mtuBytes: 1440, group: 9027 }],
      nexthops: [{ id: 1381367808, dev: 'raven-wg0', family: 4 }],
    };
    expect(printed(stateOf(gateway), wireguard)).toMatchInlineSnapshot(`
      "ip link add raven-wg0 mtu 1440 group 9027 type wireguard
      ip link set dev raven-wg0 addrgenmode none
      ip address replace 169.254.90.27/32 dev raven-wg0 scope host
      ip link set dev raven-wg0 up
      ip nexthop replace id 1381367808 dev raven-wg0 proto 82
      ip link del dev rvn-b1"
    `);
    expect(printed(stateOf(wireguard), wireguard)).toBe('');
  });

  it('builds from the devices up to the rules that send packets there', () => {
    expect(printed(EMPTY_STATE, gateway)).toMatchInlineSnapshot(`
      "ip link add raven0 mtu 1450 address 02:00:00:00:00:01 type vxlan id 200 local 192.0.2.1 dev eth0 dstport 4472 nolearning
      ip link set dev raven0 addrgenmode none
      ip address replace 169.254.90.27/32 dev raven0 scope host
      ip link set dev raven0 up
      ip link add rvn-b1 mtu 1400 group 9027 type xfrm dev eth0 if_id 7
      ip link set dev rvn-b1 addrgenmode none
      ip address replace 169.254.90.27/32 dev rvn-b1 scope host
      ip link set dev rvn-b1 up
      sysctl -w net/ipv4/conf/raven0/rp_filter=2
      bridge fdb replace 02:00:00:00:00:0a dev raven0 dst 192.0.2.2 self permanent
      ip neigh replace 192.0.2.2 lladdr 02:00:00:00:00:0a dev raven0 nud permanent
      ip nexthop replace id 1381367808 dev rvn-b1 proto 82
      ip route replace 10.2.0.0/16 nhid 1381367808 table 9027 proto 82
      ip route replace 10.1.2.0/24 via 192.0.2.2 dev raven0 onlink table 9028 proto 82
      nft -f - <<'EOF'
      add table inet raven
      delete table inet raven
      table inet raven {
      }
      EOF
      ip rule add pref 100 lookup 9027 protocol 82
      ip -6 rule add pref 100 lookup 9027 protocol 82"
    `);
  });

  it('takes down from the rules to the devices', () => {
    expect(printed(stateOf(gateway), EMPTY_KERNEL_PLAN)).toMatchInlineSnapshot(`
      "ip -6 rule del pref 100 lookup 9027 protocol 82
      ip rule del pref 100 lookup 9027 protocol 82
      nft delete table inet raven
      ip route del 10.2.0.0/16 nhid 1381367808 table 9027 proto 82
      ip route del 10.1.2.0/24 via 192.0.2.2 dev raven0 onlink table 9028 proto 82
      ip nexthop del id 1381367808
      ip neigh del 192.0.2.2 dev raven0
      bridge fdb del 02:00:00:00:00:0a dev raven0 dst 192.0.2.2 self permanent
      ip link del dev raven0
      ip link del dev rvn-b1"
    `);
  });

  it('changes in place what can be changed in place, and puts back the neighbours that a new MAC costs', () => {
    const changed = { ...gateway, links: [{ ...raven0, mtuBytes: 1350, mac: '02:00:00:00:00:02' }, ...gateway.links.slice(1)] };
    expect(printed(stateOf(gateway), changed)).toMatchInlineSnapshot(`
      "ip link set dev raven0 mtu 1350 address 02:00:00:00:00:02
      ip neigh replace 192.0.2.2 lladdr 02:00:00:00:00:0a dev raven0 nud permanent"
    `);
  });

  it('makes a device anew when its fixed part changes, with all that stood on it', () => {
    const moved = { ...gateway, links: [{ ...raven0, dev: 'eth1' }, ...gateway.links.slice(1)] };
    expect(printed(stateOf(gateway), moved)).toMatchInlineSnapshot(`
      "ip link del dev raven0
      ip link add raven0 mtu 1450 address 02:00:00:00:00:01 type vxlan id 200 local 192.0.2.1 dev eth1 dstport 4472 nolearning
      ip link set dev raven0 addrgenmode none
      ip address replace 169.254.90.27/32 dev raven0 scope host
      ip link set dev raven0 up
      sysctl -w net/ipv4/conf/raven0/rp_filter=2
      bridge fdb replace 02:00:00:00:00:0a dev raven0 dst 192.0.2.2 self permanent
      ip neigh replace 192.0.2.2 lladdr 02:00:00:00:00:0a dev raven0 nud permanent
      ip route replace 10.1.2.0/24 via 192.0.2.2 dev raven0 onlink table 9028 proto 82"
    `);
  });

  it('leaves the TUN device of a charon that runs', () => {
    const tun: KernelPlan = { ...EMPTY_KERNEL_PLAN, links: [{ type: 'tun', name: 'rvn-ipsec', mtuBytes: 1400, group: 9027 }] };
    expect(printed(stateOf(tun), EMPTY_KERNEL_PLAN)).toBe('');
  });

  it('writes nothing on a device of another type that has our name', () => {
    const state = { ...EMPTY_STATE, foreignLinks: ['raven0'] };
    expect(printed(state, gateway)).not.toContain('raven0');
  });

  it('replaces a group by a next hop of its own, and puts back its routes', () => {
    const group = stateOf(gateway).nexthops.map((nexthop) => ({ ...nexthop, extra: 'group [{"id":5}]' }));
    expect(printed({ ...stateOf(gateway), nexthops: group }, gateway)).toMatchInlineSnapshot(`
      "ip nexthop del id 1381367808
      ip nexthop replace id 1381367808 dev rvn-b1 proto 82
      ip route replace 10.2.0.0/16 nhid 1381367808 table 9027 proto 82"
    `);
  });

  it('removes an appended route beside the planned one', () => {
    const state = stateOf(gateway);
    const appended = { table: 9027, dst: '10.2.0.0/16' as Cidr, dev: 'eth0' };
    expect(printed({ ...state, routes: [...state.routes, appended] }, gateway)).toMatchInlineSnapshot(
      `"ip route del 10.2.0.0/16 dev eth0 table 9027 proto 82"`,
    );
  });
});
