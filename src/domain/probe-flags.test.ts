import { fc, test } from '@fast-check/vitest';
import { expect, it } from 'vitest';
import { decodeStatement, encodeStatement } from './probe-flags.ts';

const stances = [
  { stance: undefined, ruled: false },
  { stance: 'carries', ruled: false },
  { stance: 'carries', ruled: true },
  { stance: 'leaves', ruled: false },
  { stance: 'waits', ruled: false },
] as const;
const lane = fc
  .record({ said: fc.constantFrom(...stances), uses: fc.boolean(), works: fc.boolean(), distrusts: fc.boolean() })
  .map(({ said, ...rest }) => ({ ...said, ...rest }));
const statement = fc.record({ forwards: fc.boolean(), lanes: fc.array(lane, { minLength: 1, maxLength: 2 }) });

test.prop([statement])('a statement comes back from its byte for each lane as it was', (given) => {
  const flags = encodeStatement(given);
  expect(flags).toBeLessThan(256 ** given.lanes.length);
  expect(decodeStatement(flags)).toEqual(given);
});

it('a probe that only measures states nothing', () => {
  expect(decodeStatement(0)).toBeUndefined();
});
