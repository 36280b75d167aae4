import { describe, expect, it } from 'vitest';
import { linkStateOf, linkText } from '../../domain/kernel-state.ts';
import type { LinkPlan } from '../../domain/node-plan.ts';
import type { Ip } from '../../net/ip.ts';
import { parseLinks } from './link.ts';

/** As iproute2 6.1 prints them on Linux 6.1; parts that nobody reads are left out. */
const XFRM = `{"ifindex":6,"link":"eth0","ifname":"rvn-b1","flags":["NOARP","UP","LOWER_UP"],"mtu":1400,"group":"9027","link_type":"[65534]","linkinfo":{"info_kind":"xfrm","info_data":{"if_id":"0x12d687"}},"inet6_addr_gen_mode":"none"}`;
const WIREGUARD = `{"ifindex":9,"ifname":"raven-wg0","flags":["POINTOPOINT","NOARP","UP","LOWER_UP"],"mtu":1440,"group":"9027","link_type":"[65534]","linkinfo":{"info_kind":"wireguard"},"inet6_addr_gen_mode":"none"}`;
const VXLAN = `{"ifindex":4,"ifname":"raven0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1450,"group":"0","link_type":"[1]","address":"02:00:00:00:00:01","linkinfo":{"info_kind":"vxlan","info_data":{"id":200,"local":"192.0.2.1","link":"eth0","port_range":{"low":0,"high":0},"port":4472,"learning":false,"ttl":0,"ageing":300}},"inet6_addr_gen_mode":"none"}`;
const TUN = `{"ifindex":5,"ifname":"rvn-ipsec","flags":["NO-CARRIER","POINTOPOINT","MULTICAST","NOARP","UP"],"mtu":1500,"group":"0","linkinfo":{"info_kind":"tun","info_data":{"type":"tun","pi":false}},"inet6_addr_gen_mode":"eui64"}`;
const VETH = `{"ifindex":7,"link_index":8,"ifname":"rvn-x","flags":["BROADCAST"],"mtu":1500,"group":"0","address":"02:00:00:00:00:09","linkinfo":{"info_kind":"veth"}}`;
const LO = `{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP"],"mtu":65536,"group":"0","address":"00:00:00:00:00:00","inet6_addr_gen_mode":"eui64"}`;
const ANCHORS =
  '[{"ifname":"raven0","addr_info":[{"local":"169.254.90.27"}]},{"ifname":"rvn-b1","addr_info":[{"local":"169.254.90.27"}]},{"ifname":"raven-wg0","addr_info":[{"local":"169.254.90.27"}]}]';
const PROBES = '[{},{"ifname":"raven0","addr_info":[{},{"local":"240.1.2.3"}]}]';
const NONE = { anchors: '[]', probeIps: '[]' };

const plans: LinkPlan[] = [
  { type: 'xfrm', name: 'rvn-b1', ifId: 1234567, dev: 'eth0', mtuBytes: 1400, group: 9027 },
  {
    type: 'vxlan',
    name: 'raven0',
    vni: 200,
    port: 4472,
    local: '192.0.2.1' as Ip,
    dev: 'eth0',
    mac: '02:00:00:00:00:01',
    mtuBytes: 1450,
    probeIp: '240.1.2.3' as Ip,
  },
  { type: 'wireguard', name: 'raven-wg0', mtuBytes: 1440, group: 9027 },
];

describe('parseLinks', () => {
  it('sees in the kernel what was planned', () => {
    expect(parseLinks(`[${XFRM},${VXLAN},${WIREGUARD}]`, { anchors: ANCHORS, probeIps: PROBES }).links.map(linkText)).toEqual(
      plans.map((plan) => linkText(linkStateOf(plan))),
    );
  });

  it('knows a TUN device that nobody holds, a device of another type, and all that is not ours', () => {
    const { links, foreignLinks } = parseLinks(`[${LO},${TUN},${VETH},${WIREGUARD.replace('raven-wg0', 'wg0')}]`, NONE);
    expect(links.map(({ name, noCarrier }) => [name, noCarrier])).toEqual([['rvn-ipsec', true]]);
    expect(foreignLinks).toEqual(['rvn-x']);
  });

  it('tells whether the machine has IPv6', () => {
    expect(parseLinks(`[${LO}]`, NONE).ipv6).toBe(true);
    expect(parseLinks(`[${VETH}]`, NONE).ipv6).toBe(false);
  });
});
