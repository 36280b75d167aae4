import { stringify } from 'yaml';
import { API_GROUP, GATEWAY_LABEL } from '../../api/names.ts';
import { formatTime } from '../../lib/clock.ts';
import { familyOf } from '../../net/ip.ts';
import type { LabNode, LabRegion, Topology } from '../topology/resolve.ts';

/** The cluster's objects as a person would write them, by file name. */
export interface Manifests {
  readonly 'nodes.yaml': string;
  readonly 'gateways.yaml': string;
}

/** @param nowMs time of the last creation; the objects before it are one second apart each */
export function planManifests(topology: Topology, nowMs: number): Manifests {
  const count = topology.nodes.length + topology.regions.length;
  const created = (index: number): string => formatTime(nowMs - (count - 1 - index) * 1000);
  const nodes = topology.nodes.map((node, i) => nodeManifest(node, created(i)));
  const gateways = topology.regions.map((region, i) => gatewayManifest(topology, region, created(topology.nodes.length + i)));
  return { 'nodes.yaml': documents(nodes), 'gateways.yaml': documents(gateways) };
}

/** Names that cluster DNS answers, in IPv4, as JSON `{name: [address]}`: the input of the DNS pod. */
export function planZone({ services, dns }: Topology): string {
  const entries = services.map(({ name, namespace, clusterIps }) => [
    `${name}.${namespace}.svc.cluster.local`,
    clusterIps.filter((ip) => familyOf(ip) === 4),
  ]);
  const own = dns === undefined ? [] : [['kube-dns.kube-system.svc.cluster.local', [dns.clusterIp]]];
  return `${JSON.stringify(Object.fromEntries([...entries, ...own]), undefined, 2)}\n`;
}

function nodeManifest({ name, region, podCidrs, ips }: LabNode, creationTimestamp: string): unknown {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      creationTimestamp,
      labels: { 'kubernetes.io/hostname': name, 'kubernetes.io/os': 'linux', [GATEWAY_LABEL]: region },
      // As the node controllers of a cluster leave it; flannel 0.28 panics on a Node without any annotation.
      annotations: { 'node.alpha.kubernetes.io/ttl': '0' },
    },
    spec: { podCIDR: podCidrs[0], podCIDRs: podCidrs },
    status: {
      addresses: [...ips.map((address) => ({ type: 'InternalIP', address })), { type: 'Hostname', address: name }],
    },
  };
}

function gatewayManifest({ nodes }: Topology, region: LabRegion, creationTimestamp: string): unknown {
  const { name, exposeType, annotations, replicas } = region;
  const endpoints = nodes.filter((node) => node.region === name && node.gateway).map(endpointOf);
  return {
    apiVersion: `${API_GROUP}/v1beta1`,
    kind: 'Gateway',
    metadata: { name, creationTimestamp, ...(Object.keys(annotations).length > 0 && { annotations }) },
    spec: { ...(exposeType !== '' && { exposeType }), tunnelConfig: { Replicas: replicas }, endpoints },
  };
}

function endpointOf({ name, port, underNat, publicIp, publicPort }: LabNode): unknown {
  return {
    nodeName: name,
    type: 'tunnel',
    port,
    ...(underNat && { underNAT: true }),
    ...(publicIp !== undefined && { publicIP: publicIp }),
    ...(publicPort !== undefined && { publicPort }),
  };
}

function documents(objects: readonly unknown[]): string {
  return objects.map((object) => stringify(object)).join('---\n');
}
