import { messageOf } from '../../lib/errors.ts';
import { forEachConcurrently } from '../concurrent.ts';
import { connectPod, type PodClient } from '../pod/control-client.ts';
import { type Evidence, judgePair } from './judge.ts';
import { type Pair, selectPairs, type PairFilter } from './pairs.ts';
import type { MatrixLab, MatrixResult } from './types.ts';

export interface MatrixOptions extends PairFilter {
  /** Bytes per TCP transfer; 1 MiB when absent. */
  readonly bytes?: number | undefined;
  /** Pairs with TCP transfers at a time. */
  readonly concurrency?: number | undefined;
  readonly onProgress?: (done: number, total: number) => void;
}

export const DEFAULT_BYTES = 1 << 20;
/** Keeps two cores busy with encryption and still leaves room for keepalives. */
const DEFAULT_CONCURRENCY = 6;
/** Pings, datagrams and connections that nobody answers cost little. */
const LIGHT_FACTOR = 4;
/** What nobody answers ends by itself in about three seconds; this only bounds a pod that a slow machine leaves waiting for its turn. */
const LIGHT_TIMEOUT_MS = 30_000;
/** How much later than its own limit a busy pod may answer before it counts as hanging. */
const PATIENCE_MS = 10_000;
/** For a pair that already failed in ICMP and UDP: one more SYN than a single loss would need. */
const HOPELESS_TCP_TIMEOUT_MS = 3_500;
/** A virtual machine under software emulation still moves this much with several transfers at a time. */
const SLOWEST_BYTES_PER_MS = 500;

/**
 * Measures every selected pair: first round trips, datagrams and paths, undisturbed, then the transfers.
 * A pair that fails is a result; only a wrong selection throws.
 *
 * @throws {UserError} when the filter selects nothing
 */
export async function runMatrix(lab: MatrixLab, options: MatrixOptions = {}): Promise<MatrixResult> {
  const { bytes = DEFAULT_BYTES, concurrency = DEFAULT_CONCURRENCY, onProgress } = options;
  const { pairs } = selectPairs(lab, options);
  const pods = createPodClients();
  const found = new Map<Pair, Evidence>();
  let done = 0;

  async function collect(some: readonly Pair[], limit: number, measure: (pair: Pair) => Promise<Evidence>): Promise<void> {
    await forEachConcurrently(spread(some), limit, async (pair) => {
      const known = found.get(pair) ?? NOTHING;
      found.set(
        pair,
        await measure(pair).catch((error: unknown) => ({ ...known, failure: `pod program of ${pair.from.name}: ${messageOf(error)}` })),
      );
      onProgress?.(++done, 2 * pairs.length);
    });
  }

  try {
    await collect(pairs, LIGHT_FACTOR * concurrency, async (pair) => measureLight(await pods.get(pair.from.socket), pair));
    const transfer = async (pair: Pair): Promise<Evidence> => {
      const known = found.get(pair) ?? NOTHING;
      return known.failure === undefined
        ? { ...known, tcp: await measureTcp(await pods.get(pair.from.socket), pair, bytes, known) }
        : known;
    };
    const { false: open = [], true: hopeless = [] } = Object.groupBy(pairs, (pair) => (isHopeless(found.get(pair)) ? 'true' : 'false'));
    await Promise.all([collect(open, concurrency, transfer), collect(hopeless, LIGHT_FACTOR * concurrency, transfer)]);
  } finally {
    await pods.close();
  }
  const results = pairs.map((pair) => judgePair(lab, pair, found.get(pair) ?? NOTHING));
  return { version: 1, ok: results.every(({ ok }) => ok), pairs: results };
}

const NOTHING: Evidence = { light: undefined, tcp: undefined, trace: undefined, failure: undefined };

async function measureLight(client: PodClient, { ip }: Pair): Promise<Evidence> {
  const [light, trace] = await Promise.all([
    client.call('probe', { ip, kinds: ['icmp', 'udp'], timeoutMs: LIGHT_TIMEOUT_MS }, LIGHT_TIMEOUT_MS + PATIENCE_MS),
    client.call('trace', { ip, timeoutMs: LIGHT_TIMEOUT_MS }, LIGHT_TIMEOUT_MS + PATIENCE_MS),
  ]);
  return { ...NOTHING, light, trace };
}

async function measureTcp(client: PodClient, { ip }: Pair, bytes: number, known: Evidence): Promise<Evidence['tcp']> {
  const timeoutMs = isHopeless(known) ? HOPELESS_TCP_TIMEOUT_MS : 20_000 + Math.ceil(bytes / SLOWEST_BYTES_PER_MS);
  return (await client.call('probe', { ip, kinds: ['tcp'], bytes, timeoutMs }, timeoutMs + PATIENCE_MS)).tcp;
}

function isHopeless(known: Evidence | undefined): boolean {
  return known?.light?.icmp?.received === 0 && known.light.udp?.ok === false;
}

/** Orders pairs so that neighbours in time differ in their sender: the load moves over all pods. */
function spread(pairs: readonly Pair[]): Pair[] {
  const bySender = [...Map.groupBy(pairs, ({ from }) => from.name).values()];
  const longest = Math.max(0, ...bySender.map((list) => list.length));
  return Array.from({ length: longest }, (_, i) => bySender.flatMap((list) => list[i] ?? [])).flat();
}

/** One connection per pod, made when first needed. */
export function createPodClients(): { get(socket: string): Promise<PodClient>; close(): Promise<void> } {
  const clients = new Map<string, Promise<PodClient>>();
  return {
    get(socket) {
      const client = clients.get(socket) ?? connectPod(socket);
      clients.set(socket, client);
      return client;
    },
    async close() {
      for (const settled of await Promise.allSettled(clients.values())) if (settled.status === 'fulfilled') settled.value.close();
    },
  };
}
