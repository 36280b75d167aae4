import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { namePath } from './path.ts';
import { testLab } from './test-lab.ts';

const path = (from: string, to: string, hops: readonly (string | undefined)[]): string => {
  const pod = (node: string) => testLab.pods.find((each) => each.node === node)!;
  return namePath(testLab, { from: pod(from), to: pod(to), hops }).join(' ');
};

describe('namePath', () => {
  it('names the nodes passed', () => {
    expect(path('b2', 'a1', ['10.244.4.1', '10.244.3.1', '203.0.113.1'])).toBe('b2 b1 a1');
    expect(path('b1', 'b2', ['10.244.3.1', '192.168.1.11'])).toBe('b1 b2');
  });

  it('takes an address that two regions have for the one on the way', () => {
    expect(path('b2', 'c1', ['192.168.1.11', '192.168.1.10', '203.0.113.1', '192.168.1.10'])).toBe('b2 b1 a1 c1');
    expect(path('c1', 'b2', ['192.168.1.10', '203.0.113.1', '192.168.1.10', '192.168.1.11'])).toBe('c1 a1 b1 b2');
    expect(path('b1', 'c1', ['192.168.1.10', '192.168.1.10'])).toBe('b1 c1');
    expect(path('c1', 'b1', ['192.168.1.10', '192.168.1.10'])).toBe('c1 b1');
    expect(path('b2', 'a1', ['192.168.1.11', '192.168.1.254'])).toBe('b2 router-b');
  });

  it('marks silent hops and keeps foreign addresses', () => {
    expect(path('b2', 'c1', ['10.244.4.1', undefined, '203.0.113.1', '10.244.6.1'])).toBe('b2 ? a1 c1');
    expect(path('b2', 'c1', ['10.244.4.1', '192.0.2.1'])).toBe('b2 192.0.2.1');
    expect(path('b2', 'c1', [])).toBe('');
  });

  const hop = fc.option(fc.constantFrom('192.168.1.10', '192.168.1.11', '203.0.113.1', '192.168.1.254', '192.0.2.1'), { nil: undefined });
  test.prop([fc.array(hop, { maxLength: 8 })])('names each hop once, by somebody who has its address', (hops) => {
    const names = namePath(testLab, { from: testLab.pods[1]!, to: testLab.pods[3]!, hops });
    expect(names).toHaveLength(hops.length);
    for (const [i, name] of names.entries()) {
      const owner = [...testLab.nodes, ...testLab.routers].find((each) => each.name === name);
      expect(owner === undefined ? name === (hops[i] ?? '?') : owner.addresses.includes(hops[i]!)).toBe(true);
    }
  });
});
