import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import type { Tunnel } from '../../domain/node-plan.ts';
import { callingConnection, type Connection, planConnections } from './connection.ts';
import { type Action, commandOf, decide, retryDelayMs, type Situation } from './reconcile.ts';
import type { ChildSa, IkeSa } from './sas.ts';
import { tunnel, tunnelPlan } from './test-plans.ts';

const REMOTE = { ip: '203.0.113.1', port: 4500 };
const NOW_MS = 1_000_000;

function connectionTo(peer: string, change: Partial<Tunnel> = {}): Connection {
  const [connection] = planConnections(
    tunnelPlan('b', [{ ...tunnel(peer, ['10.2.0.0/24'], ['10.1.0.0/24', '10.11.0.0/24'], REMOTE), ...change }]),
  );
  return connection!;
}

const caller = connectionTo('a');
const called = connectionTo('a', { initiate: false });

function child(change: Partial<ChildSa> = {}): ChildSa {
  const selectors = { localTs: ['10.2.0.0/24'], remoteTs: ['10.11.0.0/24', '10.1.0.0/24'] };
  return {
    name: caller.children[0],
    id: 1,
    state: 'INSTALLED',
    spiIn: 'a1',
    spiOut: 'b1',
    bytesIn: 0,
    bytesOut: 0,
    installedS: 60,
    ...selectors,
    ...change,
  };
}

function ikeSa(change: Partial<IkeSa> = {}): IkeSa {
  return {
    name: 'raven-a',
    id: 1,
    state: 'ESTABLISHED',
    remote: REMOTE,
    establishedS: 60,
    initiator: true,
    busy: false,
    children: [child()],
    ...change,
  };
}

/** One connection, loaded, unless told otherwise. */
function situation(change: Partial<Situation> & { ikeSas?: IkeSa[]; loaded?: [string, string[]][]; lost?: number[] } = {}): Situation {
  const { ikeSas = [], lost = [], ...rest } = change;
  const desired = rest.desired ?? [caller];
  const loaded = new Map(rest.loaded ?? desired.map(({ name, children }) => [name, [children[0]]]));
  return { observed: { loaded, ikeSas, lost: new Set(lost) }, attempts: new Map(), nowMs: NOW_MS, greet: new Map(), ...rest, desired };
}

const text = (action: Action): string =>
  [
    action.type,
    'connection' in action ? action.connection.name : action.peer,
    'id' in action ? action.id : '',
    'child' in action ? action.child.slice('raven-01234567-01234567'.length) : '',
  ]
    .filter((word) => word !== '')
    .join(' ');
const actions = (change: Parameters<typeof situation>[0]): string[] => decide(situation(change)).actions.map(text);

describe('what charon is told', () => {
  it('is, by a version with other timers, to use those from now on; the SA stays', () => {
    const [own] = caller.children;
    const before = own.replace(/-\w+$/, '-00000000');
    expect(before).not.toBe(own);
    const earlier = { loaded: [['raven-a', [before]]] as [string, string[]][], ikeSas: [ikeSa({ children: [child({ name: before })] })] };
    expect(decide(situation(earlier))).toMatchObject({ actions: [{ type: 'load', child: own }], againAtMs: undefined });
    expect(actions({ ikeSas: earlier.ikeSas })).toEqual([]);
  });

  it('is nothing when all is as planned, whatever the order of selectors', () => {
    expect(decide(situation({ ikeSas: [ikeSa()] }))).toEqual({ actions: [], againAtMs: undefined });
    expect(actions({ desired: [called], ikeSas: [ikeSa({ initiator: false })] })).toEqual([]);
  });

  it.each<[string, Parameters<typeof situation>[0], string[]]>([
    ['a new peer is loaded, then called', { loaded: [] }, ['load raven-a', 'initiate raven-a']],
    ['a peer that calls is only loaded', { desired: [called], loaded: [] }, ['load raven-a']],
    ['a call under way is left alone', { ikeSas: [ikeSa({ state: 'CONNECTING', busy: true, children: [] })] }, []],
    ['an IKE_SA without CHILD_SA gets one', { ikeSas: [ikeSa({ children: [] })] }, ['initiate raven-a']],
    ['unless that is being made', { ikeSas: [ikeSa({ busy: true, children: [] })] }, []],
    [
      'a call to an old address is ended, another made',
      { ikeSas: [ikeSa({ state: 'CONNECTING', children: [], remote: { ip: '203.0.113.9', port: 4500 } })] },
      ['initiate raven-a', 'terminateIke a 1'],
    ],
    [
      'our own call is ended when it is for the peer to call',
      { desired: [called], ikeSas: [ikeSa({ state: 'CONNECTING', children: [] })] },
      ['terminateIke a 1'],
    ],
    ['but not the call of the peer', { desired: [called], ikeSas: [ikeSa({ state: 'CONNECTING', children: [], initiator: false })] }, []],
    ['what the kernel lost is ended, to be made again then', { ikeSas: [ikeSa()], lost: [1] }, ['terminateChild a 1']],
    ['the called side only ends it', { desired: [called], ikeSas: [ikeSa()], lost: [1] }, ['terminateChild a 1']],
    [
      'an older configuration is replaced, its SA stays until there is a new one',
      { loaded: [['raven-a', ['raven-old']]], ikeSas: [ikeSa({ children: [child({ name: 'raven-old' })] })] },
      ['load raven-a', 'initiate raven-a'],
    ],
    [
      'then it goes',
      { ikeSas: [ikeSa({ children: [child({ name: 'raven-old' }), child({ id: 2, installedS: 3 })] })] },
      ['terminateChild a 1'],
    ],
    [
      'with its IKE_SA',
      { ikeSas: [ikeSa({ children: [child({ name: 'raven-old' })] }), ikeSa({ id: 2, children: [child({ id: 2 })] })] },
      ['terminateIke a 1'],
    ],
    [
      'an SA that is narrower than planned is made again, under the other name',
      { ikeSas: [ikeSa({ children: [child({ remoteTs: ['10.1.0.0/24'] })] })] },
      ['load raven-a -b', 'initiate raven-a -b'],
    ],
    [
      'and again, when the peer still has its old plan, under a third: the narrow ones keep their names for some seconds',
      {
        loaded: [['raven-a', [caller.children[1]!]]],
        ikeSas: [
          ikeSa({ children: caller.children.slice(0, 2).map((name, id) => child({ id, name, remoteTs: ['10.1.0.0/24'], installedS: 0 })) }),
        ],
      },
      ['load raven-a -c', 'initiate raven-a -c'],
    ],
    [
      'a peer that left is unloaded and its SA ended',
      { desired: [], loaded: [['raven-x', ['raven-1']]], ikeSas: [ikeSa({ name: 'raven-x' })] },
      ['unload x', 'terminateIke x 1'],
    ],
    [
      'foreign connections and SAs are none of our business',
      { desired: [], loaded: [['office', ['net']]], ikeSas: [ikeSa({ name: 'office' })] },
      [],
    ],
    [
      'after a crash the called side calls once',
      { desired: [called], greet: new Map([['a', called]]) },
      ['load raven-a', 'initiate raven-a'],
    ],
    [
      'and waits for what comes of it',
      { desired: [called], greet: new Map([['a', called]]), ikeSas: [ikeSa({ state: 'CONNECTING', children: [] })] },
      [],
    ],
  ])('%s', (_, change, expected) => {
    expect(actions(change)).toEqual(expected);
  });

  it('makes an IKE_SA of its own for another plan when the peer had called: there the old one keeps the old plan', () => {
    const narrow = [child({ remoteTs: ['10.1.0.0/24'] })];
    const lifetimes = (initiator: boolean): unknown[] =>
      decide(situation({ ikeSas: [ikeSa({ initiator, children: narrow })] }))
        .actions.filter(({ type }) => type === 'load')
        .map((load) => Object.values(commandOf(load).message).map((config) => (config as Record<string, unknown>)['rekey_time']));
    expect([lifetimes(true), lifetimes(false)]).toEqual([[['4h']], [['14401s']]]);
    expect(actions({ ikeSas: [ikeSa({ initiator: false, children: narrow })] })).toEqual(['load raven-a -b', 'initiate raven-a -b']);
    expect(actions({ ikeSas: [ikeSa({ initiator: false })] })).toEqual([]);
  });

  it('leaves an old SA for a while beside the new one, and says when to look again', () => {
    const young = situation({ ikeSas: [ikeSa({ children: [child(), child({ id: 2, installedS: 1 })] })] });
    expect(decide(young)).toEqual({ actions: [], againAtMs: NOW_MS + 2000 });
  });

  it('waits between calls, each peer for itself', () => {
    const other = connectionTo('c');
    const attempts = new Map([['a', { count: 3, notBeforeMs: NOW_MS + 500 }]]);
    const { actions: done, againAtMs } = decide(situation({ desired: [caller, other], attempts }));
    expect([done.map(text), againAtMs]).toEqual([['initiate raven-c'], NOW_MS + 500]);
  });

  it('adds for all peers before it removes anything', () => {
    const types = decide(situation({ loaded: [['raven-x', ['raven-1']]], ikeSas: [ikeSa({ name: 'raven-x' })] })).actions.map(
      ({ type }) => type,
    );
    expect(types).toEqual(['load', 'initiate', 'unload', 'terminateIke']);
  });

  it('names what it means as charon expects it', () => {
    expect(commandOf({ type: 'terminateChild', id: 7, peer: 'a', why: '' })).toEqual({
      command: 'terminate',
      message: { 'child-id': '7', force: 'yes', timeout: '-1' },
    });
    const call = callingConnection(tunnelPlan('b', []), called, { ip: '198.51.100.7' as never, port: 40_000 });
    expect(commandOf({ type: 'load', connection: call, child: call.children[0] }).message).toMatchObject({
      'raven-a': { remote_addrs: ['198.51.100.7'], remote_port: '40000' },
    });
  });

  const anySa = fc.record({
    id: fc.integer({ min: 1, max: 5 }),
    name: fc.constantFrom('raven-a', 'raven-x', 'office'),
    state: fc.constantFrom('CREATED', 'CONNECTING', 'ESTABLISHED', 'REKEYING', 'DELETING'),
    initiator: fc.boolean(),
    busy: fc.boolean(),
    children: fc.array(
      fc.record({
        id: fc.integer({ min: 1, max: 9 }),
        name: fc.constantFrom(...caller.children, 'raven-old'),
        state: fc.constantFrom('INSTALLED', 'REKEYED', 'CREATED', 'DELETING'),
        installedS: fc.nat(10),
      }),
      { maxLength: 3 },
    ),
  });
  test.prop([fc.array(anySa, { maxLength: 4 }), fc.boolean()])(
    'never ends the only SA that is as planned, nor anything foreign, and calls a peer once at most',
    (sas, isCaller) => {
      const desired = [isCaller ? caller : called];
      const ikeSas = sas.map((sa) =>
        ikeSa({ ...sa, children: sa.children.map((each) => child({ ...each, name: isCaller ? each.name : called.children[0] })) }),
      );
      const done = decide(situation({ desired, ikeSas })).actions;
      expect(done.filter(({ type }) => type === 'initiate').length).toBeLessThanOrEqual(1);
      const ended = ikeSas.filter(({ id }) => done.some((action) => action.type === 'terminateIke' && action.id === id));
      expect(ended.every(({ id, name }) => name !== 'office' || ikeSas.some((sa) => sa.id === id && sa.name !== 'office'))).toBe(true);
      const own = ikeSas.filter(({ name }) => name === 'raven-a').flatMap(({ children }) => children);
      const only = own.filter(({ state, name }) => state === 'INSTALLED' && desired[0]!.children.includes(name));
      if (only.length === 1)
        expect(
          done.some(
            (action) =>
              action.type === 'terminateChild' && action.id === only[0]!.id && own.filter(({ id }) => id === action.id).length === 1,
          ),
        ).toBe(false);
    },
  );
});

test.prop([fc.integer({ min: 1, max: 1000 }), fc.double({ min: 0, max: 0.999, noNaN: true })])(
  'pauses between calls grow from 0.75 s to 10 s, a minute for narrow SAs',
  (count, random) => {
    expect(retryDelayMs(1, random, false)).toBeGreaterThanOrEqual(750);
    expect(retryDelayMs(count, random, false)).toBeLessThanOrEqual(10_000);
    expect(retryDelayMs(count, random, true)).toBeLessThanOrEqual(60_000);
  },
);
