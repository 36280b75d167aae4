import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { forwards } from './own-forwarding.ts';
import { statementAcross, statementWithin } from './own-statement.ts';
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

describe('what the simulation found', () => {
  const up = (node: string): Node =>
    new Node(endpoint(node)).repeat(
      12,
      `lan ${node === 'b1' ? 'b3' : 'b1 carries'}`,
      'tunnel a1 carries',
      'tunnel a3',
      'report b2 uses works',
    );
  const b1 = up('b1');
  const copyOf = (node: Node): Node => {
    const copy = new Node(node.view);
    copy.state = node.state;
    copy.nowMs = node.nowMs;
    return copy;
  };

  it('an entry that dies is not taken for an exit that does not forward, though the standby beside it answers', () => {
    const node = copyOf(b1).repeat(3, 'lan b3', 'tunnel a1 missed', 'tunnel a3', 'report b2 uses distrusts');
    expect([node.exit, node.entry()]).toEqual(['b1', 'a3']);
    node.repeat(4, 'lan b3', 'tunnel a3', 'report b2 uses distrusts').repeat(20, 'lan b3', 'tunnel a3', 'report b2 uses works');
    expect(node.exit).toBe('b1');
  });

  it('an entry that sends its packets to the other endpoint of its region, which may be the dead one, proves nothing', () => {
    const node = copyOf(b1).repeat(20, 'lan b3', 'tunnel a1 leaves', 'tunnel a3', 'report b2 uses distrusts');
    expect(forwards(node.state, node.view, node.nowMs)).toBe(true);
    node.repeat(4, 'lan b3', 'tunnel a1 carries', 'tunnel a3', 'report b2 uses distrusts');
    expect(forwards(node.state, node.view, node.nowMs)).toBe(true);
    node.repeat(8, 'lan b3', 'tunnel a1 carries', 'tunnel a3', 'report b2 uses distrusts');
    expect(forwards(node.state, node.view, node.nowMs)).toBe(false);
  });

  it('those who said that nothing gets across while the other region was away are given time to try again', () => {
    const node = copyOf(b1).repeat(40, 'lan b3 !forwards', 'tunnel a1 missed', 'tunnel a3 missed', 'report b2 uses distrusts');
    node.repeat(4, 'lan b3 !forwards', 'tunnel a1', 'tunnel a3', 'report b2 uses distrusts');
    expect([node.exit, forwards(node.state, node.view, node.nowMs)]).toEqual(['b1', true]);
  });

  it('a gap of two probes may be why others say that nothing gets across', () => {
    const node = copyOf(b1).repeat(2, 'lan b3', 'tunnel a1 missed', 'tunnel a3 missed', 'report b2 uses distrusts');
    node.repeat(4, 'lan b3', 'tunnel a1', 'tunnel a3', 'report b2 uses distrusts');
    expect(forwards(node.state, node.view, node.nowMs)).toBe(true);
    node.repeat(8, 'lan b3', 'tunnel a1', 'tunnel a3', 'report b2 uses distrusts');
    expect(forwards(node.state, node.view, node.nowMs)).toBe(false);
  });

  it('another entry of one region is no reason to doubt what the others of another prove', () => {
    const view = { ...endpoint('b1'), others: ['a', 'c'].map((name) => ({ name, live: [`${name}1`, `${name}3`], isShared: false })) };
    const all = ['lan b3', 'tunnel a1 carries', 'tunnel a3', 'tunnel c1 carries', 'tunnel c3'];
    const node = new Node({ ...view, tunnels: ['a1', 'a3', 'c1', 'c3'] }).repeat(24, ...all, 'report b2 uses works');
    node.step(...all, 'tunnel c1 !forwards', 'report b2 uses distrusts').step(...all, 'tunnel c1 !forwards', 'report b2 uses distrusts');
    expect([node.entry('c'), forwards(node.state, node.view, node.nowMs)]).toEqual(['c3', false]);
  });

  it('who sends our packets to the other endpoint of our region proves nothing, until some time after it sends them to us', () => {
    const says = ({ state, view, nowMs }: Node): boolean => forwards(state, view, nowMs);
    const node = copyOf(b1).repeat(20, 'lan b3', 'tunnel a1 carries !uses', 'tunnel a3', 'report b2 uses distrusts');
    expect(says(node.repeat(8, 'lan b3', 'tunnel a1 carries', 'tunnel a3', 'report b2 uses distrusts'))).toBe(true);
    expect(says(node.repeat(4, 'lan b3', 'tunnel a1 carries', 'tunnel a3', 'report b2 uses distrusts'))).toBe(false);
  });

  it('each endpoint says so to those that it sends to', () => {
    const uses = (peer: string): unknown => statementAcross(b1.state, b1.view, peer, b1.nowMs).lanes[0]?.uses;
    expect(['a1', 'a3', 'x9'].map(uses)).toEqual([true, false, false]);
  });

  it('an endpoint that the controller put in the place of one it dropped says so, for that one may not have heard of it', () => {
    const ruled = ({ state, view, nowMs }: Node): unknown => statementWithin(state, view, undefined, nowMs).lanes[0]?.ruled;
    const b3 = up('b3');
    expect([b3.exit, ruled(b3)]).toEqual(['b1', false]);
    b3.view = { ...endpoint('b3'), own: { name: 'b', live: ['b3', 'b4'], isShared: false } };
    b3.step('tunnel a1 carries');
    expect([b3.exit, ruled(b3)]).toEqual(['b3', true]);
  });

  it('a node that has not heard that it is an endpoint does not say that it forwards', () => {
    expect(forwards(INITIAL_REROUTE, ordinary, 0)).toBe(false);
  });

  it('where none is well all stay with the one that carries, and nobody with one that does not', () => {
    expect(well().repeat(3, 'lan b1 !forwards leaves', 'lan b3 !forwards carries').exit).toBe('b3');
    expect(copyOf(b1).repeat(3, 'lan b3 !forwards carries', 'tunnel a1 missed', 'tunnel a3 missed').exit).toBe('b1');
    expect(up('b3').repeat(3, 'lan b1 !forwards carries', 'tunnel a1 missed', 'tunnel a3 missed').exit).toBe('b1');
    expect(up('b3').repeat(3, 'lan b1 !forwards leaves', 'tunnel a1 missed', 'tunnel a3 missed').exit).toBe('b3');
  });

  it('who is back first after all were cut off gains nothing', () => {
    const node = well().repeat(8, 'lan b1 !forwards carries', 'lan b3 !forwards leaves');
    expect(node.step('lan b1 !forwards carries', 'lan b3').step('lan b1 carries', 'lan b3').exit).toBe('b1');
    expect(well().repeat(8, 'lan b1 !forwards carries', 'lan b3 !forwards').repeat(4, 'lan b1 !forwards carries', 'lan b3').exit).toBe(
      'b3',
    );
  });

  it('an endpoint that has not heard of the new order makes way for the one that the controller put there', () => {
    expect(copyOf(b1).repeat(4, 'lan b3 carries', 'tunnel a1').exit).toBe('b1');
    expect(copyOf(b1).repeat(4, 'lan b3 carries ruled', 'tunnel a1').exit).toBe('b3');
    const b3 = up('b3');
    b3.view = { ...endpoint('b3'), own: { name: 'b', live: ['b3', 'b1'], isShared: false } };
    expect(b3.repeat(4, 'lan b1 carries', 'tunnel a1').exit).toBe('b3');
    b3.view = endpoint('b3');
    expect(b3.repeat(4, 'lan b1 carries ruled', 'tunnel a1').exit).toBe('b1');
  });

  it('two endpoints that know of different orders do not give way to each other again and again', () => {
    const own = (live: readonly string[]): RerouteView['own'] => ({ name: 'b', live, isShared: false });
    const nodes = [copyOf(b1), new Node({ ...endpoint('b3'), own: own(['b3', 'b1']) }).repeat(12, 'lan b1', 'tunnel a1', 'tunnel a3')];
    for (const node of nodes) node.view = { ...node.view, own: own(node.view.own.live.toReversed()) };
    for (let ms = 0; ms < 200; ms++) {
      // What each says crosses on the way.
      const says = nodes.map(({ exit, view }) => `lan ${view.node} ${exit === view.node ? 'carries' : 'leaves'}`);
      for (const [i, node] of nodes.entries()) {
        node.nowMs -= 249;
        node.step(says[1 - i]!);
      }
    }
    expect(new Set(nodes.map(({ exit }) => exit)).size).toBe(1);
    expect(nodes.flatMap(({ log }) => log).length).toBeLessThan(8);
  });

  it('an endpoint does not wait for one whose agent died while it left by another', () => {
    const cutOff = ['tunnel a1 missed', 'tunnel a3 missed'];
    const node = up('b3')
      .repeat(3, 'lan b1 carries', ...cutOff)
      .step('lan b1 leaves', ...cutOff);
    expect(node.exit).toBe('b1');
    node.repeat(4, 'lan b1 missed', 'lan b1 refused', ...cutOff);
    expect(node.exit).toBe('b3');
  });

  it('an endpoint that lost its LAN says that it does not forward, one whose only company was the other endpoint does not', () => {
    const lonely = copyOf(b1).repeat(8, 'lan b3 missed', 'tunnel a1');
    expect(forwards(lonely.state, lonely.view, lonely.nowMs)).toBe(false);
    const pair = new Node(endpoint('b1')).repeat(12, 'lan b3', 'tunnel a1', 'report b3 uses').repeat(8, 'lan b3 missed', 'tunnel a1');
    expect(forwards(pair.state, pair.view, pair.nowMs)).toBe(true);
  });

  it('so does one that heard nothing on its LAN since it started, where ordinary nodes would have asked it', () => {
    const started = new Node(endpoint('b1')).repeat(9, 'lan b3 missed', 'tunnel a1 carries');
    expect(forwards(started.state, started.view, started.nowMs)).toBe(true);
    started.step('lan b3 missed', 'tunnel a1 carries');
    expect(forwards(started.state, started.view, started.nowMs)).toBe(false);
    const pair = new Node({ ...endpoint('b1'), hasOrdinary: false }).repeat(40, 'lan b3 missed', 'tunnel a1 carries');
    expect(forwards(pair.state, pair.view, pair.nowMs)).toBe(true);
  });

  it('an endpoint whose cable was pulled and put back makes way for the one that carries meanwhile, and claims nothing before it could hear of it', () => {
    const pulled = copyOf(b1).repeat(8, 'lan b3 missed', 'tunnel a1 missed', 'tunnel a3 missed');
    const stance = (node: Node): unknown => statementWithin(node.state, node.view, undefined, node.nowMs).lanes[0]?.stance;
    expect([pulled.exit, stance(pulled)]).toEqual(['b1', 'carries']);
    pulled.step('tunnel a1', 'lan b3 missed', 'report b2');
    expect([pulled.exit, stance(pulled)]).toEqual(['b1', undefined]);
    expect(copyOf(pulled).step('tunnel a1', 'lan b3 carries').exit).toBe('b3');
    const alone = copyOf(pulled).repeat(4, 'tunnel a1', 'lan b3 missed', 'report b2');
    expect([alone.exit, stance(alone)]).toEqual(['b1', 'carries']);
  });

  it('an endpoint that dropped packets is tried again when the other one dies', () => {
    const node = copyOf(b1).repeat(3, 'lan b3', 'tunnel a1', 'report b2 uses distrusts');
    expect(node.exit).toBe('b3');
    node.repeat(4, 'lan b3 missed', 'tunnel a1', 'report b2');
    expect([node.exit, forwards(node.state, node.view, node.nowMs)]).toEqual(['b1', true]);
  });

  it('one that dropped packets is tried again soon when the other one forwards none either, and the next time later', () => {
    const node = copyOf(b1).repeat(3, 'lan b3', 'tunnel a1', 'report b2 uses distrusts');
    const isTriedWithin = (steps: number): boolean => {
      node.repeat(steps, 'lan b3 !forwards', 'tunnel a1', 'report b2');
      return forwards(node.state, node.view, node.nowMs);
    };
    expect([isTriedWithin(4), isTriedWithin(5)]).toEqual([false, true]);
    node.repeat(10, 'lan b3', 'tunnel a1', 'report b2 uses distrusts');
    expect([forwards(node.state, node.view, node.nowMs), isTriedWithin(30), isTriedWithin(12)]).toEqual([false, false, true]);
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
            const said = statementWithin(far.state, far.view, undefined, far.nowMs);
            const says = `${said.forwards ? '' : ' !forwards'} ${said.lanes.map(({ stance = '-' }) => stance).join(' ')}`;
            const tunnels = ['a1', 'a3'].map((peer) => `tunnel ${peer}${now[own].uplink ? '' : ' missed'}`);
            nodes[own].step(now[other].answers ? `lan ${other}${says}` : `lan ${other} missed`, ...tunnels);
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
