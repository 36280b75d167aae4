import { createHash } from 'node:crypto';
import { compareText } from '../../lib/compare.ts';
import { type Ip, linkLocalIp } from '../../net/ip.ts';

/** Every namespace of every lab starts so. */
export const NETNS_PREFIX = 'raven-';
/** Namespace of the internet: the first to be made and the last to go, so a lab is known by it even when its state is lost. */
export const INTERNET = 'internet';
/** The internet's address on each of its links (RFC 5737, TEST-NET-1). */
export const INTERNET_IP = '192.0.2.1' as Ip;
/** The same in IPv6, where links lead by link-local addresses: names the internet in traces (RFC 3849). */
export const INTERNET_IP6 = '2001:db8:ffff::1' as Ip;
export const INTERNET_IPS = [INTERNET_IP, INTERNET_IP6] as const;

/** Devices. Nodes and pods have `eth0`; routers have a bridge towards the LAN and a link to the internet. */
export const UPLINK = 'eth0';
export const POD_BRIDGE = 'cni0';
export const LAN_BRIDGE = 'lan';
export const WAN = 'wan';

/** Namespace of a node, pod, router or the internet, as `ip netns` names it. */
export function netnsName(lab: string, member: string): string {
  return `${NETNS_PREFIX}${lab}-${member}`;
}

/** The link-local address that the kernel gives to a device of the lab. */
export function labLinkLocal(netns: string, device: string): Ip {
  return linkLocalIp(labMac(netns, device));
}

/** A MAC address that stays when a node is built again, as that of a real network card would (locally administered, 40 bits of a hash). */
export function labMac(netns: string, device: string): string {
  const digest = createHash('sha256').update(`${netns}/${device}`).digest();
  return [0x02, ...digest.subarray(0, 5)].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/**
 * The labs that own these namespaces: by their `internet`, and by the names that are known from elsewhere.
 * @returns lab name → its namespaces; a namespace belongs to the lab with the longest name that fits (`x-y` before `x`).
 */
export function groupByLab(netnsNames: readonly string[], knownLabs: readonly string[]): Map<string, string[]> {
  const ending = `-${INTERNET}`;
  const marked = netnsNames.filter((each) => each.startsWith(NETNS_PREFIX) && each.endsWith(ending));
  const labs = new Set([...knownLabs, ...marked.map((each) => each.slice(NETNS_PREFIX.length, -ending.length))]);
  const longestFirst = [...labs].toSorted((a, b) => b.length - a.length);
  const groups = new Map<string, string[]>([...labs].toSorted(compareText).map((lab) => [lab, []]));
  for (const netns of netnsNames) {
    const owner = longestFirst.find((lab) => netns.startsWith(`${NETNS_PREFIX}${lab}-`));
    if (owner !== undefined) groups.get(owner)?.push(netns);
  }
  return groups;
}
