import { describe, expect, it } from 'vitest';
import type { PingerReport } from '../src/lab/pod/pinger.ts';
import type { StreamReport } from '../src/lab/pod/stream.ts';
import { accountOf, periodsBetween, type Sample, standing, streamAccount } from './account.ts';

const pinger = (change: Partial<PingerReport> = {}): PingerReport => ({
  sent: 0,
  received: 0,
  lost: 0,
  duplicates: 0,
  longestGapMs: 0,
  outages: [],
  rttMs: undefined,
  ...change,
});
const stream = (change: Partial<StreamReport> = {}): StreamReport => ({
  connected: true,
  sentBytes: 100,
  receivedBytes: 100,
  intact: true,
  longestStallMs: 20,
  error: undefined,
  ...change,
});

describe('accountOf', () => {
  const report = pinger({
    outages: [
      { startMs: 100, durationMs: 50, lost: 5 },
      { startMs: 1_000, durationMs: 900, lost: 90 },
      { startMs: 2_500, durationMs: 10, lost: 1 },
    ],
  });

  it('gives each outage to the period in which it began, on the clock of the marks', () => {
    const periods = periodsBetween([5_500, 7_000]);
    expect(periods.map((each) => accountOf('b2→a2', report, 5_000, each))).toEqual([
      { way: 'b2→a2', outageMs: 900, lost: 90, outages: [{ startMs: 500, durationMs: 900, lost: 90 }] },
      { way: 'b2→a2', outageMs: 10, lost: 1, outages: [{ startMs: 500, durationMs: 10, lost: 1 }] },
    ]);
  });

  it('is nothing where nothing was lost', () => {
    expect(accountOf('b2→a2', pinger(), 0, { fromMs: 0, toMs: 1 })).toEqual({ way: 'b2→a2', outageMs: 0, lost: 0, outages: [] });
  });
});

describe('streamAccount', () => {
  it('calls a connection alive that was open when it was told to end, whatever the end was', () => {
    expect(streamAccount('x', stream(), stream({ error: 'closed early' }))).toMatchObject({ alive: true });
  });

  it.each([
    [stream({ error: 'reset' }), stream({ error: 'reset' }), 'reset'],
    [stream({ connected: false }), stream(), 'never connected'],
  ])('says why one is not', (last, final, error) => {
    expect(streamAccount('x', last, final)).toMatchObject({ alive: false, error });
  });

  it('does not call alive what carried wrong bytes', () => {
    expect(streamAccount('x', stream(), stream({ intact: false })).alive).toBe(false);
  });
});

describe('standing', () => {
  const sample = (received: number, lost: number, receivedBytes: number, error?: string): Sample => ({
    pings: [{ way: 'b2→a2', report: pinger({ received, lost }) }],
    streams: [{ way: 'b2→a2', report: stream({ receivedBytes, error }) }],
  });

  it.each([
    ['all moves', sample(200, 7, 500), { pings: [], streams: [] }],
    ['one more was lost', sample(200, 8, 500), { pings: ['b2→a2: 1 lost, 100 answered'], streams: [] }],
    ['too few answers came', sample(140, 7, 500), { pings: ['b2→a2: 0 lost, 40 answered'], streams: [] }],
    ['the stream stands', sample(200, 7, 400), { pings: [], streams: ['TCP b2→a2: stands at 400 bytes'] }],
    ['the stream is broken for good', sample(200, 7, 400, 'reset'), { pings: [], streams: [] }],
  ])('%s', (_, now, expected) => {
    expect(standing(sample(100, 7, 400), now, 50)).toEqual(expected);
  });
});
