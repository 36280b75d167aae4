import { type Cidr, hostCidr } from '../../net/cidr.ts';
import { type Family, familyOf, formatIpPort, type Ip } from '../../net/ip.ts';
import type { LabNode, LabService, Topology } from '../topology/resolve.ts';

const MULTICAST = { 4: '224.0.0.0/4', 6: 'ff00::/8' } as const;

/**
 * What a CNI like Flannel writes on a node: pod traffic inside the region keeps its source, everything else from pods is masqueraded.
 * (flannel, pkg/trafficmngr/iptables: FLANNEL-POSTRTG). Undefined for a node without pods of the family.
 */
export function cniRules({ clusterCidrs, nodes }: Topology, node: LabNode, family: Family): string | undefined {
  const cluster = ofFamily(clusterCidrs, family);
  if (cluster === undefined || ofFamily(node.podCidrs, family) === undefined) return undefined;
  const region = nodes.filter((other) => other.region === node.region).flatMap(({ podCidrs }) => ofFamily(podCidrs, family) ?? []);
  return restore(
    'nat',
    ['FLANNEL-POSTRTG'],
    [
      '-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG',
      ...region.map((cidr) => `-A FLANNEL-POSTRTG -s ${cidr} -d ${region.join(',')} -j RETURN`),
      `-A FLANNEL-POSTRTG -s ${cluster} ! -d ${MULTICAST[family]} -j MASQUERADE --random-fully`,
    ],
  );
}

/** What kube-proxy in iptables mode writes on every node (kubernetes, pkg/proxy/iptables/proxier.go); undefined without services of the family. */
export function kubeProxyRules(topology: Topology, family: Family): string | undefined {
  const services = [...topology.services, ...dnsServices(topology)].flatMap((service) => inFamily(service, family));
  const cluster = ofFamily(topology.clusterCidrs, family);
  if (services.length === 0 || cluster === undefined) return undefined;
  const named = services.map((service, i) => ({ service, key: chainKey(service, i) }));
  const chains = ['KUBE-SERVICES', 'KUBE-NODEPORTS', 'KUBE-POSTROUTING', 'KUBE-MARK-MASQ'];
  const nat = restore(
    'nat',
    [...chains, ...named.flatMap(({ service, key }) => serviceChains(service, key))],
    [
      '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
      '-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
      '-I POSTROUTING 1 -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
      '-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN',
      '-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000',
      '-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
      '-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000',
      ...named.flatMap(({ service, key }) => serviceRules(service, key, cluster)),
      '-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS',
    ],
  );
  const filter = restore(
    'filter',
    ['KUBE-FORWARD'],
    [
      '-I FORWARD 1 -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
      '-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP',
      '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT',
      '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
    ],
  );
  return nat + filter;
}

/** The services that cluster DNS stands for. */
export function dnsServices({ dns, pods }: Topology): LabService[] {
  const pod = pods.find(({ name }) => name === dns?.pod);
  if (dns === undefined || pod === undefined) return [];
  return (['UDP', 'TCP'] as const).map((protocol) => ({
    name: 'kube-dns',
    namespace: 'kube-system',
    clusterIps: [dns.clusterIp],
    port: 53,
    targetPort: 53,
    protocol,
    backends: [{ pod: pod.name, ips: pod.ips }],
  }));
}

/** What kube-proxy of one family sees of a Service. */
interface FamilyService extends Pick<LabService, 'name' | 'namespace' | 'port' | 'targetPort' | 'protocol' | 'nodePort'> {
  readonly clusterIp: Ip;
  readonly backends: readonly Ip[];
}

function inFamily({ clusterIps, backends, ...rest }: LabService, family: Family): FamilyService[] {
  const clusterIp = ofFamily(clusterIps, family);
  return clusterIp === undefined ? [] : [{ ...rest, clusterIp, backends: backends.flatMap(({ ips }) => ofFamily(ips, family) ?? []) }];
}

function ofFamily<T extends Ip | Cidr>(list: readonly T[], family: Family): T | undefined {
  return list.find((each) => familyOf(each) === family);
}

/** Chain names have at most 28 characters; kube-proxy hashes, here they stay readable. */
function chainKey({ name }: FamilyService, index: number): string {
  return `${name.slice(0, 10)}-${index}`;
}

function serviceChains({ backends, nodePort }: FamilyService, key: string): string[] {
  return [`KUBE-SVC-${key}`, ...(nodePort === undefined ? [] : [`KUBE-EXT-${key}`]), ...backends.map((_, i) => `KUBE-SEP-${key}-${i}`)];
}

function serviceRules(service: FamilyService, key: string, clusterCidr: string): string[] {
  const { name, namespace, clusterIp, port, targetPort, nodePort, backends } = service;
  const protocol = service.protocol.toLowerCase();
  const comment = `-m comment --comment "${namespace}/${name}"`;
  const portal = `-d ${hostCidr(clusterIp)} -p ${protocol} -m ${protocol} --dport ${port}`;
  return [
    `-A KUBE-SERVICES ${portal} ${comment} -j KUBE-SVC-${key}`,
    `-A KUBE-SVC-${key} ! -s ${clusterCidr} ${portal} ${comment} -j KUBE-MARK-MASQ`,
    ...(nodePort === undefined
      ? []
      : [
          `-A KUBE-NODEPORTS -p ${protocol} -m ${protocol} --dport ${nodePort} ${comment} -j KUBE-EXT-${key}`,
          `-A KUBE-EXT-${key} -j KUBE-MARK-MASQ`,
          `-A KUBE-EXT-${key} -j KUBE-SVC-${key}`,
        ]),
    ...backends.map((_, i) => `-A KUBE-SVC-${key} ${comment}${share(backends.length - i)} -j KUBE-SEP-${key}-${i}`),
    ...backends.flatMap((ip, i) => [
      `-A KUBE-SEP-${key}-${i} -s ${hostCidr(ip)} -j KUBE-MARK-MASQ`,
      `-A KUBE-SEP-${key}-${i} -p ${protocol} -m ${protocol} -j DNAT --to-destination ${formatIpPort(ip, targetPort)}`,
    ]),
  ];
}

/** Each back end takes its share of what the ones before it left; the last takes the rest. */
function share(left: number): string {
  return left === 1 ? '' : ` -m statistic --mode random --probability ${(1 / left).toFixed(10)}`;
}

function restore(table: string, chains: readonly string[], rules: readonly string[]): string {
  return [`*${table}`, ...chains.map((chain) => `:${chain} - [0:0]`), ...rules, 'COMMIT', ''].join('\n');
}
