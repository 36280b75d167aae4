import {
  DISTRUST_MS,
  isSilent,
  isWell,
  MISSES,
  type RerouteState,
  type RerouteView,
  trackOf,
  UNHEARD_MISSES,
  wasMade,
} from './reroute-state.ts';

/** What an endpoint makes of what it measured of itself. Pure. */

/** Ordinary nodes probe their exit at least once a second. Sooner than `IN_PLACE_MS`: those who moved on must not take the other one for the culprit. */
const ALONE_MS = 1_300;
/** At four probes a second, of machines that an agent never heard since it started: longer than ordinary nodes take from one probe of a standby to the next. */
const ALONE_MISSES = 10;
const QUIET_MIN_MS = 1_150;
const QUIET_MAX_MS = 10_000;
/** What dropped packets may be cured, and nobody would know: it is tried again after this. */
const SECOND_CHANCE_MS = 2_000;
/** Two endpoints that both drop packets take turns no faster than this, and one that is alone takes its word back no faster. */
const FORGIVE_MS = 10_000;
/** After it was said not to forward, it is handed no lane for so long. */
const DOUBT_MS = 600_000;

/** Whether this node, as an endpoint, gets packets to other regions: what it tells everybody. Who has not heard yet that it is one does not. */
export function forwards(state: RerouteState, view: RerouteView, nowMs: number): boolean {
  const { node, own, tunnels, isBlocked } = view;
  if (!own.live.includes(node) || isBlocked || isDistrusted(state, nowMs) || isAlone(state, view, nowMs)) return false;
  const measured = tunnels.map((peer) => trackOf(state, 'tunnel', peer));
  const made = measured.filter(wasMade);
  // Once one stood, those that may still be being made say nothing.
  const asked = made.length > 0 ? made : measured;
  return asked.length === 0 || asked.some((track) => !isSilent('tunnel', track, nowMs));
}

/** All who send through it say that nothing gets across. */
export function isDistrusted({ distrustedUntilMs }: RerouteState, nowMs: number): boolean {
  return nowMs < distrustedUntilMs;
}

/** Ordinary nodes probed this one, and do not now: they are gone, or its LAN is. */
export function isQuiet({ reportedMs }: RerouteState, nowMs: number): boolean {
  return reportedMs !== undefined && nowMs - reportedMs >= QUIET_MIN_MS && nowMs - reportedMs < QUIET_MAX_MS;
}

/**
 * It was probed by ordinary nodes of its region and is no more, and reaches none of the other endpoints: it lost its LAN. So did one that heard of
 * none of them since it started.
 */
function isAlone(state: RerouteState, { node, own, hasOrdinary }: RerouteView, nowMs: number): boolean {
  const { reportedMs } = state;
  if (reportedMs !== undefined && nowMs - reportedMs < ALONE_MS) return false;
  const others = own.live.filter((name) => name !== node).map((name) => trackOf(state, 'lan', name));
  if (others.length === 0) return false;
  if (reportedMs !== undefined) return others.every(({ misses }) => misses >= MISSES);
  return hasOrdinary && others.every(({ heardMs, misses }) => heardMs === undefined && misses >= ALONE_MISSES);
}

/**
 * Of an endpoint that was said not to forward while all that could take its place are worse off by now: gone, or, a while later, as bad. Then it is worth
 * another try, and the next one only after `FORGIVE_MS`.
 */
export function forgive(state: RerouteState, { node, own }: RerouteView, nowMs: number): RerouteState {
  if (nowMs >= state.distrustedUntilMs) return state;
  const others = own.live.filter((name) => name !== node).map((name) => trackOf(state, 'lan', name));
  const { forgivenMs = -Infinity } = state;
  const wasForgiven = nowMs - forgivenMs < DISTRUST_MS;
  const isOlderThan = (ms: number): boolean => nowMs - (state.distrustedUntilMs - DISTRUST_MS) >= (wasForgiven ? FORGIVE_MS : ms);
  const isNeeded = others.every(
    (track) => (isOlderThan(0) && track.misses >= MISSES) || (isOlderThan(SECOND_CHANCE_MS) && isWell(track) && !track.forwards),
  );
  return isNeeded && others.length > 0 ? { ...state, distrustedUntilMs: 0, forgivenMs: nowMs } : state;
}

/**
 * Whether it does not know yet that it could carry a lane: a machine that has just started answers before its tunnels are up, and peers take seconds to notice that their keys are
 * no longer known; and whoever dropped packets may still do so.
 */
export function isUnproven(state: RerouteState, { tunnels, lanes }: RerouteView, lane: number, nowMs: number): boolean {
  const { distrustedUntilMs } = state;
  if (distrustedUntilMs > 0 && nowMs < distrustedUntilMs + DOUBT_MS) return true;
  const own = tunnels.filter((peer) => (lanes.get(peer) ?? 0) === lane).map((peer) => trackOf(state, 'tunnel', peer));
  if (own.length === 0) return false;
  return !own.some(isWell) || own.some(({ heardMs, misses }) => heardMs === undefined && misses < UNHEARD_MISSES);
}
