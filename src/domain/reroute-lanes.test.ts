import { describe, expect, it } from 'vitest';
import type { RerouteView } from './reroute-state.ts';
import { endpoint, ordinary, ScriptedNode as Node, well } from './test-reroute.ts';

describe('where two active endpoints share the packets', () => {
  /** Packets for a take the first lane, those for c the second. */
  const shared = (node: string): RerouteView => ({
    ...(node === 'b2' ? ordinary : endpoint(node)),
    own: { name: 'b', live: ['b1', 'b3'], isShared: true },
    others: ['a', 'c'].map((name) => ({ name, live: node === 'b2' ? [] : [`${name}1`, `${name}3`], isShared: false })),
    lanes: new Map(['a1', 'a3', 'c1', 'c3'].map((name) => [name, name.startsWith('c') ? 1 : 0])),
    tunnels: node === 'b2' ? [] : ['a1', 'a3', 'c1', 'c3'],
    through: node === 'b2' ? [['a1'], ['c1']] : [[], []],
  });
  const both = (): Node => new Node(shared('b2')).repeat(8, 'lan b1 carries leaves', 'lan b3 leaves carries', 'through a1', 'through c1');

  const TUNNELS = ['a1', 'a3', 'c1', 'c3'].map((name) => `tunnel ${name}`);
  const carrier = (node: string): Node =>
    new Node(shared(node)).repeat(24, node === 'b1' ? 'lan b3 leaves carries' : 'lan b1 carries leaves', ...TUNNELS);

  it('an ordinary node leaves by either, each for its own lane', () => {
    expect(both().exits).toEqual(['b1', 'b3']);
  });

  it('only the lane of the one that died moves', () => {
    const node = both().repeat(3, 'lan b1', 'lan b3 missed', 'through a1', 'through c1 missed');
    expect(node.exits).toEqual(['b1', 'b1']);
    expect(node.log).toEqual(['exit of region b, lane 1: b3 → b1: b3 does not answer, 3 probes']);
  });

  it('each is judged by what goes through it', () => {
    expect(both().repeat(20, 'lan b1', 'lan b3 missed', 'through a1 missed', 'through c1').exits).toEqual(['b1', 'b3']);
    expect(both().repeat(20, 'lan b1 missed', 'lan b3', 'through a1 missed', 'through c1').exits).toEqual(['b3', 'b3']);
  });

  it('a lane that is new stays with the endpoint that carries until its own one says that it does', () => {
    const node = well().repeat(3, 'lan b1 carries', 'lan b3 missed', 'through a1');
    node.view = { ...shared('b2'), through: [['a1'], ['c1']] };
    expect(node.step('lan b1 carries', 'lan b3 missed', 'through a1').exits).toEqual(['b1', 'b1']);
    expect(node.step('lan b1 carries', 'lan b3 leaves').exits).toEqual(['b1', 'b1']);
    expect(node.step('lan b1 carries', 'lan b3 leaves carries').exits).toEqual(['b1', 'b3']);
  });

  it('an endpoint that carries for the other one gives its lane back when that has been well for a while, and the others follow', () => {
    const node = new Node(shared('b1'))
      .repeat(8, 'lan b3 leaves carries', 'tunnel a1', 'tunnel c1')
      .repeat(3, 'lan b3 missed', 'tunnel a1');
    expect(node.exits).toEqual(['b1', 'b1']);
    expect(node.repeat(200, 'lan b3 leaves waits', 'tunnel a1').exits).toEqual(['b1', 'b1']);
    expect(node.repeat(100, 'lan b3 leaves leaves', 'tunnel a1').exits).toEqual(['b1', 'b1']);
    node.repeat(20, 'lan b3 leaves leaves', 'tunnel a1').step('lan b3 leaves leaves');
    expect([node.exits, node.log.at(-1)]).toEqual([['b1', 'b3'], 'exit of region b, lane 1: b1 → b3: b3 is well again']);
    const other = both().repeat(3, 'lan b1', 'lan b3 missed').repeat(200, 'lan b1 carries carries', 'lan b3 leaves leaves', 'through a1');
    expect(other.exits).toEqual(['b1', 'b1']);
    expect(other.step('lan b1 carries leaves', 'lan b3 leaves carries').exits).toEqual(['b1', 'b3']);
  });

  /** Both know of two lanes, and the controller has just turned their order round. */
  const turned = (node: string): RerouteView => ({ ...shared(node), own: { name: 'b', live: ['b3', 'b1'], isShared: true } });

  it('nobody goes where the controller wants it before that one has tunnels and carries', () => {
    const node = both();
    node.view = turned('b2');
    expect(node.repeat(60, 'lan b1 carries leaves', 'lan b3 waits carries', 'through a1').exits).toEqual(['b1', 'b3']);
    expect(node.repeat(60, 'lan b1 carries leaves', 'lan b3 leaves carries', 'through a1').exits).toEqual(['b1', 'b3']);
    expect(node.step('lan b1 leaves carries', 'lan b3 carries leaves').exits).toEqual(['b3', 'b1']);
  });

  it('an endpoint hands over as soon as the other one has tunnels, and takes over from one that leaves by it', () => {
    const node = carrier('b1');
    node.view = turned('b1');
    expect(node.step('lan b3 waits carries', 'tunnel a1').exits[0]).toBe('b1');
    expect(node.repeat(3, 'lan b3 leaves carries', 'tunnel a1').exits[0]).toBe('b3');
    expect(node.repeat(3, 'lan b3 leaves carries', 'tunnel a1').exits[0]).toBe('b1');
    expect(carrier('b3').step('lan b1 leaves waits', 'tunnel a1').exits).toEqual(['b3', 'b3']);
  });

  it('an endpoint that starts leaves its lane to one that carries all, because that knows of one lane only', () => {
    const started = new Node(shared('b3')).repeat(8, 'lan b1 carries', 'tunnel a1 missed', 'tunnel c1 missed');
    expect(started.exits).toEqual(['b1', 'b1']);
  });

  it('an endpoint that is cut off from the API gives its lane to the other one when the controller made that the only one', () => {
    const node = carrier('b3');
    expect(node.exits).toEqual(['b1', 'b3']);
    expect(node.step('lan b1 carries', ...TUNNELS).exits).toEqual(['b1', 'b1']);
  });

  it('an endpoint does not take its own lane before its tunnels are up', () => {
    const node = new Node(endpoint('b3')).repeat(24, 'lan b1 carries', 'tunnel a1', 'tunnel a3');
    node.view = shared('b3');
    expect(node.repeat(8, 'lan b1 carries carries', 'tunnel a1', 'tunnel a3', 'tunnel c1').exits).toEqual(['b1', 'b1']);
    expect(node.step('lan b1 carries carries', 'tunnel c3').exits).toEqual(['b1', 'b3']);
  });

  it('a lane that is no more goes the way of the other', () => {
    const node = both();
    node.view = { ...shared('b2'), own: ordinary.own, through: [['a1', 'c1']] };
    expect(node.step('lan b1 carries', 'lan b3 leaves').exits).toEqual(['b1']);
  });

  it('an endpoint believes that it does not forward when those say so whose lane it carries, and entries of that lane answer', () => {
    const node = carrier('b3').repeat(8, 'lan b1 carries leaves', ...TUNNELS, 'report b2 second uses works');
    expect(node.exits).toEqual(['b1', 'b3']);
    node.step('report b2 works', 'report b2 second uses distrusts').step('lan b1 carries leaves', 'tunnel a1', 'tunnel c3');
    expect(node.exits).toEqual(['b1', 'b3']);
    expect(node.step('lan b1 carries leaves', 'tunnel c1').exits).toEqual(['b1', 'b1']);
  });
});
