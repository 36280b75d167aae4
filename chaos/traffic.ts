import { connectPod, type PodClient } from '../src/lab/pod/control-client.ts';
import type { PingerReport } from '../src/lab/pod/pinger.ts';
import type { StreamReport } from '../src/lab/pod/stream.ts';
import { eventually } from '../test/lab/harness.ts';
import { accountOf, periodsBetween, type PingAccount, type Sample, standing, type StreamAccount, streamAccount } from './account.ts';
import type { Rig } from './rig.ts';

interface Way {
  readonly from: string;
  readonly to: string;
}

/** Ordinary nodes that talk: one of b with one of a, by a tunnel, and with one of c, by a's relay. */
const PINGS: readonly Way[] = [
  { from: 'b2', to: 'a2' },
  { from: 'a2', to: 'b2' },
  { from: 'b2', to: 'c2' },
  { from: 'c2', to: 'b2' },
];
const STREAMS: readonly Way[] = [
  { from: 'b2', to: 'a2' },
  { from: 'b2', to: 'c2' },
];
/** As the requirements say. */
const PINGS_PER_SECOND = 100;
/** A small packet for each ping. After a stall the stream sends at once what it is late with: much more than this would crowd the pings out then. */
const STREAM_BYTES_PER_SECOND = 10_000;
/** The longest that a pod takes; runs are stopped long before. */
const RUN_SECONDS = 3_600;
const LOOK_MS = 300;
/** A ping without an answer counts as lost after a second (src/lab/pod/pinger.ts): what was sent before this long is decided. */
const DECIDED_MS = 1_300;
/** Half of what is sent meanwhile: a busy machine is late with some. */
const LEAST_ANSWERS = (PINGS_PER_SECOND * DECIDED_MS) / 2_000;

export interface Traffic {
  /** Begins a period that is accounted for on its own. */
  mark(): void;
  /** Waits until every way has answers without a loss, and, unless `pings` are enough, streams move. @throws when not in time */
  flowing(timeoutMs: number, what: 'pings' | 'all'): Promise<void>;
  end(): Promise<Account>;
}

export interface Account {
  /** For each mark, what each way saw from then until the next. */
  readonly pings: readonly (readonly PingAccount[])[];
  readonly streams: readonly StreamAccount[];
}

/** Starts pings in both directions and one TCP stream from b2 to each of a2 and c2, in the pods' own programs. */
export async function startTraffic(rig: Rig): Promise<Traffic> {
  const clients = await connectAll(rig, ['a2', 'b2', 'c2']);
  const unique = Date.now();
  const jobOf = (kind: string, { to }: Way): string => `chaos-${unique}-${kind}-${to}`;
  const marks: number[] = [];
  const startedMs: number[] = [];
  for (const way of PINGS) {
    const args = { ip: rig.pod(way.to).ip, perSecond: PINGS_PER_SECOND, seconds: RUN_SECONDS };
    await clients.of(way.from).call('start', { run: 'pinger', job: jobOf('ping', way), ...args });
    startedMs.push(performance.now());
  }
  for (const way of STREAMS) {
    const args = { ip: rig.pod(way.to).ip, bytesPerSecond: STREAM_BYTES_PER_SECOND, seconds: RUN_SECONDS };
    await clients.of(way.from).call('start', { run: 'stream', job: jobOf('stream', way), ...args });
  }

  const ask = async (op: 'report' | 'stop'): Promise<Sample> => {
    // What a job gives is what it was started as.
    const of = async <T>(kind: string, way: Way) => ({
      way: `${way.from}→${way.to}`,
      report: (await clients.of(way.from).call(op, { job: jobOf(kind, way) })) as T,
    });
    return {
      pings: await Promise.all(PINGS.map((way) => of<PingerReport>('ping', way))),
      streams: await Promise.all(STREAMS.map((way) => of<StreamReport>('stream', way))),
    };
  };

  return {
    mark: () => void marks.push(performance.now()),
    async flowing(timeoutMs, what) {
      const samples: { readonly atMs: number; readonly sample: Sample }[] = [];
      const look = async (): Promise<boolean> => {
        const now = { atMs: performance.now(), sample: await ask('report') };
        samples.push(now);
        const before = samples.findLast(({ atMs }) => atMs <= now.atMs - DECIDED_MS);
        if (before === undefined) return false;
        const { pings, streams } = standing(before.sample, now.sample, LEAST_ANSWERS);
        const still = [...pings, ...(what === 'all' ? streams : [])];
        if (still.length > 0) throw new Error(still.join('; '));
        return true;
      };
      await eventually('traffic flows', look, timeoutMs, LOOK_MS);
    },
    async end() {
      try {
        const last = await ask('report');
        const final = await ask('stop');
        return {
          pings: periodsBetween(marks).map((period) =>
            final.pings.map(({ way, report }, i) => accountOf(way, report, startedMs[i] ?? 0, period)),
          ),
          streams: final.streams.map(({ way, report }, i) => streamAccount(way, last.streams[i]?.report ?? report, report)),
        };
      } finally {
        clients.close();
      }
    },
  };
}

/** Connections to the pods on these nodes. */
async function connectAll(rig: Rig, nodes: readonly string[]): Promise<{ of(node: string): PodClient; close(): void }> {
  const found = new Map<string, PodClient>();
  for (const node of nodes) found.set(node, await connectPod(rig.pod(node).socket));
  return {
    of(node) {
      const client = found.get(node);
      if (client === undefined) throw new Error(`no connection to the pod on ${node}`);
      return client;
    },
    close() {
      for (const client of found.values()) client.close();
    },
  };
}
