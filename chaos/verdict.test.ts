import { describe, expect, it } from 'vitest';
import { FAILOVER, type Fault, HITLESS } from './fault.ts';
import { formatReports } from './report.ts';
import type { Round } from './round.ts';
import { judge } from './verdict.ts';

const fault = (expected: Fault['expected']): Fault => ({
  name: 'flood',
  requirement: 'R20',
  what: 'it rains',
  expected,
  places: [],
  inject: async () => undefined,
});
const pings = (outageMs: number): Round['pings'] =>
  ['b2→a2', 'a2→b2', 'b2→c2', 'c2→b2'].map((way) => ({ way, outageMs, lost: outageMs / 10, outages: [] }));
const round = (change: Partial<Round> = {}): Round => ({
  fault: 'flood',
  carrier: 'b1',
  carrierThen: 'b3',
  carrierAfter: 'b3',
  pings: pings(500),
  pingsHealing: pings(0),
  streams: [{ way: 'b2→a2', alive: true, longestStallMs: 900 }],
  returned: true,
  exactAfterMs: 1_000,
  stale: [],
  foreign: [],
  ...change,
});

describe('judge', () => {
  it('is content with a failover in time', () => {
    expect(judge(fault(FAILOVER), round())).toEqual({ failures: [], excesses: [] });
  });

  it('names figures beyond the budget, which fail nothing', () => {
    expect(judge(fault(FAILOVER), round({ pings: pings(5_000) }))).toEqual({
      failures: [],
      excesses: ['5000 ms without an answer, 3000 allowed'],
    });
    expect(judge(fault(HITLESS), round())).toEqual({ failures: [], excesses: ['200 packets lost, none may be'] });
  });

  it('names a bounce when the fault is healed', () => {
    expect(judge(fault(FAILOVER), round({ pingsHealing: pings(100) })).excesses).toEqual(['40 packets lost when it was healed']);
  });

  it.each<[string, Partial<Round>, string]>([
    ['packets that stay away', { returned: false }, 'packets do not pass until it is healed'],
    ['a broken connection', { streams: [{ way: 'b2→a2', alive: false, longestStallMs: 1, error: 'reset' }] }, 'TCP b2→a2 broke: reset'],
    ['a carrier that stays', { carrierThen: 'b1' }, 'b1 goes on to carry'],
    ['what is left behind', { stale: [{ node: 'a1', what: 'route del x' }] }, 'not as planned, a1: route del x'],
    ['damage to others', { foreign: [{ node: 'a1', what: 'table ip raven' }] }, 'foreign, a1: table ip raven'],
    ['a round that could not be carried out', { error: 'no lab' }, 'no lab'],
  ])('fails by %s', (_, change, failure) => {
    expect(judge(fault(FAILOVER), round(change)).failures).toEqual([failure]);
  });

  it('fails when somebody else carries where nobody should move', () => {
    const stays: Fault['expected'] = { traffic: 'returns', carrier: 'stays' };
    expect(judge(fault(stays), round()).failures).toEqual(['b3 carries instead of b1']);
    expect(judge(fault(stays), round({ carrierThen: undefined })).failures).toEqual(['nobody carries instead of b1']);
  });
});

describe('formatReports', () => {
  it('shows medians of each way, the worst of all, and the three worst cases', () => {
    const rounds = [500, 700, 4_000].map((outageMs) => round({ pings: pings(outageMs) }));
    expect(formatReports([{ driver: 'ipsec', store: 'dir', rounds }], [fault(FAILOVER)])).toMatchInlineSnapshot(`
      "
      ### ipsec, dir store: medians of 3 rounds, longest time without an answer

      | fault | for | b→a ms | a→b ms | b→c ms | c→b ms | p95  | worst | lost | worst lost | healing ms | healing lost | TCP | stall s | exact s | stale | foreign |   |
      | ----- | --- | ------ | ------ | ------ | ------ | ---- | ----- | ---- | ---------- | ---------- | ------------ | --- | ------- | ------- | ----- | ------- | - |
      | flood | R20 | 700    | 700    | 700    | 700    | 4000 | 4000  | 280  | 1600       | 0          | 0            | 3/3 | 0.9     | 1.0     | 0     | 0       | ! |

      flood: ! 4000 ms without an answer, 3000 allowed


      ### three worst

      | rig        | fault | way   | ms   | lost | carrier | what happened |
      | ---------- | ----- | ----- | ---- | ---- | ------- | ------------- |
      | ipsec, dir | flood | b2→a2 | 4000 | 400  | b1 → b3 | it rains      |
      "
    `);
  });
});
