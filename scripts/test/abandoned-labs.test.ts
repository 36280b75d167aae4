import { expect, it } from 'vitest';
import { abandonedLabs } from './abandoned-labs.ts';

it('knows the labs of test processes that are gone, and leaves all others alone', () => {
  expect(abandonedLabs(['demo', 't17-0', 't18-1', 't18-1x-y', 'test'], (pid) => pid === '17')).toEqual(['t18-1']);
});
