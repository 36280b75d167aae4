import { connectPod, type PodClient } from '../../src/lab/pod/control-client.ts';
import type { PingerReport } from '../../src/lab/pod/pinger.ts';
import type { StreamReport } from '../../src/lab/pod/stream.ts';
import { eventually, type Lab } from './harness.ts';

/** Packets between two pods, in both directions, while something happens to the network. */
export interface Traffic {
  /** Waits until both directions and the stream carry again. */
  flows(): Promise<void>;
  /** Ends it, and tells what became of it. */
  stop(): Promise<TrafficReport>;
}

export interface TrafficReport {
  /** Pings without an answer, of both directions. */
  readonly lost: number;
  /** Longest time from the first lost ping to the next one that was answered. */
  readonly outageMs: number;
  /** One TCP connection, open all the time: every byte came back. */
  readonly tcpAlive: boolean;
  readonly tcpStallMs: number;
}

const PINGS_PER_SECOND = 100;
const STREAM_BYTES_PER_SECOND = 100_000;
/** Ended long before, by `stop`. */
const SECONDS = 600;
/** So many answers in a row that what came before is over. */
const ANSWERS = 30;

let serial = 0;

/** Pings both ways, 100 a second, and a TCP stream, between the pods of two nodes. Resolves when all of it flows. */
export async function startTraffic(lab: Lab, from: string, to: string): Promise<Traffic> {
  const ends = await Promise.all([from, to].map((node) => lab.podOn(node)));
  const clients = await Promise.all(ends.map(({ socket }) => connectPod(socket)));
  const [near, far] = clients as [PodClient, PodClient];
  const [nearIp, farIp] = ends.map(({ ips }) => ips[0]?.split('/')[0] ?? '') as [string, string];
  const id = String(++serial);
  const pings = `pings-${id}`;
  const stream = `stream-${id}`;
  const ping = { job: pings, run: 'pinger', perSecond: PINGS_PER_SECOND, seconds: SECONDS } as const;

  const pingers = (op: 'report' | 'stop'): Promise<PingerReport[]> =>
    Promise.all(clients.map(async (pod) => (await pod.call(op, { job: pings })) as PingerReport));
  const streamed = async (op: 'report' | 'stop'): Promise<StreamReport> => (await near.call(op, { job: stream })) as StreamReport;

  async function flows(): Promise<void> {
    const before = await pingers('report');
    const bytesBefore = (await streamed('report')).receivedBytes;
    await eventually(
      `packets flow between ${from} and ${to}`,
      async () => {
        const [now, { receivedBytes, error }] = await Promise.all([pingers('report'), streamed('report')]);
        return (
          now.every(({ received }, i) => received > (before[i]?.received ?? 0) + ANSWERS) &&
          (receivedBytes > bytesBefore || error !== undefined)
        );
      },
      undefined,
      50,
    );
  }

  async function stop(): Promise<TrafficReport> {
    const { error, intact, longestStallMs, sentBytes, receivedBytes } = await streamed('stop');
    const reports = await pingers('stop');
    for (const client of clients) client.close();
    return {
      lost: reports.reduce((sum, { lost }) => sum + lost, 0),
      outageMs: Math.max(0, ...reports.flatMap(({ outages }) => outages.map(({ durationMs }) => durationMs))),
      tcpAlive: error === undefined && intact && receivedBytes === sentBytes,
      tcpStallMs: longestStallMs,
    };
  }

  await near.call('start', { ...ping, ip: farIp });
  await far.call('start', { ...ping, ip: nearIp });
  await near.call('start', { job: stream, run: 'stream', ip: farIp, bytesPerSecond: STREAM_BYTES_PER_SECOND, seconds: SECONDS });
  await flows();
  return { flows, stop };
}
