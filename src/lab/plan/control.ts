import { type Cidr, addressAt } from '../../net/cidr.ts';
import type { Ip } from '../../net/ip.ts';
import type { Topology } from '../topology/resolve.ts';
import type { NamespacePlan } from './lab-plan.ts';
import { formatVeth } from './links.ts';
import { INTERNET, INTERNET_IP, netnsName, UPLINK } from './names.ts';
import { familySettings } from './settings.ts';

/** Namespace of the machine with the API server. */
export const CONTROL = 'control';
/** Its address on the internet: every region reaches it, as edges reach a managed control plane (RFC 5737, TEST-NET-1). */
export const CONTROL_IP = '192.0.2.10' as Ip;

/** A machine of its own, reachable from all regions through the internet. It is in no region: pods do not reach it by tunnels. */
export function planControl(topology: Topology, lab: string): NamespacePlan {
  const netns = netnsName(lab, CONTROL);
  const internet = netnsName(lab, INTERNET);
  return {
    netns,
    kind: 'control',
    member: CONTROL,
    sysctls: familySettings(topology),
    attach: {
      netns: internet,
      device: CONTROL,
      ip: [`addr add ${INTERNET_IP}/32 dev ${CONTROL}`, `link set dev ${CONTROL} up`, `route add ${CONTROL_IP}/32 dev ${CONTROL}`],
    },
    ip: [
      'link set dev lo up',
      formatVeth({ netns, name: UPLINK }, { netns: internet, name: CONTROL }, topology.internet.mtuBytes),
      `addr add ${CONTROL_IP}/32 dev ${UPLINK}`,
      `link set dev ${UPLINK} up`,
      `route add default via ${INTERNET_IP} dev ${UPLINK} onlink`,
    ],
    iptables: [],
  };
}

/** Address of the Service `kubernetes`: the first of the range, as the API server takes it. */
export function kubernetesServiceIp({ serviceCidrs: [first] }: Topology): Ip {
  return addressAt(first ?? ('10.96.0.0/16' as Cidr), 1);
}
