import { describe, expect, it } from 'vitest';
import { HURRY_MS, paceOf, TICK_MS } from './probe-pace.ts';
import type { RerouteView } from './reroute-state.ts';
import { endpoint, ordinary, ScriptedNode } from './test-reroute.ts';

/** How long a node waits between two probes of each, in milliseconds: `lan b1`. */
function intervals({ state, nowMs, view }: ScriptedNode, isBusy = false): (target: string) => number {
  const { intervalMs } = paceOf({
    state,
    watch: {
      view,
      address: undefined,
      probeIp: undefined,
      lan: new Map(),
      tunnel: new Map(),
      through: new Map(),
      nodes: new Map(),
      regionOf: new Map(view.others.flatMap(({ name, live }) => live.map((each) => [each, name]))),
    },
    targets: [],
    isBusy,
    nowMs,
  });
  return (target) => {
    const [kind, name = ''] = target.split(' ');
    if (kind !== 'lan' && kind !== 'tunnel' && kind !== 'through') throw new Error(target);
    return intervalMs({ kind, name });
  };
}

const settled = (view: RerouteView, ...lines: string[]): ScriptedNode => new ScriptedNode(view).repeat(24, ...lines);

describe('probes', () => {
  const user = (): ScriptedNode => settled(ordinary, 'lan b1 carries', 'lan b3 leaves', 'through a1');

  it('are frequent where packets pass, and rare elsewhere', () => {
    expect(['lan b1', 'lan b3', 'through a1'].map(intervals(user(), true))).toEqual([TICK_MS, 2_000, TICK_MS]);
    expect(['lan b1', 'lan b3', 'through a1'].map(intervals(user()))).toEqual([1_000, 2_000, 5_000]);
  });

  it('ask the others of a region sooner when the one in use sends packets to another', () => {
    expect(intervals(user().step('lan b1 leaves'))('lan b3')).toBe(TICK_MS);
    const far = settled(endpoint('b1'), 'lan b3 leaves', 'tunnel a1 carries', 'tunnel a3 leaves');
    expect(intervals(far)('tunnel a3')).toBe(2_000);
    expect(intervals(far.step('tunnel a1 leaves'))('tunnel a3')).toBe(TICK_MS);
  });

  it('do not where endpoints share the packets, and each leaves by the others for some', () => {
    const shared = settled(
      { ...ordinary, own: { ...ordinary.own, isShared: true }, through: [['a1'], ['c1']] },
      'lan b1 carries leaves',
      'lan b3 leaves carries',
    );
    expect(['lan b1', 'lan b3'].map(intervals(shared))).toEqual([1_000, 1_000]);
  });

  it('tell an endpoint at once that a node sends through it now', () => {
    const moved = user().repeat(3, 'lan b1 missed', 'lan b3', 'through a1 missed').step('lan b1', 'lan b3 carries');
    expect([moved.exit, intervals(moved)('lan b3')]).toEqual(['b3', HURRY_MS]);
    expect(intervals(moved.repeat(4, 'lan b1', 'lan b3 carries', 'through a1'))('lan b3')).toBe(1_000);
  });

  it('of tunnels are hurried while a node is accused of dropping packets, also where hardly any pass: they settle it', () => {
    const accused = settled(endpoint('b1'), 'lan b3', 'tunnel a1 carries', 'tunnel a3', 'report b2 uses works');
    expect(intervals(accused)('tunnel a1')).toBe(5_000);
    expect(intervals(accused.step('report b2 uses distrusts'))('tunnel a1')).toBe(HURRY_MS);
    expect(intervals(accused.repeat(24, 'lan b3', 'report b2 uses distrusts'))('tunnel a1')).toBe(5_000);
  });
});
