import { prefixLength } from '../../net/cidr.ts';
import type { LabNode, Topology } from '../topology/resolve.ts';
import { cniRules, kubeProxyRules } from './iptables.ts';
import type { NamespacePlan } from './lab-plan.ts';
import { formatBridge, formatVeth } from './links.ts';
import { LAN_BRIDGE, netnsName, POD_BRIDGE, UPLINK } from './names.ts';
import { podMtu } from './pod.ts';
import { forwarderSettings } from './settings.ts';

/**
 * A node as its machine and the CNI set it up: uplink into the LAN, a bridge for pods, host-gw routes to the other nodes of the region.
 * With Kubernetes the routes and the rules are left to flannel and kube-proxy.
 */
export function planNode(topology: Topology, node: LabNode, lab: string, kubernetes = false): NamespacePlan {
  const netns = netnsName(lab, node.name);
  const router = netnsName(lab, node.router);
  const lanBridge = topology.routers.find(({ name }) => name === node.router);
  const neighbours = topology.nodes.filter((other) => other.region === node.region && other.name !== node.name);
  const masquerade = topology.masquerade.map((backend) => ({ backend, text: cniRules(topology, node) }));
  const services = kubeProxyRules(topology);
  const rules = services === undefined ? masquerade : [...masquerade, { backend: topology.kubeProxy, text: services }];
  return {
    netns,
    kind: 'node',
    member: node.name,
    node: node.name,
    sysctls: forwarderSettings(topology, topology.rpFilter),
    attach: {
      netns: router,
      device: node.name,
      ip: [`link set dev ${node.name} master ${LAN_BRIDGE} up`],
    },
    ip: [
      'link set dev lo up',
      formatVeth({ netns, name: UPLINK }, { netns: router, name: node.name }, node.mtuBytes),
      `addr add ${node.ip}/${prefixLength(lanBridge?.lan ?? node.podCidr)} dev ${UPLINK}`,
      `link set dev ${UPLINK} up`,
      ...(lanBridge === undefined ? [] : [`route add default via ${lanBridge.lanIp} dev ${UPLINK}`]),
      formatBridge(netns, POD_BRIDGE, podMtu(node.mtuBytes, kubernetes)),
      `addr add ${node.bridgeIp}/${prefixLength(node.podCidr)} dev ${POD_BRIDGE}`,
      `link set dev ${POD_BRIDGE} up`,
      ...(kubernetes ? [] : neighbours).map(({ podCidr, ip }) => `route add ${podCidr} via ${ip} dev ${UPLINK}`),
    ],
    iptables: kubernetes ? [] : rules,
  };
}
