import { describe, expect, it } from 'vitest';
import { selectPairs } from './pairs.ts';
import { pod, testLab } from './test-lab.ts';

const names = (...args: Parameters<typeof selectPairs>): string[] =>
  selectPairs(...args).pairs.map(({ from, to, family }) => `${from.name}>${to.name}/${family}`);

describe('selectPairs', () => {
  it('gives every ordered pair, also inside a region', () => {
    expect(names(testLab)).toHaveLength(12);
    expect(names(testLab)).toContain('pod-b1>pod-b2/4');
  });

  it('leaves out pods on killed nodes and says which', () => {
    const pods = testLab.pods.map((each) => ({ ...each, alive: each.node !== 'b1' }));
    const { pairs, leftOut } = selectPairs({ ...testLab, pods });
    expect(pairs).toHaveLength(6);
    expect(leftOut.map(({ name }) => name)).toEqual(['pod-b1']);
  });

  it('filters by pod, node or region', () => {
    expect(names(testLab, { from: 'b', to: 'a1' })).toEqual(['pod-b1>pod-a1/4', 'pod-b2>pod-a1/4']);
    expect(names(testLab, { from: 'pod-c1', to: 'b' })).toEqual(['pod-c1>pod-b1/4', 'pod-c1>pod-b2/4']);
  });

  it('measures each family that both pods have', () => {
    const pods = [pod('a1', 'a', 1, ['10.244.1.2', 'fd00:1::2']), pod('b1', 'b', 3, ['10.244.3.2', 'fd00:3::2']), pod('c1', 'c', 6)];
    expect(names({ ...testLab, pods }, { from: 'a' })).toEqual(['pod-a1>pod-b1/4', 'pod-a1>pod-b1/6', 'pod-a1>pod-c1/4']);
  });

  it('names what there is when the filter fits nothing', () => {
    expect(() => selectPairs(testLab, { from: 'x' })).toThrow(
      '--from: no pod, node or region with pods is named x; there are a, b, c, a1, b1,',
    );
    expect(() => selectPairs(testLab, { from: 'a1', to: 'a1' })).toThrow('no pair of pods to measure');
  });
});
