import { describe, expect, it } from 'vitest';
import { formatRtt, type MatrixView, renderMatrix } from './render.ts';
import { passed, testLab } from './test-lab.ts';
import type { PairResult } from './types.ts';

const relayed = ['b1', 'a1', 'c1'];
const pairs: PairResult[] = [
  passed('pod-a1', 'pod-b1'),
  passed('pod-a1', 'pod-b2', { path: ['a1', 'b1', 'b2'] }),
  passed('pod-a1', 'pod-c1'),
  passed('pod-b1', 'pod-a1'),
  passed('pod-b1', 'pod-b2', { rttMs: 0.06 }),
  passed('pod-b1', 'pod-c1', { path: relayed, rttMs: 12.3 }),
  passed('pod-b2', 'pod-a1', { path: ['b2', 'b1', 'a1'] }),
  passed('pod-b2', 'pod-b1'),
  passed('pod-b2', 'pod-c1', { path: ['b2', ...relayed] }),
  passed('pod-c1', 'pod-a1'),
  passed('pod-c1', 'pod-b1', { path: relayed.toReversed() }),
  passed('pod-c1', 'pod-b2', { path: ['c1', 'b1', 'b2'] }),
];
const view: MatrixView = { lab: 'test', pods: testLab.pods, result: { version: 1, ok: true, pairs }, bytes: 1 << 20, durationMs: 2345 };
const failing = (changed: PairResult[]): MatrixView => ({ ...view, result: { version: 1, ok: false, pairs: changed } });

describe('renderMatrix', () => {
  it('draws regions, round trips and paths', () => {
    expect(renderMatrix(view)).toMatchInlineSnapshot(`
      "   IPv4        │ a      │ b             │ c
         from ↓ to → │ a1     │ b1     b2     │ c1
      ───────────────┼────────┼───────────────┼────────
      a  pod-a1      │ ·      │ ✓ 0.61 ✓ 0.61 │ ✓ 0.61
      ───────────────┼────────┼───────────────┼────────
      b  pod-b1      │ ✓ 0.61 │ ·      ✓ 0.06 │ ✓ 12.3
         pod-b2      │ ✓ 0.61 │ ✓ 0.61 ·      │ ✓ 0.61
      ───────────────┼────────┼───────────────┼────────
      c  pod-c1      │ ✓ 0.61 │ ✓ 0.61 ✓ 0.61 │ ·

      ✓ ICMP, TCP (1 MiB each way, checksum), UDP, own source address; round trip in ms   ✗ failed   · itself

      paths
        a → b  a1 → b1
        a → c  a1 → c1
        b → a  b1 → a1
        in b   directly
        b → c  b1 → a1 → c1
        c → a  c1 → a1
        c → b  c1 → a1 → b1  (1 of 2 pairs)
        c → b  c1 → b1  (1 of 2 pairs)

      ✓ lab test: all 12 pairs pass (2.3 s)"
    `);
  });

  it('lists what failed and what was seen', () => {
    const error = 'icmp: no answer; tcp: 0 of 1048576 bytes, no connection in time; udp: no answer (3 sent)';
    const changed = pairs.map((pair) => {
      if (pair.from === 'pod-b2' && pair.to === 'pod-a1')
        return { ...pair, ok: false, error: 'source seen 192.168.1.10 instead of 10.244.4.2 (masqueraded by b1)' };
      return pair.to === 'pod-c1' ? { ...pair, icmp: false, tcp: false, udp: false, ok: false, rttMs: null, error, path: ['a1'] } : pair;
    });
    expect(renderMatrix(failing(changed))).toMatchInlineSnapshot(`
      "   IPv4        │ a      │ b             │ c
         from ↓ to → │ a1     │ b1     b2     │ c1
      ───────────────┼────────┼───────────────┼────────
      a  pod-a1      │ ·      │ ✓ 0.61 ✓ 0.61 │ ✗
      ───────────────┼────────┼───────────────┼────────
      b  pod-b1      │ ✓ 0.61 │ ·      ✓ 0.06 │ ✗
         pod-b2      │ ✗ 0.61 │ ✓ 0.61 ·      │ ✗
      ───────────────┼────────┼───────────────┼────────
      c  pod-c1      │ ✓ 0.61 │ ✓ 0.61 ✓ 0.61 │ ·

      ✓ ICMP, TCP (1 MiB each way, checksum), UDP, own source address; round trip in ms   ✗ failed   · itself

      failures
        ✗ pod-a1 → pod-c1: icmp: no answer; tcp: 0 of 1048576 bytes, no connection in time; udp: no answer (3 sent); last seen at a1
        ✗ pod-b1 → pod-c1: icmp: no answer; tcp: 0 of 1048576 bytes, no connection in time; udp: no answer (3 sent); last seen at a1
        ✗ pod-b2 → pod-a1: source seen 192.168.1.10 instead of 10.244.4.2 (masqueraded by b1)
        ✗ pod-b2 → pod-c1: icmp: no answer; tcp: 0 of 1048576 bytes, no connection in time; udp: no answer (3 sent); last seen at a1

      paths
        a → b  a1 → b1
        b → a  b1 → a1
        in b   directly
        c → a  c1 → a1
        c → b  c1 → a1 → b1  (1 of 2 pairs)
        c → b  c1 → b1  (1 of 2 pairs)

      ✗ lab test: 4 of 12 pairs fail (2.3 s)"
    `);
  });

  it('draws one picture for each family', () => {
    const six = pairs.slice(0, 3).map((pair) => ({ ...pair, family: 6 as const }));
    const text = renderMatrix(failing([...pairs, ...six]));
    expect(text).toContain('IPv4');
    expect(text).toContain('IPv6');
    expect(renderMatrix(view)).not.toContain('IPv6');
  });

  it('keeps long lists of failures short', () => {
    const many = Array.from({ length: 50 }, () => passed('pod-a1', 'pod-b1', { ok: false, error: 'udp: no answer (3 sent)' }));
    expect(renderMatrix(failing(many))).toContain('… and 30 more: see -o json');
  });

  it('sums services up and lists where they fail', () => {
    const check = {
      service: 'shop/web',
      via: 'clusterIP',
      address: '10.96.0.20:80',
      answeredBy: 'pod-a1',
      sourceSeen: null,
      ok: true,
      error: null,
    } as const;
    const services = [
      { ...check, from: 'pod-b1' },
      { ...check, from: 'c1', answeredBy: null, ok: false, error: 'no answer in time' },
    ];
    const text = renderMatrix({ ...view, result: { version: 1, ok: false, pairs, services } });
    expect(text.split('\n').slice(-6)).toMatchInlineSnapshot(`
      [
        "",
        "services",
        "  ✗ shop/web by clusterIP: 1 of 2 places, answered by pod-a1",
        "      from c1 to 10.96.0.20:80: no answer in time",
        "",
        "✗ lab test: all 12 pairs pass, 1 of 2 ways to services fail (2.3 s)",
      ]
    `);
  });

  it('aligns the same in colour', () => {
    const coloured = renderMatrix(view, (_, text) => `<${text}>`);
    expect(coloured.replaceAll(/[<>]/g, '').replaceAll(/ +$/gm, '')).toBe(renderMatrix(view));
  });

  it('writes round trips with three digits', () => {
    expect([0.0567, 5, 12.34, 456.7, 1200].map(formatRtt)).toEqual(['0.06', '5.00', '12.3', '457', '1200']);
  });
});
