import type { Stance } from './probe-flags.ts';

/**
 * What a node has measured of live endpoints and heard from others; `reroute-events.ts` takes it in. Pure: times (epoch milliseconds) are arguments, nothing here
 * waits or sends.
 */

/** lan: over the network of the own region. tunnel: through the tunnel to that very peer. through: by the ordinary routes, so across the exit. */
export type ProbeKind = 'lan' | 'tunnel' | 'through';

export interface Choices {
  /** By lane (`lanes.ts`): live endpoint of the own region through which packets for other regions leave; none: as the controller has it. */
  readonly exits: readonly (string | undefined)[];
  /** By region: its live endpoint that gets its packets. */
  readonly entry: ReadonlyMap<string, string>;
}

export const NO_CHOICES: Choices = { exits: [], entry: new Map() };

export interface LiveRegion {
  readonly name: string;
  /** Names of its live endpoints, the controller's own choice first. */
  readonly live: readonly string[];
  /** Several carry, each for some of the other regions. */
  readonly isShared: boolean;
}

export interface RerouteView {
  readonly node: string;
  /** As the first lane has it. */
  readonly own: LiveRegion;
  /** Each as the lane has it that the own region's packets take there. */
  readonly others: readonly LiveRegion[];
  /** Peers that have a tunnel of this node's own. */
  readonly tunnels: readonly string[];
  /** By lane of the own region: far endpoints that this node probes by its ordinary routes. */
  readonly through: readonly (readonly string[])[];
  /** By far endpoint: the lane of the own region that packets for its region take. */
  readonly lanes: Lanes;
  /** A firewall of this machine drops what it should pass on. */
  readonly isBlocked: boolean;
  /** Endpoints of the own region that others should take over from. */
  readonly drained: readonly string[];
  /** The own region has nodes besides its live endpoints. */
  readonly hasOrdinary: boolean;
}

export type Lanes = ReadonlyMap<string, number>;

/** What an endpoint says of one lane. */
export interface LaneTrack {
  readonly stance?: Stance | undefined;
  /** When it began to say that it carries because the controller changed its order. */
  readonly ruledSinceMs?: number;
  /** Since when it says that it sends packets to us; tunnel: those for our region. */
  readonly usesSinceMs?: number;
}

export interface Track {
  /** Probes without an answer since the last answer. */
  readonly misses: number;
  readonly heardMs?: number;
  /** Since when it answers without a lapse; tunnel: by itself, not through another endpoint of its region. */
  readonly wellSinceMs?: number;
  /** When the last probe was sent that got no answer. */
  readonly missedMs?: number;
  /** What it says about itself. */
  readonly forwards: boolean;
  /** When it said so after it had said that it does not. */
  readonly forwardsSinceMs?: number;
  /** lan: by lane of the own region. tunnel: of the lane that this region's packets take there. */
  readonly lanes: readonly LaneTrack[];
  /** tunnel: bytes that came out of it, when they were counted, and when they last grew; lan: when the machine said that no agent listens. */
  readonly bytes?: number;
  readonly bytesMs?: number;
  /** tunnel: it had carried packets before this agent counted first. */
  readonly isOld?: true;
  readonly flowMs?: number;
}

/** What a node of the own region says of one lane with its probes. */
export interface Report {
  readonly atMs: number;
  readonly lane: number;
  readonly uses: boolean;
  readonly usesSinceMs: number;
  readonly works: boolean;
  /** Since when it says that we do not forward for it. */
  readonly distrustsSinceMs?: number;
}

/** What outlives the agent. */
export interface ChoiceMemory {
  readonly choices: Choices;
  /** By `orderKey`: the live endpoints, in the order in which the choice was made. */
  readonly orders: ReadonlyMap<string, Order>;
}

export interface RerouteState extends ChoiceMemory {
  readonly tracks: ReadonlyMap<string, Track>;
  /** By node and lane. */
  readonly reports: ReadonlyMap<string, Report>;
  /** We were told that we do not forward, and nothing has proved the contrary. */
  readonly distrustedUntilMs: number;
  /** When that was last disregarded, since no other endpoint was any better. */
  readonly forgivenMs?: number;
  /** When this node last chose another exit. */
  readonly movedMs: number;
  /** By region: when it last chose another entry. */
  readonly entryMovedMs: ReadonlyMap<string, number>;
  /** When an ordinary node of the own region probed this one last. */
  readonly reportedMs?: number;
  /** When this node, as an endpoint, forwarded again after it had not; undefined while it does not, 0 when it always did. */
  readonly forwardsSinceMs: number | undefined;
}

export interface Order {
  readonly live: string;
  readonly sinceMs: number;
  /** The first choice, of one that had not answered: gives way to one that says it carries. */
  readonly isGuess?: true;
  /** Since when the controller has another order, whose first one does not answer yet. */
  readonly overdueSinceMs?: number;
  /** When the controller's change of order made this node the one that carries. */
  readonly ruledMs?: number;
  /** When we handed it over to another, which may not know it yet. */
  readonly handedOverMs?: number;
  /** Since when the one that should carry could do so, while we do. */
  readonly ownerSinceMs?: number;
  /** When we last went by what another endpoint said of itself. */
  readonly agreedMs?: number;
  /** When we last carried although we were not well, for want of another, or our agent was away. */
  readonly aloneMs?: number;
}

export const INITIAL_REROUTE: RerouteState = {
  tracks: new Map(),
  reports: new Map(),
  distrustedUntilMs: 0,
  movedMs: 0,
  entryMovedMs: new Map(),
  forwardsSinceMs: 0,
  choices: NO_CHOICES,
  orders: new Map(),
};

/** So many probes in a row without an answer: it is gone. */
export const MISSES = 3;
/**
 * Tunnels that are just being made come up within that, at four probes a second: a WireGuard handshake that was lost is repeated after 5 s (wireguard.com, protocol
 * page: Rekey-Timeout). Counted sooner, a start would be taken for a fault, and moves stay.
 */
export const UNHEARD_MISSES = 28;
/** Bytes or a refusal this recent prove that the machine lives, whatever its agent does. Host kernels send one "port unreachable" a second. */
export const FRESH_MS = 1_500;
/** A report is worth that long: each node probes its exit at least once a second. */
export const REPORT_MS = 1_500;
/** Nobody sends packets through an endpoint that dropped them, so nothing can prove it cured; it is the last resort for so long. */
export const DISTRUST_MS = 60_000;

/** What others say of a way is of probes no older than this, at the end of the longest time that an answer may take. */
export const OPINION_MS = 1_800;
/** Some probes at the pace of one that is in doubt. */
const BACK_MS = 700;

const NEW_TRACK: Track = { misses: 0, forwards: true, lanes: [] };

/** Where a choice's order is kept. */
export function orderKey(kind: 'exit' | 'entry', region: string, lane = 0): string {
  return lane === 0 ? `${kind}/${region}` : `${kind}/${region}/${lane}`;
}

export function trackOf({ tracks }: RerouteState, kind: ProbeKind, target: string): Track {
  return tracks.get(`${kind}/${target}`) ?? NEW_TRACK;
}

/** Forgets what was measured of others than `targets`, by kind and name. */
export function retain(state: RerouteState, targets: readonly { readonly kind: ProbeKind; readonly name: string }[]): RerouteState {
  const keys = new Set(targets.map(({ kind, name }) => `${kind}/${name}`));
  return { ...state, tracks: new Map([...state.tracks].filter(([key]) => keys.has(key))) };
}

/** Whether what an endpoint says of itself is something new. */
export function saysNews(before: Track, after: Track): boolean {
  const said = ({ forwards: does, lanes }: Track): string =>
    `${does} ${lanes.map(({ stance = '', ruledSinceMs = '' }) => `${stance}${ruledSinceMs}`).join()}`;
  return said(before) !== said(after);
}

/**
 * Of an endpoint that carried though it was not well, since it knew of no other: it is well again, but not yet for as long as it takes to hear whether another one
 * took its place meanwhile, who then stays there.
 */
export function isBack({ aloneMs }: Order, nowMs: number): boolean {
  return aloneMs !== undefined && nowMs - aloneMs < BACK_MS;
}

/** When an agent begins to watch with what it chose in an earlier life: another one may have taken over meanwhile, and it has to hear of that first (`isBack`). */
export function resume(state: RerouteState, nowMs: number): RerouteState {
  return { ...state, orders: new Map([...state.orders].map(([key, order]) => [key, { ...order, aloneMs: nowMs }])) };
}

/** Of an endpoint that sends packets to another one. */
export function isLeaving({ stance }: LaneTrack): boolean {
  return stance === 'leaves' || stance === 'waits';
}

/** It was heard, and has not fallen silent since. */
export function isWell({ heardMs, misses }: Track): boolean {
  return heardMs !== undefined && misses < MISSES;
}

/** A tunnel stood once: its peer was heard, now or before this agent started. */
export function wasMade({ heardMs, isOld }: Track): boolean {
  return heardMs !== undefined || isOld === true;
}

/** Three probes without an answer, and no other sign of life. A tunnel that may still be being made has longer. */
export function isSilent(kind: ProbeKind, track: Track, nowMs: number): boolean {
  const { misses, flowMs = 0 } = track;
  return misses >= (kind === 'tunnel' && !wasMade(track) ? UNHEARD_MISSES : MISSES) && nowMs - flowMs >= FRESH_MS;
}

/** Others of this region say that the endpoint which they use works, and it is not this one. */
export function isReportedToWork({ reports }: RerouteState, nowMs: number): boolean {
  return [...reports.values()].some(({ atMs, uses, works }) => nowMs - atMs < REPORT_MS && !uses && works);
}
