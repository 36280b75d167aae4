import { decodeStatement, encodeStatement, type Stance, type Statement } from '../domain/probe-flags.ts';
import type { ForwardingFault } from '../domain/forwarding.ts';
import { choose, type Reroute } from '../domain/reroute.ts';
import {
  type ChoiceMemory,
  type Choices,
  exitWorks,
  exitWorksNow,
  forwards,
  isDistrusted,
  INITIAL_REROUTE,
  NO_CHOICES,
  observe,
  retain,
  type ProbeKind,
  type RerouteEvent,
  type RerouteState,
  type RerouteView,
  trackOf,
} from '../domain/reroute-state.ts';
import type { Watch } from '../domain/reroute-view.ts';
import type { Outcome } from '../drivers/probe/echo.ts';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { type Ip, parseIp } from '../net/ip.ts';
import { createCallers, type OpenCaller } from './callers.ts';
import type { EchoKeeper } from './echo-keeper.ts';

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
  /** Choices made before the agent was restarted. */
  readonly kept: ChoiceMemory | undefined;
  readonly keep: (memory: ChoiceMemory) => void;
  readonly onReroute: (reroute: Reroute) => void;
  readonly log: Logger;
}

const TICK_MS = 250;
/** Once something has not answered: three in a row without an answer then span 0.6 s. */
const HURRY_MS = 100;
/** Then it is known to be dead, or well again. */
const HURRY_PROBES = 12;
/** A standby, while nothing is wrong. */
const STANDBY_MS = 2_000;
/** What carries nothing: metered links cost money. */
const IDLE_MS = 5_000;
/** At the most a satellite's round trip, twice. */
const TIMEOUT_MS = { min: 250, max: 1_500 };
/** More probes than this are spread over the tick. */
const BURST = 8;

const DISTRUSTED: ForwardingFault = {
  reason: 'NothingGetsAcross',
  message: 'all nodes of the region that send through it say that nothing gets across',
};

interface Target {
  readonly kind: ProbeKind;
  readonly name: string;
  readonly ip: Ip;
  dueMs: number;
  rttMs: number;
}

export function createLookout({ overlay, tunnels, lan, openCaller, isBusy, received, kept, keep, onReroute, log }: LookoutParts): Lookout {
  const listeners: (() => void)[] = [];
  const callers = createCallers(openCaller, log);
  let state: RerouteState = { ...INITIAL_REROUTE, ...kept };
  let watch: Watch | undefined;
  let known = '';
  let targets: readonly Target[] = [];
  let peerAt: ReadonlyMap<string, string> = new Map();
  let timer: NodeJS.Timeout | undefined;
  let asking = false;
  let ownPackets = 0;
  let closed = false;
  lan.respond(answerLan);
  overlay.respond(answerOverlay);
  tunnels.respond(answerOverlay);

  function set(next: Watch | undefined): void {
    const text =
      next === undefined
        ? ''
        : JSON.stringify([
            next.view,
            next.address,
            next.probeIp,
            ...[next.lan, next.tunnel, next.through, next.nodes].map((each) => [...each]),
          ]);
    if (text === known || closed) return;
    known = text;
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
    timer ??= setTimeout(tick, 0);
  }

  function stopTicking(): void {
    clearTimeout(timer);
    timer = undefined;
    if (state === INITIAL_REROUTE) return;
    state = INITIAL_REROUTE;
    keep(state);
    notify();
  }

  function tick(): void {
    const now = Date.now();
    const pace = { busy: isBusy(ownPackets), hurried: suspects() };
    const due = targets.filter((target) => target.dueMs <= now || now + intervalOf(target, pace) < target.dueMs);
    for (const [i, target] of due.entries()) {
      target.dueMs = now + intervalOf(target, pace) - HURRY_MS / 2;
      if (due.length <= BURST) void probe(target);
      else setTimeout(() => void probe(target), (i * TICK_MS) / due.length);
    }
    decide();
    timer = setTimeout(tick, suspects().size > 0 ? HURRY_MS : TICK_MS);
  }

  /** What was well a moment ago has just not answered. */
  function hurry(): void {
    if (timer === undefined || closed) return;
    clearTimeout(timer);
    timer = setTimeout(tick, 0);
  }

  function intervalOf(
    { kind, name }: Target,
    { busy, hurried }: { readonly busy: boolean; readonly hurried: ReadonlySet<string> },
  ): number {
    if (watch === undefined || hurried.has(groupOf(kind, name))) return HURRY_MS;
    const { choices } = state;
    if (kind === 'lan') return choices.exit === name ? TICK_MS : STANDBY_MS;
    if (kind === 'through') return busy ? TICK_MS : IDLE_MS;
    const isEntry = choices.entry.get(watch.regionOf.get(name) ?? '') === name;
    if (!isEntry) return STANDBY_MS;
    return busy ? TICK_MS : IDLE_MS;
  }

  /** Where something that was well has not answered, for not so long: all that could take its place is of interest now. */
  function suspects(): ReadonlySet<string> {
    const late = targets.filter(({ kind, name }) => {
      const { misses, heardMs } = trackOf(state, kind, name);
      return misses > 0 && misses < HURRY_PROBES && heardMs !== undefined;
    });
    return new Set(late.map(({ kind, name }) => groupOf(kind, name)));
  }

  /** The own region, or a peer's. */
  function groupOf(kind: ProbeKind, name: string): string {
    return kind === 'tunnel' ? (watch?.regionOf.get(name) ?? '') : '';
  }

  async function probe(target: Target): Promise<void> {
    const { kind, name, ip } = target;
    const sentMs = Date.now();
    const timeoutMs = Math.min(TIMEOUT_MS.max, Math.max(TIMEOUT_MS.min, 3 * target.rttMs));
    const flags = encodeStatement(statementFor(kind === 'lan' ? name : undefined));
    const outcome = await (kind === 'lan'
      ? callers.probe(ip, flags, timeoutMs)
      : callOverlay(kind === 'tunnel' ? tunnels : overlay, ip, flags, timeoutMs));
    if (outcome === undefined || closed || !targets.includes(target)) return;
    const atMs = Date.now();
    if (typeof outcome === 'object') {
      target.rttMs = target.rttMs === 0 ? outcome.rttMs : target.rttMs + (outcome.rttMs - target.rttMs) / 8;
      const said = decodeStatement(outcome.flags);
      takeStatement(kind, name, { type: 'answered', kind, target: name, forwards: said?.forwards ?? true, stance: said?.stance, atMs });
    } else {
      if (outcome === 'refused') take({ type: 'refused', target: name, atMs });
      if (kind === 'tunnel') await askBytes();
      take({ type: 'missed', kind, target: name, sentMs });
      if (trackOf(state, kind, name).misses === 1) hurry();
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
      const atMs = Date.now();
      for (const [peer, bytes] of await received()) take({ type: 'received', peer, bytes, atMs });
    } catch (error) {
      log.debug({ error: messageOf(error) }, 'tunnels could not be asked');
    } finally {
      asking = false;
    }
  }

  function statementFor(receiver: string | undefined): Statement {
    if (watch === undefined) return { forwards: true, stance: undefined, uses: false, works: false, distrusts: false };
    const { view } = watch;
    const { exit = view.own.live[0] } = state.choices;
    const uses = receiver !== undefined && exit === receiver;
    return {
      forwards: forwards(state, view, Date.now()),
      stance: stanceOf(view, state.choices.exit),
      uses,
      works: exitWorksNow(state, view, Date.now()),
      distrusts: uses && exitWorks(state, view) === false,
    };
  }

  /** Only nodes of the own region are answered. */
  function answerLan(from: string, flags: number): number | undefined {
    const ip = parseIp(from);
    const node = ip && watch?.nodes.get(ip);
    if (node === undefined) return undefined;
    const said = decodeStatement(flags);
    if (said !== undefined) {
      const { uses, works, distrusts } = said;
      take({ type: 'reported', node, uses, works, distrusts, atMs: Date.now() });
      if (distrusts) decide();
    }
    return encodeStatement(statementFor(undefined));
  }

  function answerOverlay(from: string, flags: number): number {
    ownPackets += 2;
    const peer = peerAt.get(from);
    const said = decodeStatement(flags);
    if (peer !== undefined && said !== undefined) {
      takeStatement('tunnel', peer, { type: 'said', peer, forwards: said.forwards, stance: said.stance });
    }
    return encodeStatement(statementFor(undefined));
  }

  function take(event: RerouteEvent): void {
    state = observe(state, event);
  }

  /** Answers come by the hundred and mostly say what the last one said. */
  function takeStatement(kind: ProbeKind, name: string, event: RerouteEvent): void {
    const before = trackOf(state, kind, name);
    take(event);
    const after = trackOf(state, kind, name);
    if (before.misses > 0 || before.forwards !== after.forwards || before.stance !== after.stance) decide();
  }

  function decide(): void {
    if (watch === undefined) return;
    const before = JSON.stringify([state.choices.exit, ...state.choices.entry]);
    const { state: next, changes } = choose(state, watch.view, Date.now());
    state = next;
    for (const change of changes) onReroute(change);
    if (JSON.stringify([next.choices.exit, ...next.choices.entry]) !== before) {
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
    fault: () => (isDistrusted(state, Date.now()) ? DISTRUSTED : undefined),
    onChange: (listener) => void listeners.push(listener),
    close: async () => {
      closed = true;
      clearTimeout(timer);
      await callers.close();
      await tunnels.close();
      await lan.close();
    },
  };
}

function targetsOf({ lan, tunnel, through }: Watch): Target[] {
  const of = (kind: ProbeKind, all: ReadonlyMap<string, Ip>): Target[] =>
    [...all].map(([name, ip]) => ({ kind, name, ip, dueMs: 0, rttMs: 0 }));
  return [...of('lan', lan), ...of('tunnel', tunnel), ...of('through', through)];
}

function keyOf({ kind, name, ip }: Target): string {
  return `${kind} ${name} ${ip}`;
}

/** Whoever has not decided yet must not call others back. */
function stanceOf({ node, own: { live } }: RerouteView, exit: string | undefined): Stance | undefined {
  if (exit === undefined || !live.includes(node)) return undefined;
  return exit === node ? 'carries' : 'leaves';
}
