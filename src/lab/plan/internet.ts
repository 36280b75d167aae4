import type { Topology } from '../topology/resolve.ts';
import type { NamespacePlan } from './lab-plan.ts';
import { INTERNET, netnsName } from './names.ts';
import { dropIcmpChains, forwarderSettings } from './settings.ts';

/**
 * The internet: forwards between the routers' public addresses, knows no private network, and has no way out.
 * A packet that leaks from a region with a private destination dies here.
 */
export function planInternet(topology: Topology, lab: string): NamespacePlan {
  return {
    netns: netnsName(lab, INTERNET),
    kind: 'internet',
    member: INTERNET,
    sysctls: forwarderSettings(topology, 'off'),
    ip: ['link set dev lo up'],
    ...(topology.internet.dropIcmp && { nft: ['table ip lab {', ...dropIcmpChains(), '}', ''].join('\n') }),
    iptables: [],
  };
}
