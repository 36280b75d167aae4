import { type Cidr, cidrsOverlap, parseCidr, prefixLength } from '../net/cidr.ts';
import { familyOf, type Ip } from '../net/ip.ts';

/** Wider prefixes swallow whole networks: no cluster has such pod CIDRs, a typing error has. */
const WIDEST = { 4: 8, 6: 16 } as const;

/** Loopback, link-local, multicast, "this network" and reserved (RFC 6890): never pods. */
const NEVER_PODS = [
  '0.0.0.0/8',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '224.0.0.0/3',
  '::/16',
  'fe80::/10',
  'ff00::/8',
] as readonly string[] as readonly Cidr[];

/** Whether a prefix may be carried between regions at all. */
export function isCarriable(cidr: Cidr): boolean {
  return prefixLength(cidr) >= WIDEST[familyOf(cidr)] && !NEVER_PODS.some((range) => cidrsOverlap(range, cidr));
}

/** Whether an address lies inside one of these; by prefix length, so that thousands of prefixes cost no more than a few. */
export function matcherOf(cidrs: readonly Cidr[]): (ip: Ip) => boolean {
  const known = new Set(cidrs);
  const lengths = [...new Set(cidrs.map(prefixLength))];
  return (ip) =>
    lengths.some((length) => {
      const around = parseCidr(`${ip}/${length}`);
      return around !== undefined && known.has(around);
    });
}
