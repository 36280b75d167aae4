import { randomUUID } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { familyOf } from '../../net/ip.ts';
import type { LongRun } from './long-run.ts';
import { parseEcho } from './protocol.ts';
import type { Target } from './tcp-client.ts';

export interface PingerOptions {
  readonly perSecond: number;
  readonly seconds: number;
}

export interface PingerReport {
  readonly sent: number;
  readonly received: number;
  /** Sent so long ago that no answer is expected any more, and none came. */
  readonly lost: number;
  readonly duplicates: number;
  /** Longest time between two answers (or an answer and now). */
  readonly longestGapMs: number;
  /** Each run of lost datagrams: when it began after the start, and how long until one was answered again. */
  readonly outages: readonly Outage[];
  readonly rttMs: { readonly min: number; readonly median: number; readonly max: number } | undefined;
}

export interface Outage {
  readonly startMs: number;
  readonly durationMs: number;
  readonly lost: number;
}

/** What happened to one datagram, in milliseconds since the start. */
export interface Flight {
  readonly sentMs: number;
  readonly answeredMs: number | undefined;
}

/** An answer that is not there after so long counts as lost. */
const LATE_MS = 1_000;

/** Sends a datagram at an even pace and keeps account of the answers. */
export function startPinger({ ip, port }: Target, { perSecond, seconds }: PingerOptions): LongRun<PingerReport> {
  const token = randomUUID();
  const socket = createSocket(familyOf(ip) === 6 ? 'udp6' : 'udp4');
  const startedAt = performance.now();
  const flights: { sentMs: number; answeredMs: number | undefined }[] = [];
  let duplicates = 0;
  let sendingUntilMs = seconds * 1000;
  const { promise: finished, resolve } = Promise.withResolvers<PingerReport>();
  const nowMs = (): number => performance.now() - startedAt;
  const report = (): PingerReport => summarisePings(flights, { nowMs: nowMs(), untilMs: Math.min(nowMs(), sendingUntilMs), duplicates });

  function tick(): void {
    const due = Math.floor((Math.min(nowMs(), sendingUntilMs) * perSecond) / 1000) + 1;
    while (flights.length < due && nowMs() < sendingUntilMs) {
      socket.send(`${token} ${flights.length}`, port, ip, () => undefined);
      flights.push({ sentMs: nowMs(), answeredMs: undefined });
    }
    if (nowMs() < sendingUntilMs || flights.some((flight) => isWaiting(flight, nowMs()))) return;
    clearInterval(timer);
    socket.close();
    resolve(report());
  }

  // An unreachable port or network is what is being measured, not a failure of the measurement.
  socket.on('error', () => undefined);
  socket.on('message', (message) => {
    const [seen, sequence] = parseEcho(message.toString('utf8'))?.echo.split(' ') ?? [];
    const flight = seen === token ? flights[Number(sequence)] : undefined;
    if (flight === undefined) return;
    if (flight.answeredMs === undefined) flight.answeredMs = nowMs();
    else duplicates += 1;
  });
  const timer = setInterval(tick, Math.max(1, Math.floor(500 / perSecond)));
  tick();
  return { report, stop: () => (sendingUntilMs = Math.min(sendingUntilMs, nowMs())), finished };
}

/** The account of a pinger that sent until `untilMs`, drawn up at `nowMs`, both since its start. Pure. */
export function summarisePings(flights: readonly Flight[], { nowMs, untilMs, duplicates }: Moment): PingerReport {
  const answered = flights.filter((flight) => flight.answeredMs !== undefined);
  const arrivals = answered.map(({ answeredMs = 0 }) => answeredMs).toSorted((a, b) => a - b);
  const rtts = answered.map(({ sentMs, answeredMs = 0 }) => answeredMs - sentMs).toSorted((a, b) => a - b);
  const settled = flights.filter((flight) => !isWaiting(flight, nowMs));
  const outages = findOutages(settled, untilMs);
  return {
    sent: flights.length,
    received: answered.length,
    lost: settled.length - answered.length,
    duplicates,
    longestGapMs: Math.round(longestGap([0, ...arrivals, Math.max(untilMs, arrivals.at(-1) ?? 0)])),
    outages,
    rttMs: rtts.length === 0 ? undefined : { min: micros(rtts[0]), median: micros(rtts[rtts.length >> 1]), max: micros(rtts.at(-1)) },
  };
}

export interface Moment {
  readonly nowMs: number;
  readonly untilMs: number;
  readonly duplicates: number;
}

function isWaiting({ sentMs, answeredMs }: Flight, nowMs: number): boolean {
  return answeredMs === undefined && nowMs - sentMs < LATE_MS;
}

function longestGap(times: readonly number[]): number {
  return times.reduce((longest, at, i) => Math.max(longest, at - (times[i - 1] ?? at)), 0);
}

function findOutages(settled: readonly Flight[], untilMs: number): Outage[] {
  const outages: Outage[] = [];
  let open: { sinceMs: number; lost: number } | undefined;
  for (const { sentMs, answeredMs } of settled) {
    if (answeredMs === undefined) {
      open = { sinceMs: open?.sinceMs ?? sentMs, lost: (open?.lost ?? 0) + 1 };
    } else if (open !== undefined) {
      outages.push(outage(open, sentMs));
      open = undefined;
    }
  }
  return open === undefined ? outages : [...outages, outage(open, untilMs)];
}

function outage({ sinceMs, lost }: { sinceMs: number; lost: number }, endMs: number): Outage {
  return { startMs: Math.round(sinceMs), durationMs: Math.round(endMs - sinceMs), lost };
}

/** To whole microseconds: more digits say nothing. */
function micros(ms = 0): number {
  return Math.round(ms * 1000) / 1000;
}
