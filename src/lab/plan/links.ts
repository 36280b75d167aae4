import { familyOf, type Ip } from '../../net/ip.ts';
import { labMac } from './names.ts';

/** A device by the namespace that it is in. */
export interface Device {
  readonly netns: string;
  readonly name: string;
}

/**
 * Interface index of a cable's inner end. Both ends counting from 2 in namespaces of their own would often get the same number, which the
 * kernel takes for a device without a peer: it then reports a carrier, and opens bridge ports, up to a second late (linkwatch_urgent_event).
 */
const INNER_INDEX = 10_000;

/** `ip link` line that makes a cable between two namespaces, from inside the inner one. Both must exist. */
export function formatVeth(inner: Device, outer: Device, mtuBytes: number): string {
  // `name`, `dev`: iproute2 would read a device called `a` as short for `address`.
  const end = ({ netns, name }: Device): string => `name ${name} mtu ${mtuBytes} address ${labMac(netns, name)}`;
  return `link add ${end(inner)} index ${INNER_INDEX} type veth peer ${end(outer)} netns ${outer.netns}`;
}

/** `ip addr` line for an address of the lab, which is unique by construction: nothing waits for duplicates to answer. */
export function formatAddress(ip: Ip, length: number, device: string): string {
  return `addr add ${ip}/${length} dev ${device}${familyOf(ip) === 6 ? ' nodad' : ''}`;
}

/** `ip link` line that makes a bridge with a fixed address: else it takes that of a port, and changes it when ports come and go. */
export function formatBridge(netns: string, name: string, mtuBytes: number): string {
  return `link add name ${name} mtu ${mtuBytes} address ${labMac(netns, name)} type bridge`;
}
