import { prefixLength } from '../../net/cidr.ts';
import { bridgeAddress, type LabPod, type Topology } from '../topology/resolve.ts';
import type { NamespacePlan } from './lab-plan.ts';
import { formatAddress, formatVeth } from './links.ts';
import { netnsName, POD_BRIDGE, UPLINK } from './names.ts';
import { familySettings } from './settings.ts';

/** A pod as a bridge CNI sets it up. */
export function planPod(topology: Topology, pod: LabPod, lab: string, kubernetes = false): NamespacePlan {
  const netns = netnsName(lab, pod.name);
  const node = netnsName(lab, pod.node);
  const host = topology.nodes.find(({ name }) => name === pod.node);
  const podCidrs = host?.podCidrs ?? [];
  const position = topology.pods.filter((other) => other.node === pod.node).findIndex(({ name }) => name === pod.name);
  const device = `veth${position + 1}`;
  const mtu = podMtu(host?.mtuBytes ?? topology.internet.mtuBytes, kubernetes);
  return {
    netns,
    kind: 'pod',
    member: pod.name,
    node: pod.node,
    sysctls: familySettings(topology),
    attach: {
      netns: node,
      device,
      // A pod that reaches itself through a Service goes back where it came from; CNIs set this as well (hairpinMode).
      ip: [`link set dev ${device} master ${POD_BRIDGE} up`, `link set dev ${device} type bridge_slave hairpin on`],
    },
    ip: [
      'link set dev lo up',
      formatVeth({ netns, name: UPLINK }, { netns: node, name: device }, mtu),
      ...podCidrs.flatMap((cidr, i) => (pod.ips[i] === undefined ? [] : [formatAddress(pod.ips[i], prefixLength(cidr), UPLINK)])),
      `link set dev ${UPLINK} up`,
      ...podCidrs.map((cidr) => `route add default via ${bridgeAddress(cidr)} dev ${UPLINK}`),
    ],
    iptables: [],
    ...(topology.dns && { resolvConf: resolvConf(topology.dns.clusterIp) }),
  };
}

/** As kubelet writes it for `dnsPolicy: ClusterFirst`. */
function resolvConf(clusterIp: string): string {
  return `search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver ${clusterIp}\noptions ndots:5\n`;
}

/** flannel's VXLAN between the nodes takes 50 bytes of each packet, and its CNI plugin tells the pods. */
export function podMtu(nodeMtuBytes: number, kubernetes: boolean): number {
  return kubernetes ? nodeMtuBytes - 50 : nodeMtuBytes;
}
