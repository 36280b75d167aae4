import type { Outage, PingerReport } from '../src/lab/pod/pinger.ts';
import type { StreamReport } from '../src/lab/pod/stream.ts';

/** What traffic says of what happened to it. All pure; times in milliseconds. */

/** What one way saw in a time. */
export interface PingAccount {
  readonly way: string;
  /** Longest time from the first of a run of unanswered pings to the next answered one, by the times at which they were sent. */
  readonly outageMs: number;
  readonly lost: number;
  /** All runs, by the begin of the time. */
  readonly outages: readonly Outage[];
}

export interface StreamAccount {
  readonly way: string;
  /** The connection that was opened at the start was open at the end, and every byte was the right one. */
  readonly alive: boolean;
  readonly longestStallMs: number;
  readonly error?: string;
}

export interface Period {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Reports of all ways at one moment. */
export interface Sample {
  readonly pings: readonly { readonly way: string; readonly report: PingerReport }[];
  readonly streams: readonly { readonly way: string; readonly report: StreamReport }[];
}

/** Periods from the first mark on, each until the next. */
export function periodsBetween(marks: readonly number[]): Period[] {
  return marks.map((fromMs, i) => ({ fromMs, toMs: marks[i + 1] ?? Number.POSITIVE_INFINITY }));
}

/** @param startedMs when the pinger's own time began, on the clock of the period */
export function accountOf(way: string, { outages }: PingerReport, startedMs: number, { fromMs, toMs }: Period): PingAccount {
  const inTime = outages.filter(({ startMs }) => startedMs + startMs >= fromMs && startedMs + startMs < toMs);
  return {
    way,
    outageMs: Math.max(0, ...inTime.map(({ durationMs }) => durationMs)),
    lost: inTime.reduce((sum, { lost }) => sum + lost, 0),
    outages: inTime.map((each) => ({ ...each, startMs: Math.round(startedMs + each.startMs - fromMs) })),
  };
}

/** @param last before it was told to end @param final afterwards */
export function streamAccount(way: string, last: StreamReport, final: StreamReport): StreamAccount {
  const error = last.error ?? (last.connected ? undefined : 'never connected');
  return {
    way,
    alive: error === undefined && final.intact,
    longestStallMs: final.longestStallMs,
    ...(error !== undefined && { error }),
  };
}

/** What stands between two samples, in words: a way with a loss or too few answers, and a stream without progress. */
export function standing(before: Sample, now: Sample, leastAnswers: number): { readonly pings: string[]; readonly streams: string[] } {
  const pings = now.pings.flatMap(({ way, report }, i) => {
    const old = before.pings[i]?.report;
    const answered = report.received - (old?.received ?? 0);
    const lost = report.lost - (old?.lost ?? 0);
    return lost === 0 && answered >= leastAnswers ? [] : [`${way}: ${lost} lost, ${answered} answered`];
  });
  const streams = now.streams.flatMap(({ way, report }, i) => {
    // One that broke will not come back: nothing to wait for.
    const moves = report.error !== undefined || report.receivedBytes > (before.streams[i]?.report.receivedBytes ?? 0);
    return moves ? [] : [`TCP ${way}: stands at ${report.receivedBytes} bytes`];
  });
  return { pings, streams };
}
