import { fnv1a } from '../lib/hash.ts';
import { type Cidr, parseCidr } from './cidr.ts';
import { type Ip, parseIp } from './ip.ts';

/** Reserved (RFC 1112 §4, "class E"), and never pods (`domain/subnets.ts`); Linux treats it as unicast. Half of it, so that no address is the broadcast address. */
export const PROBE_RANGE = parseCidr('240.0.0.0/5') as Cidr;

const HOSTS = 2 ** 27;

/**
 * The address by which other gateways' agents probe the tunnel to a node. Everybody derives it from the node's name. Two nodes may have one (among 200 peers
 * with a probability of 0.02 %): probes then measure the first by name.
 */
export function probeAddress(node: string): Ip {
  const host = fnv1a(`probe/${node}`) % HOSTS;
  return parseIp(`${240 + (host >>> 24)}.${(host >>> 16) & 255}.${(host >>> 8) & 255}.${host & 255}`) as Ip;
}
