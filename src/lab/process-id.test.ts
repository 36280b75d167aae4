import { expect, it } from 'vitest';
import { isAlive, lookUpProcess, parseStat } from './process-id.ts';

const REST = '1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 9 9';

it('a name with parentheses and spaces does not confuse the parser', () => {
  expect(parseStat(7, `7 (a) S (b) S ${REST}\n`)).toEqual({ pid: 7, startTime: '777' });
});

it('a zombie is as good as gone', () => expect(parseStat(7, `7 (a) Z ${REST}`)).toBeUndefined());

it('a pid that somebody else has now is not the process that was meant', async () => {
  const self = (await lookUpProcess(process.pid))!;
  expect(await isAlive(self)).toBe(true);
  expect(await isAlive({ ...self, startTime: '1' })).toBe(false);
});
