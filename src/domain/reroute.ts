import { forgive, forwards } from './own-forwarding.ts';
import {
  exitWorks,
  isReportedToWork,
  isSilent,
  isWell,
  type LiveRegion,
  MISSES,
  type Order,
  type RerouteState,
  type RerouteView,
  type Track,
  trackOf,
} from './reroute-state.ts';

/**
 * Which of a region's live endpoints a node sends packets through, from what it measured itself, without anybody's help. Pure.
 * See `docs/decisions/0014-local-reroute.md`.
 */

/** An agent that has just started hears within this who carries; an endpoint that is to take over has this to answer. */
const SETTLE_MS = 1_500;
const TAKE_OVER_MS = 10_000;
/** When all were cut off and come back one after the other, who is back first gains nothing. */
const HOLD_MS = 500;

export interface Reroute {
  /** exit: of the own region. entry: of another. */
  readonly kind: 'exit' | 'entry';
  readonly region: string;
  readonly from: string;
  readonly to: string;
  readonly why: string;
}

/** `exit of region b: b1 → b3: b1 does not answer, 3 probes`. */
export function formatReroute({ kind, region, from, to, why }: Reroute): string {
  return `${kind} of region ${region}: ${from} → ${to}: ${why}`;
}

type Verdict = { readonly is: 'good' | 'unknown' } | { readonly is: 'dead'; readonly why: string };

/** Chooses anew. Keeps what is, while nothing is known to be wrong with it and the controller has said nothing new. */
export function choose(
  before: RerouteState,
  view: RerouteView,
  nowMs: number,
): { readonly state: RerouteState; readonly changes: readonly Reroute[] } {
  const state = withOwnHealth(forgive(before, view, nowMs), view, nowMs);
  const changes: Reroute[] = [];
  const orders = new Map<string, Order>();
  const pick = (kind: Reroute['kind'], region: LiveRegion, current: string | undefined, measured: Measured): string | undefined => {
    const key = `${kind}/${region.name}`;
    const { to, why, order } = pickOne({ ...measured, node: view.node, region, current, order: state.orders.get(key), nowMs });
    if (order !== undefined) orders.set(key, to === view.node ? order : withoutRule(order));
    if (to !== undefined && current !== undefined && to !== current) changes.push({ kind, region: region.name, from: current, to, why });
    return to;
  };
  const exit = pick('exit', view.own, state.choices.exit, {
    judge: (name) => judgeExit(state, view, name, nowMs),
    trackOf: (name) => trackOf(state, 'lan', name),
    forwardsSinceMs: (name) => (name === view.node ? state.forwardsSinceMs : trackOf(state, 'lan', name).forwardsSinceMs) ?? 0,
  });
  const entry = new Map(
    view.others.flatMap((region): [string, string][] => {
      const name = pick('entry', region, state.choices.entry.get(region.name), {
        judge: (peer) => judgeEntry(peer, trackOf(state, 'tunnel', peer), nowMs),
        trackOf: (peer) => trackOf(state, 'tunnel', peer),
        forwardsSinceMs: (peer) => trackOf(state, 'tunnel', peer).forwardsSinceMs ?? 0,
      });
      return name === undefined ? [] : [[region.name, name]];
    }),
  );
  const hasLeft = exit !== state.choices.exit;
  const hasMoved = hasLeft || [...entry].some(([region, name]) => state.choices.entry.get(region) !== name);
  const tracks = hasLeft ? new Map([...state.tracks].filter(([key]) => !key.startsWith('through/'))) : state.tracks;
  const choices = { ...(exit !== undefined && { exit }), entry };
  return { state: { ...state, tracks, orders, choices, movedMs: hasMoved ? nowMs : state.movedMs }, changes };
}

/** How long this node forwards, for itself as a candidate. */
function withOwnHealth(state: RerouteState, view: RerouteView, nowMs: number): RerouteState {
  const does = forwards(state, view, nowMs);
  if (does === (state.forwardsSinceMs !== undefined)) return state;
  return { ...state, forwardsSinceMs: does ? nowMs : undefined };
}

function withoutRule(order: Order): Order {
  const { ruledMs, ...rest } = order;
  return ruledMs === undefined ? order : rest;
}

interface Measured {
  readonly judge: (name: string) => Verdict;
  readonly trackOf: (name: string) => Track;
  /** 0: as long as it is known. */
  readonly forwardsSinceMs: (name: string) => number;
}

interface Pick extends Measured {
  readonly node: string;
  readonly region: LiveRegion;
  readonly current: string | undefined;
  readonly order: Order | undefined;
  readonly nowMs: number;
}

interface Picked {
  readonly to: string | undefined;
  readonly why: string;
  readonly order?: Order;
}

function pickOne(pick: Pick): Picked {
  const { current, judge, order, nowMs } = pick;
  const { live } = pick.region;
  const text = live.join(' ');
  if (current === undefined || !live.includes(current))
    return begin(pick, { live: text, sinceMs: order?.live === text ? order.sinceMs : nowMs });
  const verdict = judge(current);
  const kept = order ?? { live: text, sinceMs: nowMs };
  const good = live.filter((name) => judge(name).is === 'good');
  if (verdict.is === 'dead') {
    const other = good.find((name) => name !== current && nowMs - pick.forwardsSinceMs(name) >= HOLD_MS);
    return { to: other ?? lastResort(pick, current), why: verdict.why, order: kept };
  }
  const better = verdict.is === 'good' ? agree(pick, current, good, kept) : undefined;
  if (better !== undefined) return { ...better, order: kept };
  if (verdict.is === 'unknown' && live.includes(pick.node) && pick.trackOf(current).stance === 'leaves')
    return { to: pick.node, why: `${current} leaves by another, and its agent is away`, order: kept };
  if (kept.live === text) return { to: current, why: '', order: kept };
  const [first = current] = live;
  const next = { live: text, sinceMs: nowMs, ...(first === pick.node && { ruledMs: nowMs }) };
  return follow(first, next, { current, kept, verdict: judge(first), nowMs });
}

/**
 * None is known to be well. All stay with the one that carries, so that they are together when it is cured; an endpoint that knows of none takes itself,
 * or two that both lost their uplinks would send packets to each other.
 */
function lastResort({ node, region: { live }, trackOf: track }: Pick, current: string): string {
  const isCarrying = (name: string): boolean =>
    name === node ? current === node : isWell(track(name)) && track(name).stance === 'carries';
  return live.find(isCarrying) ?? (live.includes(node) ? node : current);
}

/** The first choice: where the others are already, else as the controller has it. */
function begin({ node, region: { live }, current, judge, trackOf: track, nowMs }: Pick, order: Order): Picked {
  const [first] = live;
  if (first === undefined) return { to: undefined, why: '' };
  const isSettled = live.every((name) => judge(name).is !== 'unknown') || nowMs - order.sinceMs >= SETTLE_MS;
  // An answer may still say that the others have moved on.
  if (current === undefined && !isSettled) return { to: undefined, why: '', order };
  const good = live.filter((name) => judge(name).is === 'good');
  const carrying = good.filter((name) => track(name).stance === 'carries');
  const isWanted = good.includes(node) && good.some((name) => track(name).stance === 'leaves');
  const known = carrying.length === 1 ? carrying[0] : isWanted ? node : judge(first).is === 'dead' ? good[0] : first;
  return { to: known ?? first, why: `${current ?? ''} is no live endpoint any more`, order };
}

/**
 * One endpoint carries for all. Who leaves by one that itself leaves by another follows; and when an endpoint is sent packets by the one that it would send
 * them to, it carries. Of two that carry, the one that the controller's change of order put there last, for the other may not have heard of it; else the
 * controller's order decides.
 */
function agree(
  { node, region: { live }, trackOf: track }: Pick,
  current: string,
  good: readonly string[],
  { ruledMs }: Order,
): { to: string; why: string } | undefined {
  const better = good.find((name) => name !== current && track(name).stance === 'carries');
  const why = `${better ?? ''} carries for the region`;
  if (current === node) {
    if (better === undefined) return undefined;
    const { ruledSinceMs } = track(better);
    const isRuled = ruledSinceMs !== undefined && ruledSinceMs > (ruledMs ?? 0);
    return isRuled || (ruledMs === undefined && live.indexOf(better) < live.indexOf(node)) ? { to: better, why } : undefined;
  }
  if (track(current).stance !== 'leaves') return undefined;
  if (better !== undefined) return { to: better, why };
  return good.includes(node) ? { to: node, why: `${current} leaves by ${node}` } : undefined;
}

/** The controller has another order now: its first one takes over as soon as it answers, or although it never did; not when it is known to be dead. */
function follow(
  first: string,
  order: Order,
  { current, kept, verdict, nowMs }: { readonly current: string; readonly kept: Order; readonly verdict: Verdict; readonly nowMs: number },
): Picked {
  if (first === current) return { to: current, why: '', order };
  const why = 'the controller chose it';
  if (verdict.is === 'good') return { to: first, why, order };
  const overdueSinceMs = kept.overdueSinceMs ?? nowMs;
  if (verdict.is === 'unknown' && nowMs - overdueSinceMs >= TAKE_OVER_MS) return { to: first, why, order };
  return { to: current, why: '', order: { ...kept, overdueSinceMs } };
}

function judgeExit(state: RerouteState, view: RerouteView, name: string, nowMs: number): Verdict {
  if (name === view.node)
    return forwards(state, view, nowMs) ? { is: 'good' } : { is: 'dead', why: `${name} does not get packets to other regions` };
  const track = trackOf(state, 'lan', name);
  if (isSilent('lan', track, nowMs)) {
    const isUsed = state.choices.exit === name;
    const works = isUsed && (exitWorks(state, view) === true || isReportedToWork(state, nowMs));
    return works ? { is: 'unknown' } : { is: 'dead', why: `${name} does not answer, ${track.misses} probes` };
  }
  if (track.misses < MISSES && !track.forwards) return { is: 'dead', why: `${name} says that it does not get packets to other regions` };
  return { is: track.heardMs === undefined || track.misses >= MISSES ? 'unknown' : 'good' };
}

function judgeEntry(name: string, track: Track, nowMs: number): Verdict {
  if (isSilent('tunnel', track, nowMs)) return { is: 'dead', why: `${name} does not answer, ${track.misses} probes` };
  if (!track.forwards) return { is: 'dead', why: `${name} says that it does not forward` };
  return { is: track.heardMs === undefined || track.misses >= MISSES ? 'unknown' : 'good' };
}
