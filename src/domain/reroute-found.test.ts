import { describe, expect, it } from 'vitest';
import { forwards } from './own-forwarding.ts';
import { statementAcross, statementWithin } from './own-statement.ts';
import { INITIAL_REROUTE, type RerouteView, resume } from './reroute-state.ts';
import { endpoint, ordinary, ScriptedNode as Node, well } from './test-reroute.ts';

/** Each of these was a history of `make simulate`, or a fault of `make chaos`. */
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

  it('one that drops packets while the other is gone takes its word back once, and then when it is cured: each time moves all far entries', () => {
    const node = copyOf(b1);
    const says = (): boolean => forwards(node.state, node.view, node.nowMs);
    const step = (report: string): Node => node.step('lan b3 missed', 'tunnel a1 carries', 'tunnel a3', `report b2 uses ${report}`);
    while (node.nowMs < b1.nowMs + 4_000) step('distrusts');
    expect(says()).toBe(false);
    const said = Array.from({ length: 60 }, () => step('distrusts') && says());
    expect(said).not.toContain(true);
    step('works');
    expect(says()).toBe(true);
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
    expect(says(node.repeat(5, 'lan b3', 'tunnel a1 carries', 'tunnel a3', 'report b2 uses distrusts'))).toBe(true);
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
    expect(up('b3').repeat(3, 'lan b1 !forwards leaves uses', 'tunnel a1 missed', 'tunnel a3 missed').exit).toBe('b3');
  });

  it('an endpoint without a way stays with one that leaves by a third, of which it has not heard', () => {
    const cutOff = ['tunnel a1 missed', 'tunnel a3 missed'];
    expect(
      up('b3')
        .repeat(3, 'lan b1 carries', ...cutOff)
        .repeat(3, 'lan b1 !forwards leaves', ...cutOff).exit,
    ).toBe('b1');
    expect(copyOf(b1).repeat(4, 'lan b3 !forwards leaves', ...cutOff).exit).toBe('b3');
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
    expect(stance(copyOf(pulled).step('tunnel a1', 'lan b3 leaves uses'))).toBe('carries');
  });

  it('an endpoint whose agent was away makes way for the one that took over, and claims nothing before it could hear of it', () => {
    const stance = (node: Node): unknown => statementWithin(node.state, node.view, undefined, node.nowMs).lanes[0]?.stance;
    const restarted = (): Node => {
      const node = copyOf(b1);
      node.state = resume({ ...INITIAL_REROUTE, choices: b1.state.choices, orders: b1.state.orders }, node.nowMs);
      return node;
    };
    expect(stance(restarted().step('tunnel a1'))).toBe(undefined);
    expect(restarted().step('tunnel a1', 'lan b3 carries').exit).toBe('b3');
    expect(stance(restarted().step('tunnel a1', 'lan b3 leaves uses'))).toBe('carries');
  });

  it('where the agent of the one that carries is away, another takes over when other regions send their packets to it', () => {
    const node = up('b3').repeat(4, 'lan b1 missed', 'lan b1 refused', 'tunnel a1 carries !uses', 'tunnel a3');
    expect(node.exit).toBe('b1');
    node.step('lan b1 missed', 'lan b1 refused', 'tunnel a1 carries', 'tunnel a3');
    expect(node.log.at(-1)).toBe('exit of region b: b1 → b3: other regions send to b3, and the agent of b1 is away');
  });

  it('where the agent of an exit or entry is away, packets go to the one that says that it carries', () => {
    const away = ['lan b1 missed', 'lan b1 refused', 'through a1'];
    expect(well().repeat(4, ...away, 'lan b3 leaves').exit).toBe('b1');
    expect(well().repeat(4, ...away, 'lan b3 carries').exit).toBe('b3');
    let bytes = 0;
    const silent = (says: string): string[] => ['lan b3', 'tunnel a1 missed', `tunnel a1 bytes ${++bytes}`, `tunnel a3 ${says}`];
    const node = copyOf(b1);
    for (let i = 0; i < 8; i++) node.step(...silent('leaves !uses'));
    expect(node.entry()).toBe('a1');
    expect(node.step(...silent('carries')).entry()).toBe('a3');
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
