import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { type Cidr, cidrContains, cidrsOverlap, mergeCidrs, parseCidr, subtractCidrs } from '../net/cidr.ts';
import { type RegionCidrs, usableSubnets } from './overlap.ts';

const region = (name: string, ...cidrs: string[]): RegionCidrs => ({ name, cidrs: cidrs.map((text) => parseCidr(text)!) });
const printed = (...regions: RegionCidrs[]): string[] =>
  [...usableSubnets(regions)].map(([name, { cidrs, overlaps }]) =>
    [`${name}: ${cidrs.join(' ') || '-'}`, ...overlaps.map((overlap) => `${overlap.cidr} with ${overlap.with}`)].join(', '),
  );

describe('usableSubnets', () => {
  it('merges what belongs to one region alone', () => {
    expect(printed(region('a', '10.1.1.0/24', '10.1.0.0/24', '10.1.0.0/24'), region('b', 'fd00:2::/64'))).toMatchInlineSnapshot(`
      [
        "a: 10.1.0.0/23",
        "b: fd00:2::/64",
      ]
    `);
  });

  it('takes a shared part out on both sides and names it on both, the rest stays (R36)', () => {
    expect(printed(region('a', '10.1.0.0/22'), region('b', '10.1.1.0/24', '10.9.0.0/24'))).toMatchInlineSnapshot(`
      [
        "a: 10.1.0.0/24 10.1.2.0/23, 10.1.1.0/24 with b",
        "b: 10.9.0.0/24, 10.1.1.0/24 with a",
      ]
    `);
  });

  it('names every pair of nested claims', () => {
    expect(printed(region('a', '10.0.0.0/8'), region('b', '10.1.0.0/16'), region('c', '10.1.1.0/24'))).toMatchInlineSnapshot(`
      [
        "a: 10.0.0.0/16 10.2.0.0/15 10.4.0.0/14 10.8.0.0/13 10.16.0.0/12 10.32.0.0/11 10.64.0.0/10 10.128.0.0/9, 10.1.0.0/16 with b, 10.1.1.0/24 with c",
        "b: -, 10.1.0.0/16 with a, 10.1.1.0/24 with c",
        "c: -, 10.1.1.0/24 with a, 10.1.1.0/24 with b",
      ]
    `);
  });

  it('keeps a region without CIDRs, and takes two entries of one name as one region', () => {
    expect(printed(region('a'), region('b', '10.1.0.0/24'), region('b', '10.1.0.0/23'))).toEqual(['a: -', 'b: 10.1.0.0/23']);
  });

  it('names some others, not all, when very many regions claim the same', () => {
    const many = Array.from({ length: 300 }, (_, i) => region(`r${i}`, '10.1.0.0/24'));
    for (const { cidrs, overlaps } of usableSubnets(many).values()) {
      expect(cidrs).toEqual([]);
      expect(overlaps.length).toBeGreaterThanOrEqual(1);
      expect(overlaps.length).toBeLessThanOrEqual(16);
    }
  });

  it('stays cheap at 1,000 regions with 10 CIDRs each', () => {
    const regions = Array.from({ length: 1000 }, (_, r) =>
      region(`r${r}`, ...Array.from({ length: 10 }, (__, i) => `10.${r >> 4}.${((r & 15) << 4) + i}.0/24`)),
    );
    const begin = performance.now();
    expect(usableSubnets(regions).size).toBe(1000);
    expect(performance.now() - begin).toBeLessThan(1000); // 40 ms when idle; all pairs would take half a minute
  });

  const cidrs = fc.array(
    fc.oneof(
      fc
        .tuple(fc.nat(255), fc.nat(255), fc.integer({ min: 8, max: 32 }))
        .map(([a, b, length]) => parseCidr(`10.${a & 3}.${b & 7}.0/${length}`)!),
      fc.tuple(fc.nat(7), fc.integer({ min: 16, max: 128 })).map(([a, length]) => parseCidr(`fd00:${a}::/${length}`)!),
    ),
    { maxLength: 4 },
  );
  const anyRegions = fc.array(cidrs, { maxLength: 5 }).map((lists) => lists.map((list, i) => ({ name: `r${i}`, cidrs: list })));

  test.prop([anyRegions])('gives each region exactly its addresses minus those of all others', (regions) => {
    const result = usableSubnets(regions);
    for (const { name, cidrs: own } of regions) {
      const others = regions.filter((other) => other.name !== name).flatMap((other) => other.cidrs);
      expect(result.get(name)?.cidrs).toEqual(mergeCidrs(own.flatMap((cidr) => subtractCidrs(cidr, others))));
    }
  });

  test.prop([anyRegions])('names an overlap on both sides, and wherever there is one', (regions) => {
    const result = usableSubnets(regions);
    for (const a of regions) {
      for (const b of regions.filter((each) => each !== a)) {
        const between = (x: RegionCidrs, y: RegionCidrs): Cidr[] =>
          (result.get(x.name)?.overlaps ?? []).filter((overlap) => overlap.with === y.name).map(({ cidr }) => cidr);
        expect(between(a, b)).toEqual(between(b, a));
        expect(between(a, b).length > 0).toBe(a.cidrs.some((x) => b.cidrs.some((y) => cidrsOverlap(x, y))));
        for (const cidr of between(a, b)) expect(mergeCidrs(a.cidrs).some((x) => cidrContains(x, cidr))).toBe(true);
      }
    }
  });

  test.prop([anyRegions.chain((regions) => fc.tuple(fc.constant(regions), fc.shuffledSubarray(regions, { minLength: regions.length })))])(
    'does not depend on the order of regions or CIDRs',
    ([regions, shuffled]) => {
      const reversed = shuffled.map(({ name, cidrs: list }) => ({ name, cidrs: list.toReversed() }));
      expect(Object.fromEntries(usableSubnets(reversed))).toEqual(Object.fromEntries(usableSubnets(regions)));
    },
  );
});
