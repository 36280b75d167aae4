import { describe, expect, it } from 'vitest';
import { formatSoaks } from './soak-text.ts';
import { isWell, type SoakReport } from './soak.ts';

const report = (change: Partial<SoakReport> = {}): SoakReport => ({
  seed: 7,
  history: [
    { atMs: 1_234, lane: 0, fault: 'flood', what: 'injects', carrier: 'b1' },
    { atMs: 9_900, lane: 1, fault: 'power-off', what: 'fails', error: 'no lab' },
  ],
  pings: [{ way: 'b2→a2', outageMs: 300, lost: 30, outages: [] }],
  streams: [{ way: 'b2→a2', alive: true, longestStallMs: 900 }],
  returned: true,
  exactAfterMs: 2_000,
  stale: [],
  foreign: [],
  ...change,
});
const well = report({ history: [] });

describe('isWell', () => {
  it('is content when all is as before, whatever was lost on the way', () => {
    expect(isWell(well)).toBe(true);
  });

  it.each<[string, Partial<SoakReport>]>([
    ['packets do not return', { returned: false }],
    ['a connection broke', { streams: [{ way: 'b2→a2', alive: false, longestStallMs: 0 }] }],
    ['something is left behind', { exactAfterMs: undefined }],
    ['others were harmed', { foreign: [{ node: 'a1', what: 'table ip raven' }] }],
    ['a fault could not be injected or healed', { history: report().history }],
  ])('is not when %s', (_, change) => {
    expect(isWell({ ...well, ...change })).toBe(false);
  });
});

describe('formatSoaks', () => {
  it('shows losses, the history by lane, and the end', () => {
    const broken = report({ exactAfterMs: undefined, stale: [{ node: 'a1', what: 'link del rvn-b1' }] });
    expect(formatSoaks([{ driver: 'ipsec', store: 'kube', ...broken }])).toMatchInlineSnapshot(`
      "
      ### soak, ipsec, kube store, seed 7

      | way   | lost | longest ms without an answer |
      | ----- | ---- | ---------------------------- |
      | b2→a2 | 30   | 300                          |

          1.2 s  flood injects (b1 carries)
          9.9 s    power-off fails: no lab

      packets pass after all was healed
      TCP b2→a2 alive, longest stall 0.9 s
      kernels are not as planned:
        a1: link del rvn-b1
      foreign objects are untouched
      "
    `);
  });
});
