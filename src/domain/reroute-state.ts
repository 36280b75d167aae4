import type { Stance } from './probe-flags.ts';

/** What a node has measured of live endpoints and heard from others. Pure: times (epoch milliseconds) are arguments, nothing here waits or sends. */

/** lan: over the network of the own region. tunnel: through the tunnel to that very peer. through: by the ordinary routes, so across the exit. */
export type ProbeKind = 'lan' | 'tunnel' | 'through';

export interface Choices {
  /** Live endpoint of the own region through which packets for other regions leave; absent: as the controller has it. */
  readonly exit?: string;
  /** By region: its live endpoint that gets its packets. */
  readonly entry: ReadonlyMap<string, string>;
}

export const NO_CHOICES: Choices = { entry: new Map() };

export interface LiveRegion {
  readonly name: string;
  /** Names of its live endpoints, the controller's own choice first. */
  readonly live: readonly string[];
}

export interface RerouteView {
  readonly node: string;
  readonly own: LiveRegion;
  readonly others: readonly LiveRegion[];
  /** Peers that have a tunnel of this node's own. */
  readonly tunnels: readonly string[];
  /** Far endpoints that this node probes by its ordinary routes. */
  readonly through: readonly string[];
  /** A firewall of this machine drops what it should pass on. */
  readonly isBlocked: boolean;
}

export interface Track {
  /** Probes without an answer since the last answer. */
  readonly misses: number;
  readonly heardMs?: number;
  /** What it says about itself. */
  readonly forwards: boolean;
  readonly stance: Stance | undefined;
  /** tunnel: bytes that came out of it, and when they last grew; lan: when the machine said that no agent listens. */
  readonly bytes?: number;
  readonly flowMs?: number;
}

/** What a node of the own region says with its probes. */
interface Report {
  readonly atMs: number;
  readonly uses: boolean;
  readonly works: boolean;
  /** Since when it says that we do not forward for it. */
  readonly distrustsSinceMs?: number;
}

/** What outlives the agent. */
export interface ChoiceMemory {
  readonly choices: Choices;
  /** By kind and region: its live endpoints, in the order in which the choice was made. */
  readonly orders: ReadonlyMap<string, Order>;
}

export interface RerouteState extends ChoiceMemory {
  readonly tracks: ReadonlyMap<string, Track>;
  readonly reports: ReadonlyMap<string, Report>;
  /** We were told that we do not forward, and nothing has proved the contrary. */
  readonly distrustedUntilMs: number;
}

export interface Order {
  readonly live: string;
  readonly sinceMs: number;
  /** Since when the controller has another order, whose first one does not answer yet. */
  readonly overdueSinceMs?: number;
}

export type RerouteEvent =
  | {
      readonly type: 'answered';
      readonly kind: ProbeKind;
      readonly target: string;
      readonly forwards: boolean;
      readonly stance: Stance | undefined;
      readonly atMs: number;
    }
  | { readonly type: 'missed'; readonly kind: ProbeKind; readonly target: string; readonly sentMs: number }
  /** The machine is there, its agent is not. */
  | { readonly type: 'refused'; readonly target: string; readonly atMs: number }
  /** Bytes that came out of the tunnel so far. */
  | { readonly type: 'received'; readonly peer: string; readonly bytes: number; readonly atMs: number }
  /** A peer's own probe came through its tunnel. */
  | { readonly type: 'said'; readonly peer: string; readonly forwards: boolean; readonly stance: Stance | undefined }
  | {
      readonly type: 'reported';
      readonly node: string;
      readonly uses: boolean;
      readonly works: boolean;
      readonly distrusts: boolean;
      readonly atMs: number;
    };

export const INITIAL_REROUTE: RerouteState = {
  tracks: new Map(),
  reports: new Map(),
  distrustedUntilMs: 0,
  choices: NO_CHOICES,
  orders: new Map(),
};

/** So many probes in a row without an answer: it is gone. */
export const MISSES = 3;
/** Bytes or a refusal this recent prove that the machine lives, whatever its agent does. Host kernels send one "port unreachable" a second. */
const FRESH_MS = 1_500;
/** A report is worth that long: each node probes four times a second. */
const REPORT_MS = 1_500;
/** Nobody sends packets through an endpoint that dropped them, so nothing can prove it cured; it is the last resort for so long. */
const DISTRUST_MS = 60_000;

const NEW_TRACK: Track = { misses: 0, forwards: true, stance: undefined };

export function trackOf({ tracks }: RerouteState, kind: ProbeKind, target: string): Track {
  return tracks.get(`${kind}/${target}`) ?? NEW_TRACK;
}

/** Forgets what was measured of others than `targets`, by kind and name. */
export function retain(state: RerouteState, targets: readonly { readonly kind: ProbeKind; readonly name: string }[]): RerouteState {
  const keys = new Set(targets.map(({ kind, name }) => `${kind}/${name}`));
  return { ...state, tracks: new Map([...state.tracks].filter(([key]) => keys.has(key))) };
}

/** Takes in one event. */
export function observe(state: RerouteState, event: RerouteEvent): RerouteState {
  switch (event.type) {
    case 'answered': {
      const { kind, target, forwards: does, stance, atMs } = event;
      return believe(withTrack(state, kind, target, { misses: 0, heardMs: atMs, forwards: does, stance }), atMs);
    }
    case 'missed': {
      const old = trackOf(state, event.kind, event.target);
      // A later one was answered meanwhile.
      if (old.heardMs !== undefined && old.heardMs > event.sentMs) return state;
      return withTrack(state, event.kind, event.target, { ...old, misses: old.misses + 1 });
    }
    case 'refused':
      return withTrack(state, 'lan', event.target, { ...trackOf(state, 'lan', event.target), flowMs: event.atMs });
    case 'received': {
      const old = trackOf(state, 'tunnel', event.peer);
      const grew = old.bytes !== undefined && event.bytes > old.bytes;
      return withTrack(state, 'tunnel', event.peer, { ...old, bytes: event.bytes, ...(grew && { flowMs: event.atMs }) });
    }
    case 'said': {
      const { peer, forwards: does, stance } = event;
      return withTrack(state, 'tunnel', peer, { ...trackOf(state, 'tunnel', peer), forwards: does, stance });
    }
    case 'reported': {
      const { node, uses, works, distrusts, atMs } = event;
      const reports = new Map([...state.reports].filter(([, each]) => atMs - each.atMs < REPORT_MS));
      const since = reports.get(node)?.distrustsSinceMs ?? atMs;
      const report = { atMs, uses, works, ...(distrusts && { distrustsSinceMs: since }) };
      return believe({ ...state, reports: reports.set(node, report) }, atMs);
    }
  }
}

/** Nodes that send nothing now do not know, nor do endpoints. */
function hasOpinion(nowMs: number): (report: Report) => boolean {
  return ({ uses, works, distrustsSinceMs, atMs }) => uses && nowMs - atMs < REPORT_MS && (works || distrustsSinceMs !== undefined);
}

/** All who send through us say that nothing gets there, though our tunnels answer after that was said: then it is us. */
function believe(state: RerouteState, nowMs: number): RerouteState {
  const users = [...state.reports.values()].filter(hasOpinion(nowMs));
  if (users.length === 0) return state;
  const distrusts = users.flatMap(({ distrustsSinceMs }) => distrustsSinceMs ?? []);
  if (distrusts.length < users.length)
    return users.some(({ works }) => works) && state.distrustedUntilMs > 0 ? { ...state, distrustedUntilMs: 0 } : state;
  const sinceMs = Math.max(...distrusts);
  const answers = [...state.tracks].some(([key, { heardMs = 0 }]) => key.startsWith('tunnel/') && heardMs > sinceMs);
  return answers ? { ...state, distrustedUntilMs: nowMs + DISTRUST_MS } : state;
}

function withTrack(state: RerouteState, kind: ProbeKind, target: string, track: Track): RerouteState {
  return { ...state, tracks: new Map(state.tracks).set(`${kind}/${target}`, track) };
}

/** Whether this node, as an endpoint, gets packets to other regions: what it tells everybody. */
export function forwards(state: RerouteState, { tunnels, isBlocked }: RerouteView, nowMs: number): boolean {
  if (isBlocked || isDistrusted(state, nowMs)) return false;
  const measured = tunnels
    .map((peer) => trackOf(state, 'tunnel', peer))
    .filter(({ heardMs, misses }) => heardMs !== undefined || misses >= MISSES);
  return measured.length === 0 || measured.some((track) => !isSilent(track, nowMs));
}

/** All who send through it say that nothing gets across. */
export function isDistrusted({ distrustedUntilMs }: RerouteState, nowMs: number): boolean {
  return nowMs < distrustedUntilMs;
}

/** Whether they did at the last attempt: what others are told. */
export function exitWorksNow(state: RerouteState, { through }: RerouteView, nowMs: number): boolean {
  return through.some((target) => {
    const { heardMs, misses } = trackOf(state, 'through', target);
    return heardMs !== undefined && nowMs - heardMs < REPORT_MS && misses === 0;
  });
}

/** Whether the packets of this node cross its exit: undefined while that is not known. */
export function exitWorks(state: RerouteState, { through }: RerouteView): boolean | undefined {
  const tracks = through.map((target) => trackOf(state, 'through', target));
  if (tracks.some(({ heardMs, misses }) => heardMs !== undefined && misses < MISSES)) return true;
  return tracks.length > 0 && tracks.every(({ misses }) => misses >= MISSES) ? false : undefined;
}

/** Three probes without an answer, and no other sign of life. */
export function isSilent({ misses, flowMs = 0 }: Track, nowMs: number): boolean {
  return misses >= MISSES && nowMs - flowMs >= FRESH_MS;
}

/** Others of this region say that the endpoint which they use works, and it is not this one. */
export function isReportedToWork({ reports }: RerouteState, nowMs: number): boolean {
  return [...reports.values()].some(({ atMs, uses, works }) => nowMs - atMs < REPORT_MS && !uses && works);
}
