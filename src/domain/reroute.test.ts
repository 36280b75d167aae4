import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { forwards } from './own-forwarding.ts';
import { statementWithin } from './own-statement.ts';
import { INITIAL_REROUTE, type RerouteView } from './reroute-state.ts';
import { endpoint, ordinary, ScriptedNode as Node, well } from './test-reroute.ts';

interface Truth {
  readonly answers: boolean;
  readonly uplink: boolean;
}

const WELL: Truth = { answers: true, uplink: true };

describe('an ordinary node', () => {
  it('takes tunnels that are still being made for no fault of its own, and those that never come up for one', () => {
    const starting = new Node(endpoint('b1')).repeat(24, 'lan b3', 'tunnel a1 missed', 'tunnel a3 missed');
    expect([starting.exit, forwards(starting.state, starting.view, starting.nowMs)]).toEqual(['b1', true]);
    starting.repeat(4, 'lan b3', 'tunnel a1 missed', 'tunnel a3 missed');
    expect([starting.exit, forwards(starting.state, starting.view, starting.nowMs)]).toEqual(['b3', false]);
  });

  it('takes tunnels for silent that stood before its agent started, and answer no more', () => {
    const restarted = new Node(endpoint('b1')).step('lan b3', 'tunnel a1 bytes 9000', 'tunnel a3 bytes 40');
    restarted.repeat(2, 'lan b3', 'tunnel a1 missed', 'tunnel a3 missed');
    expect(forwards(restarted.state, restarted.view, restarted.nowMs)).toBe(true);
    restarted.step('lan b3', 'tunnel a1 missed', 'tunnel a3 missed');
    expect([restarted.exit, forwards(restarted.state, restarted.view, restarted.nowMs)]).toEqual(['b3', false]);
  });

  it('does not take a handshake for a tunnel that stood: on a busy machine it may take some probes more until the first is answered', () => {
    const missed = ['lan b3', 'tunnel a1 missed', 'tunnel a3 missed'];
    const starting = new Node(endpoint('b1')).step('lan b3', 'tunnel a1 bytes 148', 'tunnel a3 bytes 0').repeat(4, ...missed);
    starting.step('tunnel a1 bytes 5000', ...missed).repeat(8, ...missed);
    expect([starting.exit, forwards(starting.state, starting.view, starting.nowMs)]).toEqual(['b1', true]);
  });

  it('goes by the tunnels that it heard, whatever becomes of those that are being made', () => {
    const node = new Node(endpoint('b1')).repeat(4, 'lan b3', 'tunnel a1', 'tunnel a3 missed');
    node.repeat(3, 'lan b3', 'tunnel a1 missed', 'tunnel a3 missed');
    expect([node.exit, forwards(node.state, node.view, node.nowMs)]).toEqual(['b3', false]);
  });

  it('takes bytes that came out of a tunnel since a count of long ago for no sign of life now', () => {
    const node = new Node(endpoint('b1')).repeat(8, 'lan b3', 'tunnel a1', 'tunnel a3').step('tunnel a1 bytes 7');
    node.repeat(20, 'lan b3', 'tunnel a1', 'tunnel a3').step('tunnel a1 bytes 9000', 'tunnel a1 missed', 'tunnel a3');
    expect(node.step('tunnel a1 missed', 'tunnel a3').step('tunnel a1 missed', 'tunnel a3').entry()).toBe('a3');
  });

  it('says that it does not forward, and leaves by the other, while a firewall of its own machine is in the way', () => {
    const node = new Node(endpoint('b1')).repeat(8, 'lan b3', 'tunnel a1', 'tunnel a3');
    expect([node.exit, forwards(node.state, node.view, node.nowMs)]).toEqual(['b1', true]);
    node.view = { ...node.view, isBlocked: true };
    node.step('lan b3', 'tunnel a1', 'tunnel a3');
    expect([node.exit, forwards(node.state, node.view, node.nowMs)]).toEqual(['b3', false]);
  });

  it('leaves by the endpoint that the controller chose', () => {
    expect(well().exit).toBe('b1');
  });

  it('moves on after three probes without an answer, and says why', () => {
    const node = well().repeat(2, 'lan b1 missed', 'lan b3', 'through a1 missed');
    expect(node.exit).toBe('b1');
    node.step('lan b1 missed', 'lan b3', 'through a1 missed');
    expect(node.exit).toBe('b3');
    expect(node.log).toEqual(['exit of region b: b1 → b3: b1 does not answer, 3 probes']);
  });

  it.each([
    ['its packets still get through', ['lan b1 missed', 'lan b3', 'through a1']],
    ['its machine says that only the agent is away', ['lan b1 missed', 'lan b1 refused', 'lan b3', 'through a1 missed']],
    ['the other one does not answer either', ['lan b1 missed', 'lan b3 missed', 'through a1 missed']],
    ['the other one does not forward', ['lan b1 missed', 'lan b3 !forwards', 'through a1 missed']],
    ['it is the far end that is silent', ['lan b1', 'lan b3', 'through a1 missed']],
  ])('stays with a silent endpoint while %s', (_, lines) => {
    expect(well().repeat(40, ...lines).exit).toBe('b1');
  });

  it('moves on as soon as the endpoint says that it does not forward', () => {
    expect(well().step('lan b1 !forwards', 'lan b3').exit).toBe('b3');
  });

  it('does not go back by itself, and goes back when the controller chooses the first one anew', () => {
    const node = well().repeat(4, 'lan b1 missed', 'lan b3 carries', 'through a1 missed');
    node.repeat(100, 'lan b1 carries', 'lan b3 carries', 'through a1');
    expect(node.exit).toBe('b3');
    node.view = { ...ordinary, own: { name: 'b', live: ['b3', 'b1'], isShared: false } };
    expect(node.step('lan b1', 'lan b3 carries').exit).toBe('b3');
    node.view = ordinary;
    // Whoever carries hands over first.
    expect(node.repeat(20, 'lan b1 leaves', 'lan b3 carries').exit).toBe('b3');
    expect(node.step('lan b1 carries', 'lan b3 leaves').exit).toBe('b1');
  });

  it('starts with the endpoint that the others have moved to, and waits for nobody else once that one has said so', () => {
    expect(new Node(ordinary).step('lan b3 carries').exit).toBe('b3');
    expect(new Node(ordinary).repeat(8, 'lan b1', 'lan b3 carries', 'through a1').exit).toBe('b3');
  });

  it('that had to guess goes over to the first that says it carries', () => {
    const node = new Node(endpoint('b1')).repeat(8, 'lan b3', 'tunnel a1 missed', 'tunnel a3 missed');
    expect(node.entry()).toBe('a1');
    expect(node.step('lan b3', 'tunnel a1 missed', 'tunnel a3 leaves').entry()).toBe('a1');
    expect(node.step('lan b3', 'tunnel a1 missed', 'tunnel a3 carries').entry()).toBe('a3');
  });

  it('waits for the new choice of the controller to answer, but not for ever', () => {
    const node = well();
    node.view = { ...ordinary, own: { name: 'b', live: ['b4', 'b1'], isShared: false } };
    expect(node.repeat(20, 'lan b1 carries').exit).toBe('b1');
    expect(node.repeat(30, 'lan b1 carries').exit).toBe('b4');
  });
});

describe('an endpoint', () => {
  /** Up for so long that both regions have settled. */
  const up = (node: string): Node =>
    new Node(endpoint(node)).repeat(24, `lan ${node === 'b1' ? 'b3' : 'b1 carries'}`, 'tunnel a1 carries', 'tunnel a3');

  it('carries when the controller chose it, and as standby leaves by the other one', () => {
    expect([up('b1').exit, up('b3').exit]).toEqual(['b1', 'b3'].map(() => 'b1'));
  });

  it('says that it does not forward when all its tunnels are silent, and leaves by the other one', () => {
    const node = up('b1').repeat(3, 'lan b3', 'tunnel a1 missed', 'tunnel a3 missed');
    expect(forwards(node.state, node.view, node.nowMs)).toBe(false);
    expect(node.exit).toBe('b3');
  });

  it('does not while bytes still come out of one: the agent there is away, not the machine', () => {
    const node = up('b1');
    for (let i = 0; i < 40; i++) node.step('lan b3', `tunnel a1 bytes ${i}`, 'tunnel a1 missed', 'tunnel a3 missed');
    expect([forwards(node.state, node.view, node.nowMs), node.exit, node.entry()]).toEqual([true, 'b1', 'a1']);
  });

  it('believes that it does not forward when all who use it say so and its tunnels answer', () => {
    const node = up('b1').repeat(8, 'lan b3', 'tunnel a1', 'tunnel a3', 'report b2 uses works', 'report b4 uses works');
    node.step('lan b3', 'report b2 uses distrusts', 'report b4 uses works');
    expect(node.step('tunnel a1').exit).toBe('b1');
    node.step('lan b3', 'report b2 uses distrusts', 'report b4 uses distrusts', 'report b3 uses');
    expect(node.exit).toBe('b1');
    expect(node.step('lan b3', 'tunnel a1').exit).toBe('b3');
  });

  it('that is drained hands over to the other one, though the controller has another order; not to one that is drained too, or gone', () => {
    const carrying = (): Node => new Node(endpoint('b3')).repeat(8, 'lan b1 leaves', 'tunnel a1', 'tunnel a3');
    const drain = (node: Node, ...names: string[]): void => void (node.view = { ...node.view, drained: names });
    const node = carrying();
    expect(node.exit).toBe('b3');
    drain(node, 'b3');
    expect(node.step('lan b1 leaves', 'tunnel a1').log.at(-1)).toBe('exit of region b: b3 → b1: b3 is drained');
    const both = carrying();
    drain(both, 'b1', 'b3');
    expect(both.repeat(4, 'lan b1 leaves', 'tunnel a1').exit).toBe('b3');
    const last = carrying().repeat(4, 'lan b1 missed', 'tunnel a1');
    drain(last, 'b3');
    expect(last.repeat(4, 'lan b1 missed', 'tunnel a1').exit).toBe('b3');
  });

  it('leaves a peer that does not answer or does not forward for the other endpoint of its region', () => {
    expect(up('b1').repeat(3, 'tunnel a1 missed', 'tunnel a3').entry()).toBe('a3');
    expect(up('b1').step('tunnel a1 !forwards', 'tunnel a3').entry()).toBe('a3');
  });

  it('standing by, does not take over while others say that the silent endpoint works', () => {
    const node = up('b3').repeat(20, 'lan b1 missed', 'report b2 works', 'tunnel a1', 'tunnel a3');
    expect(node.exit).toBe('b1');
    expect(node.step('lan b1 missed', 'report b2', 'tunnel a1').exit).toBe('b3');
  });
});

describe('both endpoints of a region', () => {
  /** What is true of each for the whole of a round, and what a probe of it comes to. */
  const truth = fc.record({ answers: fc.boolean(), uplink: fc.boolean(), restarts: fc.boolean() });
  const rounds = fc.array(fc.record({ b1: truth, b3: truth }), { maxLength: 12 });

  test.prop([rounds, fc.constantFrom(1, 2)])(
    'send packets to each other in no circle for longer than the probes need, whatever happened before',
    (history, lanes) => {
      const through = Array.from({ length: lanes }, () => []);
      const shared = (name: string): RerouteView => ({ ...endpoint(name), own: { ...endpoint(name).own, isShared: lanes > 1 }, through });
      const nodes = { b1: new Node(shared('b1')), b3: new Node(shared('b3')) };
      const round = (now: { readonly b1: Truth; readonly b3: Truth }, times: number): void => {
        for (let i = 0; i < times; i++) {
          for (const [own, other] of [
            ['b1', 'b3'],
            ['b3', 'b1'],
          ] as const) {
            const far = nodes[other];
            const said = statementWithin(far.state, far.view, own, far.nowMs);
            const answer = { type: 'answered', kind: 'lan', target: other, ...said, atMs: nodes[own].nowMs + 250 } as const;
            const tunnels = ['a1', 'a3'].map((peer) => `tunnel ${peer}${now[own].uplink ? '' : ' missed'}`);
            nodes[own].step(now[other].answers ? answer : `lan ${other} missed`, ...tunnels);
          }
        }
      };
      for (const now of history) {
        for (const name of ['b1', 'b3'] as const) if (now[name].restarts) nodes[name].state = INITIAL_REROUTE;
        round(now, 2);
      }
      const last = history.at(-1) ?? { b1: WELL, b3: WELL };
      round({ b1: { ...last.b1, answers: true }, b3: { ...last.b3, answers: true } }, 8);
      for (const lane of through.keys()) {
        expect(nodes.b1.exits[lane] === 'b3' && nodes.b3.exits[lane] === 'b1').toBe(false);
        if (last.b1.uplink || last.b3.uplink) {
          const carrier = nodes.b1.exits[lane] ?? ['b1', 'b3'][lane];
          expect(nodes.b3.exits[lane]).toBe(carrier);
        }
      }
    },
  );

  test.prop([
    fc.array(
      fc.constantFrom(
        'lan b1',
        'lan b1 missed',
        'lan b3',
        'lan b3 !forwards',
        'lan b3 missed',
        'through a1',
        'through a1 missed',
        'report b9 uses distrusts',
        'tunnel a1 bytes 3',
      ),
    ),
  ])('are all that a node ever chooses from', (lines) => {
    const node = new Node(ordinary);
    for (const line of lines) node.step(line);
    expect(['b1', 'b3', undefined]).toContain(node.exit);
  });
});
