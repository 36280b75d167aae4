import { compareText } from '../../lib/compare.ts';
import type { ViciMessage } from '../../net/vici.ts';
import { type Connection, isMadeFor, peerOfConnection, renewedConnection } from './connection.ts';
import { type ChildSa, type IkeSa, isCarrying } from './sas.ts';

/** What charon has now. */
export interface Observed {
  /** Loaded connections with the names of their CHILD_SA configurations. */
  readonly loaded: ReadonlyMap<string, readonly string[]>;
  readonly ikeSas: readonly IkeSa[];
  /** Ids of CHILD_SAs that charon believes in and the kernel does not have. */
  readonly lost: ReadonlySet<number>;
}

/** Earlier calls to a peer that led to nothing yet. */
export interface Attempts {
  readonly count: number;
  /** Epoch milliseconds before which no other call is made. */
  readonly notBeforeMs: number;
}

export interface Situation {
  readonly desired: readonly Connection[];
  readonly observed: Observed;
  readonly attempts: ReadonlyMap<string, Attempts>;
  readonly nowMs: number;
  /**
   * By peer: how we call it once although it is its turn. After our charon crashed a peer takes some time to see that its SA is of no use any
   * more, and is told so by a call.
   */
  readonly greet: ReadonlyMap<string, Connection>;
}

export type Action =
  | { readonly type: 'load'; readonly connection: Connection; readonly child: string }
  | { readonly type: 'unload'; readonly name: string; readonly peer: string }
  | { readonly type: 'initiate'; readonly connection: Connection; readonly child: string }
  | { readonly type: 'terminateIke'; readonly id: number; readonly peer: string; readonly why: string }
  | { readonly type: 'terminateChild'; readonly id: number; readonly peer: string; readonly why: string };

export interface Decision {
  /** In the order in which to do them: first what is added. */
  readonly actions: readonly Action[];
  /** When to look again although nothing happened. */
  readonly againAtMs: number | undefined;
}

/**
 * Packets that are on their way in the old SA should still be accepted; and a peer that renews its SA shows two for a moment. Whole seconds,
 * as charon counts.
 */
const OVERLAP_S = 3;
const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 10_000;
/** An SA is up that is not as planned: the peer has another plan, for a moment or for long. */
const LAST_RETRY_NARROW_MS = 60_000;
/** Both ends change their plans at the same time, one a moment later. */
const FIRST_RETRY_NARROW_MS = 200;

/** What charon is told for an action. Nothing waits for the outcome (`timeout = -1`): events tell it. */
export function commandOf(action: Action): { readonly command: string; readonly message: ViciMessage } {
  switch (action.type) {
    case 'load':
      return { command: 'load-conn', message: { [action.connection.name]: action.connection.config(action.child) } };
    case 'unload':
      return { command: 'unload-conn', message: { name: action.name } };
    case 'initiate':
      return { command: 'initiate', message: { child: action.child, ike: action.connection.name, timeout: '-1', 'init-limits': 'no' } };
    case 'terminateIke':
      return { command: 'terminate', message: { 'ike-id': String(action.id), force: 'yes', timeout: '-1' } };
    case 'terminateChild':
      return { command: 'terminate', message: { 'child-id': String(action.id), force: 'yes', timeout: '-1' } };
  }
}

/** Compares what should be with what is. Pure; equal input gives no action. */
export function decide(situation: Situation): Decision {
  const { desired, observed } = situation;
  const each = desired.map((connection) => decideFor(connection, situation));
  const wanted = new Set(desired.map(({ name }) => name));
  const again = each.flatMap(({ againAtMs }) => againAtMs ?? []);
  return {
    actions: [...each.flatMap(({ add }) => add), ...each.flatMap(({ remove }) => remove), ...surplus(observed, wanted)],
    againAtMs: again.length === 0 ? undefined : Math.min(...again),
  };
}

/** The pause after the `count`-th call in vain; `random` is in [0, 1). Peers that failed together shall not call together. */
export function retryDelayMs(count: number, random: number, narrow: boolean): number {
  const [firstMs, lastMs] = narrow ? [FIRST_RETRY_NARROW_MS, LAST_RETRY_NARROW_MS] : [FIRST_RETRY_MS, LAST_RETRY_MS];
  const full = Math.min(lastMs, firstMs * 2 ** Math.min(count - 1, 10));
  return Math.round(full * (0.75 + random / 4));
}

/** Whether a CHILD_SA carries exactly what the plan says, under the current configuration. */
export function isPlanned(child: ChildSa, connection: Connection): boolean {
  const { tunnel } = connection;
  return (
    isMadeFor(child.name, connection) && sameSelectors(child.localTs, tunnel.localTs) && sameSelectors(child.remoteTs, tunnel.remoteTs)
  );
}

interface PeerDecision {
  readonly add: readonly Action[];
  readonly remove: readonly Action[];
  readonly againAtMs?: number | undefined;
}

function decideFor(connection: Connection, situation: Situation): PeerDecision {
  const { observed } = situation;
  const { peer, name, children, tunnel } = connection;
  const ikeSas = observed.ikeSas.filter((sa) => sa.name === name);
  const [loaded, another] = observed.loaded.get(name) ?? [];
  const isLoaded = loaded !== undefined && another === undefined && children.includes(loaded);
  const load: Action[] = isLoaded ? [] : [{ type: 'load', connection, child: children[0] }];
  const lost = ikeSas.flatMap((sa) => sa.children).filter(({ id }) => observed.lost.has(id));
  const heal = lost.map(({ id }): Action => ({ type: 'terminateChild', id, peer, why: 'the kernel lost it' }));
  const view: PeerView = { connection, ikeSas, load, loaded: isLoaded ? loaded : children[0] };
  const { add, remove, ...rest } = tunnel.initiate ? decideCaller(view, situation) : decideCalled(view, situation);
  return { add, remove: [...heal, ...remove], ...rest };
}

interface PeerView {
  readonly connection: Connection;
  readonly ikeSas: readonly IkeSa[];
  /** What brings the configuration up to date. */
  readonly load: readonly Action[];
  /** Name of the CHILD_SA in the configuration, once it is up to date. */
  readonly loaded: string;
}

/** The side that is called only has to know the caller. */
function decideCalled({ connection: { peer }, ikeSas, load }: PeerView, { greet }: Situation): PeerDecision {
  const greeting = greet.get(peer);
  if (greeting !== undefined) {
    const [child] = greeting.children;
    const call: Action[] = [
      { type: 'load', connection: greeting, child },
      { type: 'initiate', connection: greeting, child },
    ];
    return { add: ikeSas.length === 0 ? call : load, remove: [] };
  }
  const outdated = ikeSas.filter((sa) => isCalling(sa) && sa.initiator);
  return { add: load, remove: outdated.map(({ id }): Action => ({ type: 'terminateIke', id, peer, why: 'the peer calls, not we' })) };
}

function decideCaller({ connection, ikeSas, load, loaded }: PeerView, { observed, attempts, nowMs }: Situation): PeerDecision {
  const { peer, children, tunnel } = connection;
  const misdirected = ikeSas.filter((sa) => isCalling(sa) && sa.initiator && !isSame(sa.remote, tunnel.remote));
  const correct = misdirected.map(({ id }): Action => ({ type: 'terminateIke', id, peer, why: 'the peer has another address now' }));
  const carrying = ikeSas
    .flatMap((sa) => sa.children)
    .filter((each) => isCarrying(each) && isMadeFor(each.name, connection) && !observed.lost.has(each.id));
  const good = carrying.filter((each) => isPlanned(each, connection));
  const newest = (good.length > 0 ? good : carrying).toSorted((a, b) => b.id - a.id)[0];
  const { actions, waitS } = newest === undefined ? { actions: [] } : retire(peer, ikeSas, newest);
  const remove = [...correct, ...actions];
  const afterOverlapMs = waitS === undefined ? [] : [nowMs + waitS * 1000];
  if (good.length > 0) return { add: load, remove, againAtMs: afterOverlapMs[0] };
  // charon would take what the kernel lost for the SA that we ask for; its end is an event, and then we call.
  const ending = ikeSas.some((sa) => sa.children.some(({ id }) => observed.lost.has(id)));
  const underWay =
    ending || ikeSas.some((sa) => !misdirected.includes(sa) && (isCalling(sa) || sa.busy || sa.children.some(isBeginning(connection))));
  const free = [loaded, ...children].find((name) => !carrying.some((each) => each.name === name));
  const notBeforeMs = attempts.get(peer)?.notBeforeMs ?? 0;
  if (underWay || free === undefined || nowMs < notBeforeMs) {
    const times = [...afterOverlapMs, ...(nowMs < notBeforeMs ? [notBeforeMs] : [])];
    return { add: load, remove, againAtMs: times.length === 0 ? undefined : Math.min(...times) };
  }
  if (ikeSas.some(isGreeting)) {
    const renewed = renewedConnection(connection);
    const begin: Action[] = [
      { type: 'load', connection: renewed, child: free },
      { type: 'initiate', connection: renewed, child: free },
    ];
    return { add: begin, remove, againAtMs: afterOverlapMs[0] };
  }
  const ready: readonly Action[] = free === loaded ? load : [{ type: 'load', connection, child: free }];
  return { add: [...ready, { type: 'initiate', connection, child: free }], remove, againAtMs: afterOverlapMs[0] };
}

/**
 * What may go now that `newest` carries the traffic. Only the side that calls tidies up, and only when the newest has been there for a while.
 */
function retire(peer: string, ikeSas: readonly IkeSa[], newest: ChildSa): { actions: Action[]; waitS?: number } {
  const children = ikeSas.flatMap((sa) =>
    sa.children.filter((each) => isCarrying(each) && each.id !== newest.id).map((each) => ({ sa, each })),
  );
  const idle = ikeSas.filter(
    (sa) => sa.state === 'ESTABLISHED' && !sa.busy && sa.children.length === 0 && ikeSas.some((other) => other.id > sa.id),
  );
  if (children.length === 0 && idle.length === 0) return { actions: [] };
  const waitS = OVERLAP_S - newest.installedS;
  if (waitS > 0) return { actions: [], waitS };
  const whole = new Set(children.map(({ sa }) => sa).filter((sa) => !sa.children.some(({ id }) => id === newest.id)));
  const why = 'a newer one took its place';
  return {
    actions: [
      ...[...whole, ...idle].map(({ id }): Action => ({ type: 'terminateIke', id, peer, why })),
      ...children.filter(({ sa }) => !whole.has(sa)).map(({ each }): Action => ({ type: 'terminateChild', id: each.id, peer, why })),
    ],
  };
}

/** Ours that the plan does not have any more. Connections of others in this charon are not. */
function surplus({ ikeSas, loaded }: Observed, wanted: ReadonlySet<string>): Action[] {
  const gone = (name: string): string | undefined => (wanted.has(name) ? undefined : peerOfConnection(name));
  return [
    ...[...loaded.keys()].toSorted(compareText).flatMap((name): Action[] => {
      const peer = gone(name);
      return peer === undefined ? [] : [{ type: 'unload', name, peer }];
    }),
    ...ikeSas.flatMap(({ name, id, state }): Action[] => {
      const peer = gone(name);
      return peer === undefined || state === 'DELETING' ? [] : [{ type: 'terminateIke', id, peer, why: 'the plan has no such peer' }];
    }),
  ];
}

function isCalling({ state }: IkeSa): boolean {
  return state === 'CONNECTING' || state === 'CREATED';
}

/**
 * A call of the side that is called: its charon was new (`Situation.greet`). There the IKE_SA keeps the configuration with which it called, whatever
 * is loaded later, so a CHILD_SA of another plan needs an IKE_SA of its own.
 */
function isGreeting({ state, initiator }: IkeSa): boolean {
  return state === 'ESTABLISHED' && !initiator;
}

function isBeginning(connection: Connection): (child: ChildSa) => boolean {
  return (child) => isMadeFor(child.name, connection) && (child.state === 'CREATED' || child.state === 'INSTALLING');
}

function isSame(a: IkeSa['remote'], b: IkeSa['remote']): boolean {
  return a === undefined || (a.ip === b?.ip && a.port === b.port);
}

function sameSelectors(actual: readonly string[], planned: readonly string[]): boolean {
  return actual.length === planned.length && actual.toSorted(compareText).join() === planned.toSorted(compareText).join();
}
