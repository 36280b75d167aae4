import type { Stance } from './probe-flags.ts';
import {
  DISTRUST_MS,
  FRESH_MS,
  isLeaving,
  isWell,
  type Lanes,
  OPINION_MS,
  type ProbeKind,
  type Report,
  REPORT_MS,
  type RerouteState,
  type Track,
  trackOf,
} from './reroute-state.ts';

/** What happens to a node's probes, and what it makes of that. Pure. */

/** What an endpoint says about itself. */
interface Saying {
  readonly forwards: boolean;
  readonly lanes: readonly { readonly stance: Stance | undefined; readonly ruled?: boolean; readonly uses?: boolean }[];
  readonly atMs: number;
}

export type RerouteEvent =
  | ({ readonly type: 'answered'; readonly kind: ProbeKind; readonly target: string } & Saying)
  | { readonly type: 'missed'; readonly kind: ProbeKind; readonly target: string; readonly sentMs: number }
  /** The machine is there, its agent is not. */
  | { readonly type: 'refused'; readonly target: string; readonly atMs: number }
  /** Bytes that came out of the tunnel so far. */
  | { readonly type: 'received'; readonly peer: string; readonly bytes: number; readonly atMs: number }
  /** An endpoint's own probe came over the LAN, or through its tunnel. */
  | ({ readonly type: 'said'; readonly kind: 'lan' | 'tunnel'; readonly peer: string } & Saying)
  | {
      readonly type: 'reported';
      readonly node: string;
      readonly lane: number;
      readonly uses: boolean;
      readonly works: boolean;
      readonly distrusts: boolean;
      readonly atMs: number;
    };

/** Until a new way through the tunnels is in place at both ends, and was probed three times. */
const IN_PLACE_MS = 2_200;
/** The same within a region, where nothing has to be agreed upon. */
const IN_PLACE_WITHIN_MS = 1_300;
/** The same at the far end alone, which says when it began. */
const IN_PLACE_THERE_MS = 1_500;
/** So many probes in a row without an answer may be the same gap for which others, who ask more often by then, blame an exit. */
const LAPSE_MISSES = 2;
/** An entry that was silent answers since so long: those who said meanwhile that nothing gets across have tried again. */
const CURED_MS = OPINION_MS + 200;

/** More than a tunnel that is being made gets in its first minute: handshakes, and probes of the other side. */
const OLD_BYTES = 4_096;

const ONE_LANE: Lanes = new Map();

/** Takes in one event. */
export function observe(state: RerouteState, event: RerouteEvent, lanes = ONE_LANE): RerouteState {
  switch (event.type) {
    case 'answered': {
      const { kind, target, atMs } = event;
      const old = trackOf(state, kind, target);
      const now = heard(old, event);
      const wellSinceMs = old.misses < LAPSE_MISSES ? (now.wellSinceMs ?? atMs) : atMs;
      return believe(withTrack(state, kind, target, { ...now, misses: 0, heardMs: atMs, wellSinceMs }), lanes, atMs);
    }
    case 'missed': {
      const old = trackOf(state, event.kind, event.target);
      // A later one was answered meanwhile.
      if (old.heardMs !== undefined && old.heardMs > event.sentMs) return state;
      return withTrack(state, event.kind, event.target, { ...old, misses: old.misses + 1, missedMs: event.sentMs });
    }
    case 'refused':
      return withTrack(state, 'lan', event.target, { ...trackOf(state, 'lan', event.target), flowMs: event.atMs });
    case 'received': {
      const old = trackOf(state, 'tunnel', event.peer);
      // More than long ago says nothing of now.
      const isRecent = old.bytesMs !== undefined && event.atMs - old.bytesMs < FRESH_MS;
      const grew = isRecent && event.bytes > (old.bytes ?? 0);
      const isOld = old.bytesMs === undefined && event.bytes >= OLD_BYTES;
      const counted = { ...old, bytes: event.bytes, bytesMs: event.atMs, ...(isOld && { isOld }) };
      return withTrack(state, 'tunnel', event.peer, { ...counted, ...(grew && { flowMs: event.atMs }) });
    }
    case 'said': {
      const { kind, peer } = event;
      return withTrack(state, kind, peer, heard(trackOf(state, kind, peer), event));
    }
    case 'reported': {
      const { node, lane, uses, works, distrusts, atMs } = event;
      const reports = new Map([...state.reports].filter(([, each]) => atMs - each.atMs < REPORT_MS));
      const key = `${node}/${lane}`;
      const old = reports.get(key);
      const usesSinceMs = old?.uses === uses ? old.usesSinceMs : atMs;
      const report = { atMs, lane, uses, usesSinceMs, works, ...(distrusts && { distrustsSinceMs: old?.distrustsSinceMs ?? atMs }) };
      const isOrdinary = !state.tracks.has(`lan/${node}`);
      return believe({ ...state, reports: reports.set(key, report), ...(isOrdinary && { reportedMs: atMs }) }, lanes, atMs);
    }
  }
}

function heard(old: Track, { forwards: does, lanes: said, atMs }: Saying): Track {
  const lanes = said.map(({ stance, ruled = false, uses = false }, lane) => ({
    stance,
    ...(ruled && { ruledSinceMs: old.lanes[lane]?.ruledSinceMs ?? atMs }),
    ...(uses && { usesSinceMs: old.lanes[lane]?.usesSinceMs ?? atMs }),
  }));
  return {
    ...old,
    forwards: does,
    ...(does && !old.forwards && { forwardsSinceMs: atMs }),
    lanes,
    ...(leavesFirst(old) && !leavesFirst({ lanes }) && { wellSinceMs: atMs }),
  };
}

/** Whether a far endpoint sends what is for our region to another endpoint of its own. */
function leavesFirst({ lanes: [first] }: Pick<Track, 'lanes'>): boolean {
  return first !== undefined && isLeaving(first);
}

/** Nodes that send nothing now do not know, nor do endpoints. */
function hasOpinion(nowMs: number): (report: Report) => boolean {
  return ({ uses, works, distrustsSinceMs, atMs }) => uses && nowMs - atMs < REPORT_MS && (works || distrustsSinceMs !== undefined);
}

/**
 * All who send through us say that nothing gets there, though the very endpoints that we send it to answer us after that was said: then it is us.
 * Others that answer, or of other lanes, prove nothing: it may be an entry that is dead.
 */
function believe(state: RerouteState, lanes: Lanes, nowMs: number): RerouteState {
  const users = [...state.reports.values()].filter(hasOpinion(nowMs));
  if (users.length === 0) return state;
  const distrusts = users.flatMap(({ distrustsSinceMs }) => distrustsSinceMs ?? []);
  if (distrusts.length < users.length)
    return users.some(({ works }) => works) && state.distrustedUntilMs > 0 ? { ...state, distrustedUntilMs: 0 } : state;
  const sinceMs = Math.max(...distrusts, ...users.map(({ usesSinceMs }) => usesSinceMs + IN_PLACE_WITHIN_MS), state.movedMs + IN_PLACE_MS);
  const inDoubt = new Set(users.map(({ lane }) => lane));
  const answers = [...state.choices.entry].some(([region, name]) => {
    if (!inDoubt.has(lanes.get(name) ?? 0)) return false;
    const track = trackOf(state, 'tunnel', name);
    // What answers through another endpoint of its region says nothing of that one.
    if (leavesFirst(track)) return false;
    // Answers that enter the region elsewhere say nothing of this one either.
    const usesSinceMs = track.lanes[0]?.usesSinceMs;
    if (usesSinceMs === undefined) return false;
    const provenMs = Math.max(sinceMs, (state.entryMovedMs.get(region) ?? 0) + IN_PLACE_MS, usesSinceMs + IN_PLACE_THERE_MS);
    return isWell(track) && (track.heardMs ?? 0) > provenMs && nowMs - (track.wellSinceMs ?? nowMs) >= CURED_MS;
  });
  return answers ? { ...state, distrustedUntilMs: nowMs + DISTRUST_MS } : state;
}

function withTrack(state: RerouteState, kind: ProbeKind, target: string, track: Track): RerouteState {
  return { ...state, tracks: new Map(state.tracks).set(`${kind}/${target}`, track) };
}
