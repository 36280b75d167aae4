import { compareText } from '../lib/compare.ts';
import { type Family, formatIp, type Ip, ipValue, parseIp } from './ip.ts';

declare const brand: unique symbol;

/** A network prefix in canonical text form (`10.1.0.0/16`, `fd00::/8`), host bits zero. */
export type Cidr = string & { readonly [brand]: 'Cidr' };

interface Range {
  readonly family: Family;
  readonly first: bigint;
  readonly length: number;
}

/** Parses `text`, or returns undefined when it is not a prefix. Host bits are cleared, as the kernel does for pod CIDRs. */
export function parseCidr(text: string): Cidr | undefined {
  const [address = '', length = '', extra] = text.trim().split('/');
  const ip = parseIp(address);
  if (ip === undefined || extra !== undefined || !/^(0|[1-9]\d{0,2})$/.test(length)) return undefined;
  const { family, value } = ipValue(ip);
  const prefix = Number(length);
  if (prefix > bitsOf(family)) return undefined;
  return format({ family, first: clearHostBits(value, family, prefix), length: prefix });
}

export function prefixLength(cidr: Cidr): number {
  return Number(cidr.slice(cidr.indexOf('/') + 1));
}

export function networkAddress(cidr: Cidr): Ip {
  return cidr.slice(0, cidr.indexOf('/')) as Ip;
}

/** The prefix that holds just this address. */
export function hostCidr(ip: Ip): Cidr {
  return `${ip}/${bitsOf(ipValue(ip).family)}` as Cidr;
}

export function cidrContainsIp(cidr: Cidr, ip: Ip): boolean {
  return cidrContains(cidr, hostCidr(ip));
}

/** Whether `outer` holds all of `inner`. */
export function cidrContains(outer: Cidr, inner: Cidr): boolean {
  return contains(rangeOf(outer), rangeOf(inner));
}

/** Two prefixes overlap exactly when one contains the other. */
export function cidrsOverlap(a: Cidr, b: Cidr): boolean {
  return cidrContains(a, b) || cidrContains(b, a);
}

/** What is left of `cidr` without `holes`, as the fewest prefixes, in address order. */
export function subtractCidrs(cidr: Cidr, holes: readonly Cidr[]): Cidr[] {
  return subtract(rangeOf(cidr), holes.map(rangeOf)).map(format);
}

/** The fewest prefixes that cover exactly the same addresses, IPv4 first, in address order. */
export function mergeCidrs(cidrs: readonly Cidr[]): Cidr[] {
  const sorted = [...new Set(cidrs)].map(rangeOf).toSorted(compareRanges);
  const merged: Range[] = [];
  for (const range of sorted) {
    const last = merged.at(-1);
    if (last === undefined || !contains(last, range)) merged.push(range);
    joinSiblings(merged);
  }
  return merged.map(format);
}

/** IPv4 before IPv6, then by address, then the wider first. */
export function compareCidrs(a: Cidr, b: Cidr): number {
  return compareRanges(rangeOf(a), rangeOf(b)) || compareText(a, b);
}

/** The `index`-th address of a prefix, counted from its network address. */
export function addressAt(cidr: Cidr, index: number): Ip {
  const { family, first } = rangeOf(cidr);
  return formatIp({ family, value: first + BigInt(index) });
}

function subtract(range: Range, holes: readonly Range[]): Range[] {
  const touching = holes.filter((hole) => contains(range, hole) || contains(hole, range));
  if (touching.length === 0) return [range];
  if (touching.some((hole) => contains(hole, range))) return [];
  const half = halvesOf(range);
  return half.flatMap((part) => subtract(part, touching));
}

function halvesOf({ family, first, length }: Range): Range[] {
  const step = 1n << BigInt(bitsOf(family) - length - 1);
  return [
    { family, first, length: length + 1 },
    { family, first: first + step, length: length + 1 },
  ];
}

function joinSiblings(ranges: Range[]): void {
  for (;;) {
    const right = ranges.at(-1);
    const left = ranges.at(-2);
    if (left === undefined || right === undefined || left.length !== right.length || left.length === 0) return;
    const parent: Range = { family: left.family, first: clearHostBits(left.first, left.family, left.length - 1), length: left.length - 1 };
    if (!contains(parent, right) || left.first === right.first) return;
    ranges.splice(-2, 2, parent);
  }
}

function rangeOf(cidr: Cidr): Range {
  const { family, value } = ipValue(networkAddress(cidr));
  return { family, first: value, length: prefixLength(cidr) };
}

function format({ family, first, length }: Range): Cidr {
  return `${formatIp({ family, value: first })}/${length}` as Cidr;
}

function contains(outer: Range, inner: Range): boolean {
  return (
    outer.family === inner.family && outer.length <= inner.length && clearHostBits(inner.first, inner.family, outer.length) === outer.first
  );
}

function compareRanges(a: Range, b: Range): number {
  if (a.family !== b.family) return a.family - b.family;
  if (a.first !== b.first) return a.first < b.first ? -1 : 1;
  return a.length - b.length;
}

function clearHostBits(value: bigint, family: Family, length: number): bigint {
  const shift = BigInt(bitsOf(family) - length);
  return (value >> shift) << shift;
}

function bitsOf(family: Family): number {
  return family === 4 ? 32 : 128;
}
