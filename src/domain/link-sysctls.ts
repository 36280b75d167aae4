import type { Family } from '../net/ip.ts';
import { IPV6_MIN_MTU_BYTES } from '../net/mtu.ts';
import type { LinkPlan, Sysctl } from './node-plan.ts';

/**
 * The settings of one of our devices for a family that this node carries.
 *
 * IPv4: loose reverse-path check, whatever the host's default: the kernel takes the larger of `all` and the device's (ip-sysctl.rst).
 * IPv6: on, also where the host's default is off; and a router's side, that listens to no advertisements. There is no reverse-path check.
 */
export function linkSysctls({ name, mtuBytes }: LinkPlan, family: Family): Sysctl[] {
  if (family === 4) {
    return [
      { key: `net/ipv4/conf/${name}/forwarding`, value: '1' },
      { key: `net/ipv4/conf/${name}/rp_filter`, value: '2' },
    ];
  }
  // The kernel takes IPv6 off a device that is too narrow for it, settings and all.
  if (mtuBytes < IPV6_MIN_MTU_BYTES) return [];
  return [
    { key: `net/ipv6/conf/${name}/accept_ra`, value: '0' },
    { key: `net/ipv6/conf/${name}/disable_ipv6`, value: '0' },
    { key: `net/ipv6/conf/${name}/forwarding`, value: '1' },
  ];
}
