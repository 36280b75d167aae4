import { fc, test } from '@fast-check/vitest';
import { expect, it } from 'vitest';
import { decodeStatement, encodeStatement } from './probe-flags.ts';

const statement = fc.record({
  forwards: fc.boolean(),
  stance: fc.constantFrom(undefined, 'carries' as const, 'leaves' as const),
  ruled: fc.boolean(),
  uses: fc.boolean(),
  works: fc.boolean(),
  distrusts: fc.boolean(),
});

test.prop([statement])('a statement comes back from its byte as it was', (given) => {
  const byte = encodeStatement(given);
  expect(byte).toBeLessThan(256);
  expect(decodeStatement(byte)).toEqual(given);
});

it('a probe that only measures states nothing', () => {
  expect(decodeStatement(0)).toBeUndefined();
});
