import { z } from 'zod';
import { parseCidr } from '../../net/cidr.ts';
import { familiesOf, familyOf, parseIp } from '../../net/ip.ts';
import { DEFAULT_TUNNEL_PORT } from '../../api/names.ts';

/** Linux interface names hold 15 characters (IFNAMSIZ); nodes and regions give their name to the device that leads to them. */
const DEVICE_NAME_MAX = 15;
/** A pod's control socket must fit into the 107 characters of a unix socket's path (`unix(7)`). */
const POD_NAME_MAX = 40;
export const LAB_NAME_MAX = 20;

const LABEL = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;
/** IPv4's own minimum is 68 (RFC 791), but tunnels need room for their headers and the smallest inner packet. */
const mtu = z.int().min(576).max(65535);
const port = z.int().min(1).max(65535);

export const labName = name(LAB_NAME_MAX);
const deviceName = name(DEVICE_NAME_MAX);
const podName = name(POD_NAME_MAX);

const ip4 = z
  .string()
  .refine((text) => parseIp(text) !== undefined && familyOf(text) === 4, 'must be an IPv4 address such as 192.168.1.10');
const ip = z
  .string()
  .refine((text) => parseIp(text) === text, 'must be an address such as 192.168.1.10 or 2001:db8::a, in its shortest form');
const cidr = z
  .string()
  .refine(
    (text) => parseCidr(text) === text,
    'must be a network such as 192.168.1.0/24 or 2001:db8::/64, with no host bits set and in its shortest form',
  );
const ips = ofFamilies(ip);
const cidrs = ofFamilies(cidr);

const forward = z.strictObject({
  publicPort: port.describe("Port on the router's public address."),
  node: z.string().describe('Node that gets the packets.'),
  port: port.describe('Port on that node.'),
  protocol: z.enum(['udp', 'tcp']).default('udp').describe('Protocol.'),
});

const router = z.strictObject({
  nat: z
    .enum(['none', 'cone', 'symmetric'])
    .default('none')
    .describe(
      'none: the LAN is part of the internet. cone: masquerade that keeps the port. symmetric: a random port for each destination. IPv6 is never translated: both of these then drop what nobody inside asked for.',
    ),
  publicIp: ip4.optional().describe("The router's IPv4 address on the internet; required with NAT in front of an IPv4 LAN."),
  forwards: z.array(forward).default([]).describe('Port forwards from the public address to nodes.'),
  dropIcmp: z.boolean().default(false).describe('Drop every ICMP packet, also the router’s own "fragmentation needed".'),
  mtu: mtu.optional().describe('MTU of the link to the internet; default `internet.mtu`.'),
  sameAs: z.string().optional().describe('Name of another region whose router and LAN this region shares; excludes all other fields.'),
});

const node = z.strictObject({
  name: deviceName.describe('Name of the Node and of its network namespace.'),
  ip: ips
    .optional()
    .describe("Address in the region's LAN, or a list of one of each family; default the first free ones from the tenth on."),
  podCidr: cidrs
    .optional()
    .describe(
      'Addresses of its pods, or a list of one of each family; default: the /24 (IPv6: /64) of each `clusterCidr` that has the position of the node as its number.',
    ),
  gateway: z.boolean().default(false).describe('List the node in `spec.endpoints` of its Gateway, in the order of the nodes here.'),
  port: port.optional().describe(`UDP port that the tunnel listens on; default ${DEFAULT_TUNNEL_PORT}.`),
  publicIp: ip.optional().describe('`publicIP` of the endpoint, as a person would write it into the Gateway.'),
  publicPort: port.optional().describe('`publicPort` of the endpoint.'),
  pods: z
    .union([z.int().min(0).max(200), z.array(podName)])
    .default(1)
    .describe('How many pods, or their names. Without names: `pod-NODE`, or `pod-NODE-1`, `pod-NODE-2` … when there are several.'),
});

const region = z.strictObject({
  name: deviceName.describe('Name of the Gateway.'),
  lan: cidrs
    .optional()
    .describe(
      'Network of the nodes, or a list of one of each family; the router is its last address (IPv6: number 254). Required unless `router.sameAs` is given.',
    ),
  mtu: mtu.optional().describe('MTU of the LAN and of the pods; default `internet.mtu`.'),
  router: router.prefault({}).describe('What stands between the LAN and the internet.'),
  nodes: z.array(node).min(1).describe('Nodes of the region.'),
  replicas: z.int().min(0).default(1).describe('`tunnelConfig.Replicas` of the Gateway.'),
  exposeType: z.enum(['', 'PublicIP', 'LoadBalancer']).default('').describe('`exposeType` of the Gateway.'),
  annotations: z.record(z.string(), z.string()).default({}).describe('Annotations of the Gateway.'),
});

const service = z.strictObject({
  name: podName.describe('Name of the Service.'),
  namespace: podName.default('default').describe('Namespace of the Service; only part of its DNS name.'),
  clusterIP: ips.describe('Address inside `serviceCidr`, or a list of one of each family.'),
  port: port.describe('Port of the Service.'),
  targetPort: port.optional().describe('Port on the pods; default `port`.'),
  protocol: z.enum(['TCP', 'UDP']).default('TCP').describe('Protocol.'),
  nodePort: z.int().min(30000).max(32767).optional().describe('Port on every node.'),
  pods: z.array(z.string()).min(1).describe('Pods that serve it, chosen at random for each connection.'),
});

const dns = z.strictObject({
  pod: z.string().describe('Pod that answers for `cluster.local`.'),
  clusterIP: ip4.describe("Address of the DNS service; every pod's resolv.conf names it."),
});

/** A topology file as a person writes it. Unknown fields are errors. IPv6 is on where the file has IPv6 networks. */
export const topologySchema = z.strictObject({
  $schema: z.string().optional().describe('For editors; ignored.'),
  name: labName.describe('Name of the lab unless `--name` gives another.'),
  clusterCidr: cidrs
    .prefault('10.244.0.0/16')
    .describe('Holds the pod networks of all nodes. A list of one of each family makes a dual-stack cluster.'),
  serviceCidr: cidrs.prefault('10.96.0.0/16').describe('Holds the cluster IPs of all services; one of a family, or a list of one of each.'),
  internet: z
    .strictObject({
      mtu: mtu.default(1500).describe('MTU of every link that has none of its own.'),
      dropIcmp: z.boolean().default(false).describe('Drop every ICMP packet on the way.'),
    })
    .prefault({})
    .describe('What connects the routers.'),
  regions: z.array(region).min(1).describe('Regions, in the order in which they are created.'),
  masquerade: z
    .array(z.enum(['legacy', 'nft']))
    .default(['nft'])
    .describe("iptables back ends that hold the CNI's masquerade rule on every node; an empty list for none."),
  kubeProxy: z.enum(['legacy', 'nft']).default('nft').describe("iptables back end that holds kube-proxy's rules, when there are services."),
  rpFilter: z.enum(['strict', 'loose', 'off']).default('off').describe('Reverse path filter of all devices of all nodes.'),
  ipv6: z.boolean().default(false).describe('Leave IPv6 switched on (link-local addresses only), also where the file has no IPv6 network.'),
  services: z.array(service).prefault([]).describe('Services, as rules that kube-proxy writes on every node.'),
  dns: dns.optional().describe('Cluster DNS.'),
  allowOverlap: z.boolean().default(false).describe('Allow pod networks of different nodes to overlap.'),
});

/** The file after defaults of single fields; what depends on other fields is filled by `resolveTopology`. */
export type TopologyFile = z.output<typeof topologySchema>;
export type RegionFile = TopologyFile['regions'][number];
export type NodeFile = RegionFile['nodes'][number];

/** JSON Schema (draft 2020-12) of a topology file, for editors. */
export function topologyJsonSchema(): unknown {
  return { title: 'Raven lab topology', ...z.toJSONSchema(topologySchema, { io: 'input' }) };
}

/** One text, or a list with one of each family; read as a list, IPv4 first. */
function ofFamilies(text: z.ZodType<string, string>): z.ZodType<string[], string | string[]> {
  return z
    .union([text, z.array(text).min(1).max(2)])
    .transform((value) => (typeof value === 'string' ? [value] : value).toSorted((a, b) => familyOf(a) - familyOf(b)))
    .refine((list) => list.length === familiesOf(list).length, 'must be one of each family');
}

function name(max: number): z.ZodString {
  return z.string().max(max, `must have at most ${max} characters`).regex(LABEL, 'must be lower-case letters, digits and inner hyphens');
}
