import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { type Flight, summarisePings } from './pinger.ts';

/** One flight every 10 ms, `1` answered after 2 ms, `0` lost. */
function flights(pattern: string): Flight[] {
  return pattern.split('').map((mark, i) => ({ sentMs: 10 * i, answeredMs: mark === '1' ? 10 * i + 2 : undefined }));
}

describe('summarisePings', () => {
  it('finds each outage and how long it lasted', () => {
    const report = summarisePings(flights('1110000111011'), { nowMs: 5_000, untilMs: 130, duplicates: 0 });
    expect(report).toMatchObject({ sent: 13, received: 8, lost: 5, longestGapMs: 50 });
    expect(report.outages).toEqual([
      { startMs: 30, durationMs: 40, lost: 4 },
      { startMs: 100, durationMs: 10, lost: 1 },
    ]);
  });

  it('counts an outage that has not ended', () => {
    const report = summarisePings(flights('1100'), { nowMs: 5_000, untilMs: 40, duplicates: 0 });
    expect(report.outages).toEqual([{ startMs: 20, durationMs: 20, lost: 2 }]);
  });

  it('does not call lost what may still come', () => {
    expect(summarisePings(flights('11100'), { nowMs: 60, untilMs: 60, duplicates: 0 })).toMatchObject({ lost: 0, outages: [] });
  });

  it('reports nothing received as one gap', () => {
    expect(summarisePings(flights('000'), { nowMs: 2_000, untilMs: 2_000, duplicates: 0 })).toMatchObject({
      longestGapMs: 2_000,
      rttMs: undefined,
    });
  });

  test.prop([fc.string({ unit: fc.constantFrom('0', '1'), maxLength: 60 })])('accounts for every datagram', (pattern) => {
    const report = summarisePings(flights(pattern), { nowMs: 10_000, untilMs: 10 * pattern.length, duplicates: 0 });
    expect(report.received + report.lost).toBe(report.sent);
    expect(report.outages.reduce((sum, { lost }) => sum + lost, 0)).toBe(report.lost);
  });
});
