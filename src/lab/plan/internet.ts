import { FAMILIES } from '../../net/ip.ts';
import type { Topology } from '../topology/resolve.ts';
import type { NamespacePlan } from './lab-plan.ts';
import { INTERNET, netnsName } from './names.ts';
import { labTables } from './nft.ts';
import { dropIcmpChains, forwarderSettings } from './settings.ts';

/**
 * The internet: forwards between the routers' public addresses, knows no private network, and has no way out.
 * A packet that leaks from a region with a private destination dies here.
 */
export function planInternet(topology: Topology, lab: string): NamespacePlan {
  const nft = labTables(topology.ipv6 === 'on' ? FAMILIES : [4], (family) => (topology.internet.dropIcmp ? dropIcmpChains(family) : []));
  return {
    netns: netnsName(lab, INTERNET),
    kind: 'internet',
    member: INTERNET,
    sysctls: forwarderSettings(topology, 'off'),
    ip: ['link set dev lo up'],
    ...(nft !== undefined && { nft }),
    iptables: [],
  };
}
