import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { addressAt, type Cidr, cidrContainsIp, cidrsOverlap, mergeCidrs, parseCidr, subtractCidrs } from './cidr.ts';
import { formatIp, isGlobalIp, parseIp } from './ip.ts';

const cidr = (text: string) => parseCidr(text)!;
/** Prefixes inside 10.0.0.0/24, so that membership can be counted address by address. */
const small = fc.tuple(fc.integer({ min: 24, max: 32 }), fc.nat(255)).map(([length, host]) => cidr(`10.0.0.${host}/${length}`));
const addresses = Array.from({ length: 256 }, (_, i) => addressAt(cidr('10.0.0.0/24'), i));
const members = (cidrs: readonly Cidr[]) => addresses.filter((ip) => cidrs.some((each) => cidrContainsIp(each, ip)));

describe('parseCidr', () => {
  it('accepts canonical and host-bit forms and clears host bits', () => {
    expect(parseCidr('10.1.2.3/16')).toBe('10.1.0.0/16');
    expect(parseCidr('fd00:0:0::1/64')).toBe('fd00::/64');
    expect(parseCidr('::ffff:10.0.0.0/104')).toBe('::ffff:a00:0/104');
  });

  it.each([
    '',
    '10.0.0.0',
    '10.0.0.0/33',
    '10.0.0/8',
    '010.1.1.0/24',
    '10.0.0.0/08',
    '10.0.0.0/8/8',
    'fd00::/129',
    'x/8',
    'fe80::1%eth0/64',
  ])('refuses %j', (text) => {
    expect(parseCidr(text)).toBeUndefined();
  });

  test.prop([fc.string()])('never throws', (text) => {
    parseCidr(text);
    parseIp(text);
  });
});

describe('prefix arithmetic', () => {
  test.prop([fc.array(small, { maxLength: 8 })])('merging keeps exactly the same addresses, in the fewest prefixes', (cidrs) => {
    const merged = mergeCidrs(cidrs);
    expect(members(merged)).toEqual(members(cidrs));
    expect(mergeCidrs(merged)).toEqual(merged);
    for (const [i, a] of merged.entries()) for (const b of merged.slice(i + 1)) expect(cidrsOverlap(a, b)).toBe(false);
  });

  test.prop([small, fc.array(small, { maxLength: 6 })])('subtracting takes exactly the holes out', (from, holes) => {
    const inHoles = new Set(members(holes));
    expect(members(subtractCidrs(from, holes))).toEqual(members([from]).filter((ip) => !inHoles.has(ip)));
  });
});

describe('addresses', () => {
  test.prop([fc.ipV6()])('IPv6 has one text form, which reads back to itself', (text) => {
    const ip = parseIp(text);
    if (ip !== undefined) expect(parseIp(ip)).toBe(ip);
  });

  it('compresses the longest run of zeros, the first on a tie, never a single one (RFC 5952)', () => {
    expect(parseIp('2001:db8:0:0:1:0:0:1')).toBe('2001:db8::1:0:0:1');
    expect(parseIp('2001:db8:0:1:1:1:1:1')).toBe('2001:db8:0:1:1:1:1:1');
    expect(formatIp({ family: 6, value: 0n })).toBe('::');
  });

  it.each([
    ['10.1.1.1', false],
    ['172.31.0.1', false],
    ['172.32.0.1', true],
    ['100.64.0.1', false],
    ['192.168.1.1', false],
    ['203.0.113.1', true],
    ['fd00::1', false],
    ['2001:db8::1', true],
  ] as const)('%s is global: %s', (text, expected) => {
    expect(isGlobalIp(parseIp(text)!)).toBe(expected);
  });
});
