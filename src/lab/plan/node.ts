import { hostCidr, prefixLength } from '../../net/cidr.ts';
import { FAMILIES, familiesOf, familyOf, type Ip } from '../../net/ip.ts';
import { bridgeAddress, type LabLan, type LabNode, type Topology } from '../topology/resolve.ts';
import { cniRules, kubeProxyRules } from './iptables.ts';
import type { IptablesPlan, NamespacePlan } from './lab-plan.ts';
import { formatAddress, formatBridge, formatVeth } from './links.ts';
import { labLinkLocal, LAN_BRIDGE, netnsName, POD_BRIDGE, UPLINK } from './names.ts';
import { podMtu } from './pod.ts';
import { forwarderSettings } from './settings.ts';

/**
 * A node as its machine and the CNI set it up: uplink into the LAN, a bridge for pods, host-gw routes to the other nodes of the region.
 * With Kubernetes the routes and the rules are left to flannel and kube-proxy.
 */
export function planNode(topology: Topology, node: LabNode, lab: string, kubernetes = false): NamespacePlan {
  const netns = netnsName(lab, node.name);
  const router = netnsName(lab, node.router);
  const lans = topology.routers.find(({ name }) => name === node.router)?.lans ?? [];
  const neighbours = topology.nodes.filter((other) => other.region === node.region && other.name !== node.name);
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
      ...node.ips.map((ip) => formatAddress(ip, prefixOf(ip, lans), UPLINK)),
      `link set dev ${UPLINK} up`,
      ...lans
        .filter(({ cidr }) => familiesOf(node.ips).includes(familyOf(cidr)))
        .map(({ routerIp }) => `route add default via ${routerIp} dev ${UPLINK}`),
      formatBridge(netns, POD_BRIDGE, podMtu(node.mtuBytes, kubernetes)),
      ...node.podCidrs.map((cidr) => formatAddress(bridgeAddress(cidr), prefixLength(cidr), POD_BRIDGE)),
      `link set dev ${POD_BRIDGE} up`,
      ...serviceRoutes(topology, node),
      ...(kubernetes ? [] : neighbours).flatMap((neighbour) => podRoutes(neighbour, lab)),
    ],
    iptables: kubernetes ? [] : iptablesPlans(topology, node),
  };
}

function prefixOf(ip: Ip, lans: readonly LabLan[]): number {
  const lan = lans.find(({ cidr }) => familyOf(cidr) === familyOf(ip));
  return lan === undefined ? prefixLength(hostCidr(ip)) : prefixLength(lan.cidr);
}

/** In a LAN without IPv6 the way to IPv6 pods is the node's link-local address: the LAN itself carries any family. */
function podRoutes({ name, podCidrs, ips }: LabNode, lab: string): string[] {
  return podCidrs.flatMap((cidr) => {
    const own = ips.find((ip) => familyOf(ip) === familyOf(cidr));
    // An IPv4 route may lead to an IPv6 address (RFC 8950), and says so.
    const linkLocal = `${familyOf(cidr) === 4 ? 'inet6 ' : ''}${labLinkLocal(netnsName(lab, name), UPLINK)}`;
    return [`route add ${cidr} via ${own ?? linkLocal} dev ${UPLINK}`];
  });
}

/** kube-proxy rewrites what the host itself sends only when there is a way for it: where no default route is, one to the cluster IPs. */
function serviceRoutes({ serviceCidrs }: Topology, { ips, podCidrs }: LabNode): string[] {
  const families = familiesOf(podCidrs).filter((family) => !familiesOf(ips).includes(family));
  return serviceCidrs.filter((cidr) => families.includes(familyOf(cidr))).map((cidr) => `route add ${cidr} dev ${POD_BRIDGE}`);
}

function iptablesPlans(topology: Topology, node: LabNode): IptablesPlan[] {
  const families = FAMILIES.filter((family) => family === 4 || topology.ipv6 === 'on');
  return families.flatMap((family) => {
    const services = kubeProxyRules(topology, family);
    const cni = cniRules(topology, node, family);
    return [
      ...(cni === undefined ? [] : topology.masquerade.map((backend) => ({ backend, family, text: cni }))),
      ...(services === undefined ? [] : [{ backend: topology.kubeProxy, family, text: services }]),
    ];
  });
}
