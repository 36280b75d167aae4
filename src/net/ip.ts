import { isIPv4, isIPv6 } from 'node:net';

declare const brand: unique symbol;

/** An IPv4 or IPv6 address in canonical text form (RFC 5952 for IPv6, no zone). */
export type Ip = string & { readonly [brand]: 'Ip' };

export type Family = 4 | 6;

export const FAMILIES = [4, 6] as const satisfies readonly Family[];

/** Parses `text`, or returns undefined when it is no address. Leading zeros in IPv4 octets are refused (they are octal to some readers). */
export function parseIp(text: string): Ip | undefined {
  if (isIPv4(text)) return text as Ip;
  if (!isIPv6(text) || text.includes('%')) return undefined;
  return formatIp({ family: 6, value: ipv6Value(text) });
}

/** The link-local address that belongs to a MAC (RFC 4291 §2.5.6 and appendix A, modified EUI-64). */
export function linkLocalIp(mac: string): Ip {
  const [first = 0, ...rest] = mac.split(':').map((byte) => Number.parseInt(byte, 16));
  const identifier = [first ^ 0x02, ...rest.slice(0, 2), 0xff, 0xfe, ...rest.slice(2)];
  return formatIp({ family: 6, value: identifier.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0xfe80n << 48n) });
}

/** `192.0.2.1:4500`, `[2001:db8::1]:4500`. */
export function formatIpPort(ip: string, port: number): string {
  return familyOf(ip) === 6 ? `[${ip}]:${port}` : `${ip}:${port}`;
}

export function familyOf(address: string): Family {
  return address.includes(':') ? 6 : 4;
}

/** The families that some of these addresses or prefixes have, IPv4 first. */
export function familiesOf(texts: readonly string[]): Family[] {
  return FAMILIES.filter((family) => texts.some((text) => familyOf(text) === family));
}

/** An address as a number, for arithmetic. */
export interface IpValue {
  readonly family: Family;
  readonly value: bigint;
}

export function ipValue(ip: Ip): IpValue {
  if (familyOf(ip) === 6) return { family: 6, value: ipv6Value(ip) };
  return { family: 4, value: ip.split('.').reduce((sum, octet) => (sum << 8n) | BigInt(octet), 0n) };
}

export function formatIp({ family, value }: IpValue): Ip {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 0xffn).join('.') as Ip;
  const groups = Array.from({ length: 8 }, (_, i) => ((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16));
  return compress(groups) as Ip;
}

/** RFC 5952 §4.2: `::` replaces the longest run of two or more zero groups, the first one on a tie. */
function compress(groups: readonly string[]): string {
  let best = { start: -1, length: 1 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (groups[start + length] === '0') length++;
    if (length > best.length) best = { start, length };
  }
  if (best.start < 0) return groups.join(':');
  return `${groups.slice(0, best.start).join(':')}::${groups.slice(best.start + best.length).join(':')}`;
}

function ipv6Value(text: string): bigint {
  const withHex = text.includes('.') ? embeddedIpv4ToHex(text) : text;
  const [head = '', tail] = withHex.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  const groups = [...left, ...Array.from({ length: zeros }, () => '0'), ...right];
  return groups.reduce((sum, group) => (sum << 16n) | BigInt(`0x${group}`), 0n);
}

function embeddedIpv4ToHex(text: string): string {
  const at = text.lastIndexOf(':') + 1;
  const [a = 0, b = 0, c = 0, d = 0] = text.slice(at).split('.').map(Number);
  return `${text.slice(0, at)}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
}

/** Whether an address is meant for the open internet: not private (RFC 1918, RFC 4193), shared (RFC 6598), loopback, link-local or multicast. */
export function isGlobalIp(ip: Ip): boolean {
  const { family, value } = ipValue(ip);
  const ranges = family === 4 ? NOT_GLOBAL_4 : NOT_GLOBAL_6;
  const bits = family === 4 ? 32n : 128n;
  return !ranges.some(([prefix, length]) => value >> (bits - BigInt(length)) === prefix);
}

/** [leading bits, prefix length], from the IANA special-purpose registries. */
const NOT_GLOBAL_4: readonly (readonly [bigint, number])[] = [
  [0n, 8],
  [10n, 8],
  [127n, 8],
  [0b0110010001n, 10], // 100.64.0.0/10
  [0xa9fen, 16], // 169.254.0.0/16
  [0xac1n, 12], // 172.16.0.0/12
  [0xc0a8n, 16], // 192.168.0.0/16
  [0b111n, 3], // multicast and reserved
];
const NOT_GLOBAL_6: readonly (readonly [bigint, number])[] = [
  [0n, 96],
  [0b1111110n, 7], // fc00::/7
  [0b1111111010n, 10], // fe80::/10
  [0xffn, 8],
];
