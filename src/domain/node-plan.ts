import type { Cidr } from '../net/cidr.ts';
import type { Ip } from '../net/ip.ts';
import type { WgKey } from '../net/wg-key.ts';

/** All that one node carries for Raven. The drivers make the kernel equal to it; `raven plan` prints it. Every list is in a fixed order. */
export interface NodePlan {
  readonly role: Role;
  readonly links: readonly LinkPlan[];
  readonly fdb: readonly FdbEntry[];
  readonly neighbours: readonly Neighbour[];
  readonly nexthops: readonly Nexthop[];
  readonly routes: readonly Route[];
  readonly rules: readonly Rule[];
  /** undefined: no table at all. */
  readonly nft: NftTable | undefined;
  readonly sysctls: readonly Sysctl[];
  readonly tunnels: TunnelPlan | undefined;
  /** How other regions are reached, by region; empty on ordinary nodes. */
  readonly paths: readonly PathPlan[];
  /** What could not be planned, or stands in the way; shown as conditions. */
  readonly findings: readonly Finding[];
}

/** gateway: an active endpoint of its region. none: in no region, or nothing to connect. */
export type Role = 'gateway' | 'ordinary' | 'none';

export type LinkPlan = VxlanLink | XfrmLink | WireguardLink | TunLink;

export interface VxlanLink {
  readonly type: 'vxlan';
  readonly name: string;
  readonly vni: number;
  readonly port: number;
  readonly local: Ip;
  /** Underlay device. */
  readonly dev: string;
  readonly mac: string;
  readonly mtuBytes: number;
  /** Local address for probes of tunnels (`probe-address.ts`). */
  readonly probeIp?: Ip;
}

/** A kernel XFRM interface: packets routed to it are encrypted by the SA with the same id (`ip-link(8)`, type xfrm). */
export interface XfrmLink {
  readonly type: 'xfrm';
  readonly name: string;
  readonly ifId: number;
  /** Underlay device. */
  readonly dev: string;
  readonly mtuBytes: number;
  readonly group: number;
}

/** The kernel's WireGuard device; keys and peers are the tunnel driver's (`ip-link(8)`, type wireguard). */
export interface WireguardLink {
  readonly type: 'wireguard';
  readonly name: string;
  readonly mtuBytes: number;
  readonly group: number;
}

/** The TUN device that user-space charon or wireguard-go makes; only its name, group, MTU and state are ours to set. */
export interface TunLink {
  readonly type: 'tun';
  readonly name: string;
  readonly mtuBytes: number;
  readonly group: number;
}

/** Where the VXLAN device finds the node that has this MAC (`bridge-fdb(8)`). */
export interface FdbEntry {
  readonly dev: string;
  readonly mac: string;
  readonly dst: Ip;
}

/** A permanent neighbour entry, so that nothing is ever asked by ARP (`ip-neighbour(8)`). */
export interface Neighbour {
  readonly dev: string;
  readonly ip: Ip;
  readonly mac: string;
}

/** Where a group of routes goes (`ip-nexthop(8)`): one replace moves them all. */
export interface Nexthop {
  readonly id: number;
  readonly via?: Ip;
  readonly dev: string;
  /** 4 or 6: a device-only next hop belongs to a family. */
  readonly family: 4 | 6;
}

export interface Route {
  readonly table: number;
  readonly dst: Cidr;
  /** unicast when absent. throw: look on in the next rule. */
  readonly type?: 'throw';
  readonly nexthopId?: number;
  /** Without a nexthop object. */
  readonly via?: Ip;
  readonly dev?: string;
  /** Preferred source of packets that this node itself originates. */
  readonly src?: Ip;
  readonly mtuBytes?: number;
}

export interface Rule {
  readonly pref: number;
  readonly family: 4 | 6;
  readonly table: number;
  readonly mark?: { readonly value: number; readonly mask: number };
  /** Only UDP packets to this port that this machine itself sends. */
  readonly ownUdpPort?: number;
}

/** An nft table of family `inet`, all of it Raven's. */
export interface NftTable {
  readonly name: string;
  readonly sets: readonly NftSet[];
  readonly chains: readonly NftChain[];
}

export interface NftSet {
  readonly name: string;
  readonly type: 'ipv4_addr' | 'ipv6_addr';
  /** Prefixes that do not overlap, in order. */
  readonly elements: readonly Cidr[];
}

export interface NftChain {
  readonly name: string;
  readonly type: 'filter' | 'nat' | 'route';
  readonly hook: 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting';
  readonly priority: number;
  /** Rules in nft(8) syntax, without comments. */
  readonly rules: readonly string[];
}

/** A value under /proc/sys, for Raven's own devices only. `key` with slashes: `net/ipv4/conf/raven0/rp_filter`. */
export interface Sysctl {
  readonly key: string;
  readonly value: string;
}

export type DataPath = 'kernel' | 'user';

export const VPN_DRIVERS = ['ipsec', 'wireguard'] as const;
export type VpnDriver = (typeof VPN_DRIVERS)[number];

/** The VPN part of a gateway's plan. */
export type TunnelPlan = IpsecPlan | WireguardPlan;

interface TunnelPlanBase {
  readonly dataPath: DataPath;
  /** Own node name. */
  readonly localName: string;
  /** UDP port to listen on and to send from. */
  readonly localPort: number;
}

/** The IKE identity is derived from the node's name. */
export interface IpsecPlan extends TunnelPlanBase {
  readonly driver: 'ipsec';
  readonly tunnels: readonly Tunnel[];
}

export interface WireguardPlan extends TunnelPlanBase {
  readonly driver: 'wireguard';
  readonly tunnels: readonly WireguardTunnel[];
}

/** One association with a gateway node of another region. */
interface TunnelBase {
  /** Node name at the other end. */
  readonly peer: string;
  /** Its region. */
  readonly gateway: string;
  /** Where to reach it; absent: wait for it to call. */
  readonly remote?: { readonly ip: Ip; readonly port: number };
}

export interface Tunnel extends TunnelBase {
  /** Whether this side calls. Exactly one side of a pair does. */
  readonly initiate: boolean;
  /** kernel data path: XFRM interface id, both directions. */
  readonly ifId?: number;
  /** Traffic selectors: what this side may send from and receive for. */
  readonly localTs: readonly Cidr[];
  readonly remoteTs: readonly Cidr[];
}

/** Each side calls when it has something to send and knows where to. */
export interface WireguardTunnel extends TunnelBase {
  readonly publicKey: WgKey;
  /** What is sent to this peer and accepted from it. Each prefix belongs to one peer only; none while all of its region goes another way. */
  readonly allowedIps: readonly Cidr[];
  /** Seconds between packets that keep this side's NAT open; 0: none. */
  readonly keepaliveS: number;
  /** Whether the peer calls and keeps its own NAT open, so that silence means that it is gone. */
  readonly peerKeepsAlive: boolean;
}

/** The way to one other region. */
export interface PathPlan {
  readonly gateway: string;
  /** Gateway node at the far end. */
  readonly peer: string;
  /** Endpoint of the own region that carries its packets to that one, where several share them and it is another than this one. */
  readonly carrier?: string;
  /** Gateway node that relays; absent on a direct path. */
  readonly via?: string;
  /** The first leg is no tunnel. */
  readonly isPlain?: true;
  /** Some leg is no tunnel. */
  readonly encryption?: 'none';
  /** Where the far agent answers probes. */
  readonly overlayIp?: Ip;
  /** The largest packet that goes this way in one piece. */
  readonly mtuBytes?: number;
  /** On direct paths: what to try to find that out, largest first. */
  readonly probeSizes?: readonly number[];
}

/** A fact that an operator should know; ends as a condition. */
export interface Finding {
  /** CamelCase, as condition reasons are. */
  readonly reason: string;
  readonly message: string;
  /** Region it is about, when it is about one. */
  readonly gateway?: string;
}

/** What a node carries that has no part in anything. */
export const EMPTY_PLAN: NodePlan = {
  role: 'none',
  links: [],
  fdb: [],
  neighbours: [],
  nexthops: [],
  routes: [],
  rules: [],
  nft: undefined,
  sysctls: [],
  tunnels: undefined,
  paths: [],
  findings: [],
};

/** `raven0 mtu 1450 address 02:… type vxlan id 200 …`: what stands behind `ip link add`. */
export function formatLink(link: LinkPlan): string {
  switch (link.type) {
    case 'vxlan':
      return `${link.name} mtu ${link.mtuBytes} address ${link.mac} type vxlan id ${link.vni} local ${link.local} dev ${link.dev} dstport ${link.port} nolearning`;
    case 'xfrm':
      return `${link.name} mtu ${link.mtuBytes} group ${link.group} type xfrm dev ${link.dev} if_id ${link.ifId}`;
    case 'wireguard':
      return `${link.name} mtu ${link.mtuBytes} group ${link.group} type wireguard`;
    case 'tun':
      return `${link.name} mtu ${link.mtuBytes} group ${link.group}`;
  }
}

/** As behind `bridge fdb append`. */
export function formatFdb({ mac, dev, dst }: FdbEntry): string {
  return `${mac} dev ${dev} dst ${dst} self permanent`;
}

/** As behind `ip neigh replace`. */
export function formatNeighbour({ ip, mac, dev }: Neighbour): string {
  return `${ip} lladdr ${mac} dev ${dev} nud permanent`;
}

/** As behind `ip nexthop replace`. */
export function formatNexthop({ id, via, dev }: Nexthop): string {
  return via === undefined ? `id ${id} dev ${dev}` : `id ${id} via ${via} dev ${dev} onlink`;
}

/** As behind `ip route replace`. */
export function formatRoute({ table, dst, type, nexthopId, via, dev, src, mtuBytes }: Route): string {
  const words = [
    type ?? '',
    dst,
    nexthopId === undefined ? '' : `nhid ${nexthopId}`,
    via === undefined ? '' : `via ${via}`,
    dev === undefined ? '' : `dev ${dev}`,
    via === undefined ? '' : 'onlink',
    `table ${table}`,
    src === undefined ? '' : `src ${src}`,
    mtuBytes === undefined ? '' : `mtu ${mtuBytes}`,
  ];
  return words.filter((word) => word !== '').join(' ');
}

/** As behind `ip rule add` (`ip -6 rule add`). */
export function formatRule({ pref, mark, ownUdpPort, table }: Rule): string {
  const match = mark === undefined ? '' : ` fwmark 0x${mark.value.toString(16)}/0x${mark.mask.toString(16)}`;
  const packets = ownUdpPort === undefined ? '' : ` iif lo ipproto udp dport ${ownUdpPort}`;
  return `pref ${pref}${match}${packets} lookup ${table}`;
}
