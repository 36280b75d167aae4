import { newsOf, statementAcross, statementWithin } from '../domain/own-statement.ts';
import { decodeStatement, encodeStatement, SAYS_NOTHING, type Statement } from '../domain/probe-flags.ts';
import type { ForwardingFault } from '../domain/forwarding.ts';
import { HURRY_MS, paceOf, TICK_MS } from '../domain/probe-pace.ts';
import { choose, type Reroute } from '../domain/reroute.ts';
import { isDistrusted } from '../domain/own-forwarding.ts';
import { observe, type RerouteEvent } from '../domain/reroute-events.ts';
import {
  type ChoiceMemory,
  type Choices,
  INITIAL_REROUTE,
  MISSES,
  NO_CHOICES,
  resume,
  retain,
  type ProbeKind,
  type RerouteState,
  saysNews,
  trackOf,
} from '../domain/reroute-state.ts';
import type { Watch } from '../domain/reroute-view.ts';
import type { Outcome } from '../drivers/probe/echo.ts';
import type { Clock } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { type Ip, parseIp } from '../net/ip.ts';
import { createCallers, type OpenCaller } from './callers.ts';
import type { EchoKeeper } from './echo-keeper.ts';
import { fingerprint, keyOf, type Target, targetsOf } from './lookout-targets.ts';

/** Watches the live endpoints that this node's packets use, and chooses among them without anybody's help. */
export interface Lookout {
  /** What to watch; undefined: nothing. Cheap when nothing changed. */
  set(watch: Watch | undefined): void;
  choices(): Choices;
  /** Why packets do not get across this node, as others have found; undefined: they do, or nobody knows. */
  fault(): ForwardingFault | undefined;
  /** Called when the choices have changed. */
  onChange(listener: () => void): void;
  close(): Promise<void>;
}

export const noLookout: Lookout = {
  set: () => undefined,
  choices: () => NO_CHOICES,
  fault: () => undefined,
  onChange: () => undefined,
  close: () => Promise.resolve(),
};

export interface LookoutParts {
  /** On the overlay address. */
  readonly overlay: EchoKeeper;
  /** On the address for probes of tunnels. */
  readonly tunnels: EchoKeeper;
  /** On the node's own address. */
  readonly lan: EchoKeeper;
  readonly openCaller: OpenCaller;
  /** Whether packets that are not probes pass now. */
  readonly isBusy: (ownPackets: number) => boolean;
  /** Bytes that came out of each tunnel, by peer. */
  readonly received: () => Promise<ReadonlyMap<string, number>>;
  /** The tunnel to a peer has fallen silent. */
  readonly onSilence: (peer: string) => void;
  /** Choices made before the agent was restarted. */
  readonly kept: ChoiceMemory | undefined;
  readonly keep: (memory: ChoiceMemory) => void;
  readonly onReroute: (reroute: Reroute) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/** At the most a satellite's round trip, twice. */
const TIMEOUT_MS = { min: 250, max: 1_500 };
/** More probes than this are spread over the tick. */
const BURST = 8;

const DISTRUSTED: ForwardingFault = {
  reason: 'NothingGetsAcross',
  message: 'all nodes of the region that send through it say that nothing gets across',
};

export function createLookout(parts: LookoutParts): Lookout {
  const { overlay, tunnels, lan, openCaller, isBusy, received, onSilence, kept, keep, onReroute, clock, log } = parts;
  const listeners: (() => void)[] = [];
  const callers = createCallers(openCaller, log);
  let state: RerouteState = { ...INITIAL_REROUTE, ...kept };
  let watch: Watch | undefined;
  let known = '';
  let targets: readonly Target[] = [];
  let peerAt: ReadonlyMap<string, string> = new Map();
  let cancelTick: (() => void) | undefined;
  let asking = false;
  let ownPackets = 0;
  let closed = false;
  /** What this node says of itself, as announced last. */
  let said = '';
  lan.respond(answerLan);
  overlay.respond(answerOverlay);
  tunnels.respond(answerOverlay);

  function set(next: Watch | undefined): void {
    const text = next === undefined ? '' : fingerprint(next);
    if (text === known || closed) return;
    known = text;
    if (watch === undefined && next !== undefined) state = resume(state, clock.now());
    watch = next;
    void lan.use(next?.address);
    void tunnels.use(next?.probeIp);
    callers.use(next?.address, next?.lan ?? new Map());
    const before = new Map(targets.map((target) => [keyOf(target), target]));
    targets = next === undefined ? [] : targetsOf(next).map((target) => before.get(keyOf(target)) ?? target);
    state = retain(state, targets);
    peerAt = new Map(next === undefined ? [] : [...next.tunnel].map(([name, ip]) => [ip, name]));
    if (next === undefined) return stopTicking();
    decide();
    cancelTick ??= clock.after(0, tick);
  }

  function stopTicking(): void {
    cancelTick?.();
    cancelTick = undefined;
    if (state === INITIAL_REROUTE) return;
    state = INITIAL_REROUTE;
    keep(state);
    notify();
  }

  function tick(): void {
    decide();
    if (watch === undefined) return;
    const nowMs = clock.now();
    const { intervalMs, tickMs } = paceOf({ state, watch, targets, isBusy: isBusy(ownPackets), nowMs });
    const due = targets.filter((target) => target.dueMs <= nowMs || nowMs + intervalMs(target) < target.dueMs);
    for (const [i, target] of due.entries()) {
      target.dueMs = nowMs + intervalMs(target) - HURRY_MS / 2;
      if (due.length <= BURST) void probe(target);
      else clock.after((i * TICK_MS) / due.length, () => void probe(target));
    }
    schedule(tickMs);
  }

  function schedule(delayMs: number): void {
    cancelTick?.();
    cancelTick = clock.after(delayMs, tick);
  }

  /** What was well a moment ago has just not answered. */
  function hurry(): void {
    if (cancelTick === undefined || closed) return;
    schedule(0);
  }

  /** There is news of these: they are asked at once. */
  function nudge(isMeant: (target: Target) => boolean): void {
    const meant = targets.filter(isMeant);
    for (const target of meant) target.dueMs = 0;
    if (meant.length > 0) hurry();
  }

  function isSilent(kind: ProbeKind, name: string): boolean {
    return trackOf(state, kind, name).misses >= MISSES;
  }

  async function probe(target: Target): Promise<void> {
    const { kind, name, ip } = target;
    const sentMs = clock.now();
    const timeoutMs = Math.min(TIMEOUT_MS.max, Math.max(TIMEOUT_MS.min, 3 * target.rttMs));
    const flags = encodeStatement(kind === 'lan' ? sayWithin(name) : sayAcross(name));
    const outcome = await (kind === 'lan'
      ? callers.probe(ip, flags, timeoutMs)
      : callOverlay(kind === 'tunnel' ? tunnels : overlay, ip, flags, timeoutMs));
    if (outcome === undefined || closed || !targets.includes(target)) return;
    const atMs = clock.now();
    if (typeof outcome === 'object') {
      target.rttMs = target.rttMs === 0 ? outcome.rttMs : target.rttMs + (outcome.rttMs - target.rttMs) / 8;
      const said = decodeStatement(outcome.flags);
      const { forwards: does, lanes } = said ?? SAYS_NOTHING;
      takeStatement(kind, name, { type: 'answered', kind, target: name, forwards: does, lanes, atMs });
    } else {
      if (outcome === 'refused') take({ type: 'refused', target: name, atMs });
      if (kind === 'tunnel') await askBytes();
      take({ type: 'missed', kind, target: name, sentMs });
      const { misses } = trackOf(state, kind, name);
      if (misses === 1) hurry();
      if (kind === 'tunnel' && misses === MISSES) onSilence(name);
      decide();
    }
  }

  async function callOverlay(echo: EchoKeeper, ip: Ip, flags: number, timeoutMs: number): Promise<Outcome | undefined> {
    ownPackets++;
    const outcome = await echo.current()?.probe(ip, flags, timeoutMs);
    if (typeof outcome === 'object') ownPackets++;
    return outcome;
  }

  /** Packets that still come out of a tunnel prove that the peer's kernel works, whatever its agent does. */
  async function askBytes(): Promise<void> {
    if (asking) return;
    asking = true;
    try {
      const atMs = clock.now();
      for (const [peer, bytes] of await received()) take({ type: 'received', peer, bytes, atMs });
    } catch (error) {
      log.debug({ error: messageOf(error) }, 'tunnels could not be asked');
    } finally {
      asking = false;
    }
  }

  function sayWithin(receiver?: string): Statement {
    return watch === undefined ? SAYS_NOTHING : statementWithin(state, watch.view, receiver, clock.now());
  }

  function sayAcross(peer: string | undefined): Statement {
    return watch === undefined ? SAYS_NOTHING : statementAcross(state, watch.view, peer, clock.now());
  }

  /** Only nodes of the own region are answered. */
  function answerLan(from: string, flags: number): number | undefined {
    const ip = parseIp(from);
    const node = ip && watch?.nodes.get(ip);
    if (node === undefined) return undefined;
    const said = decodeStatement(flags);
    if (said !== undefined) {
      for (const [lane, { uses, works, distrusts }] of said.lanes.entries())
        take({ type: 'reported', node, lane, uses, works, distrusts, atMs: clock.now() });
      if (watch?.lan.has(node) === true) takeSaying('lan', node, said);
      if (said.lanes.some(({ distrusts }) => distrusts)) {
        nudge(({ kind, name }) => kind === 'tunnel' && [...state.choices.entry.values()].includes(name));
        decide();
      }
      nudge(({ kind, name }) => kind === 'lan' && name === node && isSilent(kind, name));
    }
    return encodeStatement(sayWithin(node));
  }

  function answerOverlay(from: string, flags: number): number {
    ownPackets += 2;
    const peer = peerAt.get(from);
    const said = decodeStatement(flags);
    if (peer !== undefined && said !== undefined) {
      nudge(({ kind, name }) => kind === 'tunnel' && name === peer && isSilent(kind, name));
      takeSaying('tunnel', peer, said);
    }
    return encodeStatement(sayAcross(peer));
  }

  function takeSaying(kind: 'lan' | 'tunnel', peer: string, { forwards: does, lanes }: Statement): void {
    takeStatement(kind, peer, { type: 'said', kind, peer, forwards: does, lanes, atMs: clock.now() });
  }

  function take(event: RerouteEvent): void {
    state = observe(state, event, watch?.view.lanes);
  }

  /** Answers come by the hundred and mostly say what the last one said. */
  function takeStatement(kind: ProbeKind, name: string, event: RerouteEvent): void {
    const before = trackOf(state, kind, name);
    take(event);
    const after = trackOf(state, kind, name);
    if (before.misses > 0 || saysNews(before, after)) decide();
  }

  /** Others go by what an endpoint says of itself, and hear it with its next probe of them. */
  function announce(): void {
    if (watch === undefined || !watch.view.own.live.includes(watch.view.node)) return;
    const saying = newsOf(sayWithin());
    if (saying === said) return;
    said = saying;
    nudge(({ kind }) => kind !== 'through');
  }

  function decide(): void {
    if (watch === undefined) return;
    const before = JSON.stringify([state.choices.exits, ...state.choices.entry]);
    const { state: next, changes } = choose(state, watch.view, clock.now());
    state = next;
    for (const change of changes) onReroute(change);
    announce();
    if (JSON.stringify([next.choices.exits, ...next.choices.entry]) !== before) {
      keep(next);
      notify();
    }
  }

  function notify(): void {
    for (const listener of listeners) listener();
  }

  return {
    set,
    choices: () => state.choices,
    fault: () => (isDistrusted(state, clock.now()) ? DISTRUSTED : undefined),
    onChange: (listener) => void listeners.push(listener),
    close: async () => {
      closed = true;
      cancelTick?.();
      await callers.close();
      await tunnels.close();
      await lan.close();
    },
  };
}
