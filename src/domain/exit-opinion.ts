import { MISSES, OPINION_MS, REPORT_MS, type RerouteState, trackOf } from './reroute-state.ts';

/** What the probes across an exit, to far endpoints by the ordinary routes, say of it. Pure. */

/** Whether they did at the last attempt: what others are told. */
export function exitWorksNow(state: RerouteState, through: readonly string[], nowMs: number): boolean {
  return through.some((target) => {
    const { heardMs, misses } = trackOf(state, 'through', target);
    return heardMs !== undefined && nowMs - heardMs < REPORT_MS && misses === 0;
  });
}

/** Whether the packets of this node do not cross its exit, by probes of just now. */
export function exitFails(state: RerouteState, through: readonly string[], nowMs: number): boolean {
  const isFresh = through.some((target) => nowMs - (trackOf(state, 'through', target).missedMs ?? 0) < OPINION_MS);
  return isFresh && exitWorks(state, through) === false;
}

/** Whether the packets of this node cross the exit of a lane, by the far endpoints that it probes there: undefined while that is not known. */
export function exitWorks(state: RerouteState, through: readonly string[]): boolean | undefined {
  const tracks = through.map((target) => trackOf(state, 'through', target));
  if (tracks.some(({ heardMs, misses }) => heardMs !== undefined && misses < MISSES)) return true;
  return tracks.length > 0 && tracks.every(({ misses }) => misses >= MISSES) ? false : undefined;
}
