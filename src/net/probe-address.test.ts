import { fc, test } from '@fast-check/vitest';
import { expect, it } from 'vitest';
import { cidrContainsIp } from './cidr.ts';
import { PROBE_RANGE, probeAddress } from './probe-address.ts';

test.prop([fc.string()])('a probe address lies in its range, and is always the same', (node) => {
  expect(cidrContainsIp(PROBE_RANGE, probeAddress(node))).toBe(true);
  expect(probeAddress(node)).toBe(probeAddress(node));
});

it('differs between the nodes of a large cluster, but for a few', () => {
  const names = Array.from({ length: 2_000 }, (_, i) => `edge-${i}`);
  expect(new Set(names.map(probeAddress)).size).toBeGreaterThan(1_990);
});
