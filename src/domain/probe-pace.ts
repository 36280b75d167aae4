import { forwards, isQuiet } from './own-forwarding.ts';
import { isLeaving, type ProbeKind, REPORT_MS, type RerouteState, trackOf, UNHEARD_MISSES } from './reroute-state.ts';
import type { Watch } from './reroute-view.ts';

/** How often a node probes what it watches. Pure. */
export interface Pace {
  readonly intervalMs: (target: PacedTarget) => number;
  /** Until the next look at what is due. */
  readonly tickMs: number;
}

export interface PacedTarget {
  readonly kind: ProbeKind;
  readonly name: string;
}

export interface PaceInput {
  readonly state: RerouteState;
  readonly watch: Watch;
  readonly targets: readonly PacedTarget[];
  /** Packets that are not probes pass now. */
  readonly isBusy: boolean;
  readonly nowMs: number;
}

export const TICK_MS = 250;
/** Once something has not answered: three in a row without an answer then span 0.6 s. */
export const HURRY_MS = 100;
/** Then it is known to be dead, or well again. */
const HURRY_PROBES = 12;
/** Then what was said of a node has been proved, or cannot be. */
const ACCUSED_MS = 5_000;
/** Some probes. */
const MOVED_MS = 500;
/** A standby, while nothing is wrong. */
const STANDBY_MS = 2_000;
/** The own region's exit while nothing passes: processor time of small machines. */
const LAN_IDLE_MS = 1_000;
/** What carries nothing: metered links cost money. */
const IDLE_MS = 5_000;

export function paceOf(input: PaceInput): Pace {
  const { state, watch, isBusy, nowMs } = input;
  const hurried = suspects(input);
  const usedMs = isBusy ? TICK_MS : IDLE_MS;
  const isAccused = [...state.reports.values()].some(
    ({ atMs, distrustsSinceMs = -Infinity }) => nowMs - atMs < REPORT_MS && nowMs - distrustsSinceMs < ACCUSED_MS,
  );
  const hasMoved = nowMs - state.movedMs < MOVED_MS;
  const intervalMs = ({ kind, name }: PacedTarget): number => {
    if (hurried.has(groupOf(kind, name, watch))) return HURRY_MS;
    const { heardMs, misses } = trackOf(state, kind, name);
    // Nothing is known of it yet.
    if (heardMs === undefined && misses < UNHEARD_MISSES) return TICK_MS;
    if (kind === 'through') return usedMs;
    // What a node is accused of is settled by what its tunnels answer after that.
    if (kind === 'tunnel' && isAccused) return HURRY_MS;
    const chosen = kind === 'lan' ? state.choices.exits : [state.choices.entry.get(watch.regionOf.get(name) ?? '')];
    // It must know who sends through it, before it can be told that nothing gets across.
    if (kind === 'lan' && chosen.includes(name) && hasMoved) return HURRY_MS;
    if (chosen.includes(name)) return kind === 'lan' ? (isBusy ? TICK_MS : LAN_IDLE_MS) : usedMs;
    return chosen.some((each) => isDoubtful(kind, each, input)) ? TICK_MS : STANDBY_MS;
  };
  // Whether packets pass is looked at in each tick.
  return { intervalMs, tickMs: Math.min(LAN_IDLE_MS, ...input.targets.map(intervalMs)) };
}

/** What is chosen says that it does not forward, or leaves by another, or this node may have lost its LAN: the others are of interest now. */
function isDoubtful(kind: ProbeKind, chosen: string | undefined, { state, watch: { view }, nowMs }: PaceInput): boolean {
  if (chosen === undefined) return false;
  if (chosen === view.node) return !forwards(state, view, nowMs) || isQuiet(state, nowMs);
  const track = trackOf(state, kind, chosen);
  // Who shares the packets with others carries some and not the rest.
  const carriesNone = (kind === 'tunnel' || !view.own.isShared) && track.lanes.some(isLeaving);
  return !track.forwards || carriesNone;
}

/** Where something that was well has not answered, for not so long: all that could take its place is of interest now. */
function suspects({ state, watch, targets }: PaceInput): ReadonlySet<string> {
  const late = targets.filter(({ kind, name }) => {
    const { misses, heardMs } = trackOf(state, kind, name);
    return misses > 0 && misses < HURRY_PROBES && heardMs !== undefined;
  });
  return new Set(late.map(({ kind, name }) => groupOf(kind, name, watch)));
}

/** The own region, or a peer's. */
function groupOf(kind: ProbeKind, name: string, { regionOf }: Watch): string {
  return kind === 'tunnel' ? (regionOf.get(name) ?? '') : '';
}
