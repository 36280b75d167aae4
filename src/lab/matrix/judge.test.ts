import { describe, expect, it } from 'vitest';
import { type Evidence, judgePair } from './judge.ts';
import { selectPairs } from './pairs.ts';
import { testLab } from './test-lab.ts';

const pair = selectPairs(testLab, { from: 'pod-b2', to: 'pod-a1' }).pairs[0]!;
const answer = { pod: 'pod-a1', sourceIp: '10.244.4.2' };
const transfer = { ok: true, bytes: 1000, expected: 1000, ...answer, durationMs: 1, error: undefined };
const good = {
  light: { icmp: { sent: 3, received: 3, rttMs: 0.6, error: undefined }, udp: { ok: true, sent: 1, ...answer, error: undefined } },
  tcp: { up: transfer, down: transfer },
  trace: { method: 'record-route', hops: ['10.244.4.1', '203.0.113.1'], reached: true },
  failure: undefined,
} satisfies Evidence;
const judge = (change: Partial<Evidence>) => judgePair(testLab, pair, { ...good, ...change });

describe('judgePair', () => {
  it('prints exactly the documented fields', () => {
    expect(judge({})).toEqual({
      from: 'pod-b2',
      to: 'pod-a1',
      family: 4,
      icmp: true,
      tcp: true,
      udp: true,
      sourceSeen: '10.244.4.2',
      path: ['b2', 'a1'],
      rttMs: 0.6,
      ok: true,
      error: null,
    });
  });

  it('says who masqueraded', () => {
    const masked = { ...transfer, sourceIp: '192.168.1.10' };
    expect(judge({ tcp: { up: masked, down: masked } })).toMatchObject({
      ok: false,
      tcp: true,
      sourceSeen: '192.168.1.10',
      error: 'source seen 192.168.1.10 instead of 10.244.4.2 (masqueraded by b1)',
    });
  });

  it('says how far a transfer came', () => {
    const cut = { ...transfer, ok: false, bytes: 400, error: 'stalled' };
    expect(judge({ tcp: { up: cut, down: cut } })).toMatchObject({ tcp: false, ok: false, error: 'tcp: 400 of 1000 bytes, stalled' });
    expect(judge({ tcp: { up: transfer, down: cut } }).error).toBe('tcp: fine, but in the other direction 400 of 1000 bytes, stalled');
    expect(judge({ tcp: { up: cut, down: transfer } }).error).toBe('tcp: 400 of 1000 bytes, stalled, but fine in the other direction');
  });

  it('is not fooled by another pod that answers', () => {
    const wrong = { ...transfer, pod: 'pod-c1' };
    expect(judge({ tcp: { up: wrong, down: wrong } })).toMatchObject({ ok: false, error: 'answered by pod-c1' });
  });

  it('does not pass what was not measured', () => {
    expect(judge({ light: undefined, tcp: undefined, trace: undefined, failure: 'pod program of pod-b2: connect ENOENT' })).toEqual({
      from: 'pod-b2',
      to: 'pod-a1',
      family: 4,
      icmp: false,
      tcp: false,
      udp: false,
      sourceSeen: null,
      path: [],
      rttMs: null,
      ok: false,
      error: 'pod program of pod-b2: connect ENOENT',
    });
    expect(judge({ tcp: undefined })).toMatchObject({ ok: false, error: 'not measured' });
  });
});
