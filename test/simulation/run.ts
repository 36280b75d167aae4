import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { formatFault } from './faults.ts';
import { type History, playHistory } from './history.ts';
import { INVARIANTS, type Invariant } from './invariants.ts';
import { shrinkFaults } from './shrink.ts';
import { formatWorld, hasShared } from './world.ts';

/** What is kept of a history among thousands. */
interface Outcome {
  readonly seed: number;
  /** Some region has two active endpoints. */
  readonly isShared: boolean;
  readonly violated: readonly { readonly invariant: Invariant; readonly text: string }[];
  readonly outagesMs: readonly number[];
  readonly durationMs: number;
  readonly probes: number;
}

const HISTORIES = 10_000;
const USAGE = `simulation: many random histories of a controller and its agents, on a virtual clock (docs/simulation.md)

  --histories N   how many; ${HISTORIES} unless said
  --first SEED    the seed of the first; the others follow; 1 unless said
  --jobs N        at a time; as many as there are processors unless said
  --seed N        play this one and tell it
  -v, --verbose   and all that happens in it

Ctrl-C ends it early and sums up. Exit code: 0 all held, 1 something was violated, 2 wrong arguments.
`;
/** So many that fail are shrunk and told in full. */
const TOLD_MAX = 3;
/** A share of one worker's work, so that fast ones take more. */
const CHUNK = 20;

if (isMainThread) process.exitCode = await main(process.argv.slice(2));
else work();

async function main(argv: readonly string[]): Promise<number> {
  let options;
  try {
    options = readOptions(argv);
  } catch (error) {
    process.stderr.write(`simulation: ${error instanceof Error ? error.message : String(error)}\n`);
    return 2;
  }
  if (options.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  if (options.seed !== undefined) return tell(options.seed, options.verbose);
  const outcomes = await playAll(options);
  const bad = outcomes.filter(({ violated }) => violated.length > 0);
  for (const { seed } of bad.slice(0, TOLD_MAX)) await tell(seed, false);
  process.stdout.write(summary(outcomes));
  return bad.length === 0 ? 0 : 1;
}

interface Options {
  readonly help: boolean;
  readonly seed: number | undefined;
  readonly verbose: boolean;
  readonly histories: number;
  readonly first: number;
  readonly jobs: number;
}

function readOptions(argv: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      seed: { type: 'string' },
      verbose: { type: 'boolean', short: 'v', default: false },
      histories: { type: 'string', default: String(HISTORIES) },
      first: { type: 'string', default: '1' },
      jobs: { type: 'string', default: String(availableParallelism()) },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  return {
    help: values.help,
    seed: values.seed === undefined ? undefined : whole('--seed', values.seed),
    verbose: values.verbose,
    histories: whole('--histories', values.histories, 1),
    first: whole('--first', values.first),
    jobs: whole('--jobs', values.jobs, 1),
  };
}

function whole(name: string, text: string, min = 0): number {
  if (!/^\d{1,9}$/.test(text) || Number(text) < min)
    throw new Error(`${name}: ${JSON.stringify(text)} is no whole number from ${min} to 999999999`);
  return Number(text);
}

async function playAll({ histories, first, jobs }: Options): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  const seeds = { next: first, end: first + histories };
  // The first Ctrl-C ends it early, with what was found until then.
  process.once('SIGINT', () => void (seeds.end = seeds.next));
  await Promise.all(
    Array.from({ length: Math.min(jobs, histories) }, () =>
      employ(seeds, (outcome) => {
        outcomes.push(outcome);
        for (const { invariant, text } of outcome.violated) process.stdout.write(`seed ${outcome.seed} violates ${invariant}: ${text}\n`);
        showProgress(outcomes, histories);
      }),
    ),
  );
  if (process.stderr.isTTY) process.stderr.write('\n');
  return outcomes.toSorted((a, b) => a.seed - b.seed);
}

/** Lets one thread play chunks of seeds until none are left. */
async function employ(seeds: { next: number; readonly end: number }, onOutcome: (outcome: Outcome) => void): Promise<void> {
  const worker = new Worker(new URL(import.meta.url));
  await new Promise<void>((resolve, reject) => {
    worker.on('error', reject);
    worker.on('message', (message: Outcome | 'ready') => {
      if (message !== 'ready') return onOutcome(message);
      if (seeds.next >= seeds.end) return resolve();
      const from = seeds.next;
      seeds.next = Math.min(from + CHUNK, seeds.end);
      worker.postMessage({ from, to: seeds.next });
    });
  }).finally(() => worker.terminate());
}

function work(): void {
  parentPort?.on('message', ({ from, to }: { from: number; to: number }) => void playChunk(from, to));
  parentPort?.postMessage('ready');
}

async function playChunk(from: number, to: number): Promise<void> {
  for (let seed = from; seed < to; seed++) parentPort?.postMessage(await playTwice(seed));
  parentPort?.postMessage('ready');
}

/** One in fifty is played again: the digests must be equal. */
const AGAIN = 50;

async function playTwice(seed: number): Promise<Outcome> {
  const { world, violations, outagesMs, durationMs, probes, digest } = await playHistory({ seed });
  const isSame = seed % AGAIN !== 0 || (await playHistory({ seed })).digest === digest;
  const violated = violations.map(({ invariant, text }) => ({ invariant, text }));
  if (!isSame) violated.push({ invariant: 'deterministic', text: 'another history at the second time' });
  return { seed, isShared: hasShared(world), violated, outagesMs, durationMs, probes };
}

function showProgress(outcomes: readonly Outcome[], histories: number): void {
  if (!process.stderr.isTTY) return;
  const bad = outcomes.filter(({ violated }) => violated.length > 0).length;
  process.stderr.write(`\r${outcomes.length} of ${histories} histories, ${bad} failed\u001B[K`);
}

/** Plays one history, and says what it needs to fail. */
async function tell(seed: number, verbose: boolean): Promise<number> {
  const history = await playHistory({ seed });
  const [first] = history.violations;
  if (verbose || first === undefined) write(history, verbose);
  if (first === undefined) return 0;
  const faults = await shrinkFaults(history.faults, async (some) => {
    const { violations } = await playHistory({ seed, faults: some });
    return violations.some(({ invariant }) => invariant === first.invariant);
  });
  process.stdout.write(`\nseed ${seed} violates ${first.invariant}, with ${faults.length} of ${history.faults.length} faults:\n`);
  write(await playHistory({ seed, faults }), true);
  return 1;
}

function write({ world, faults, timeline, violations, digest, durationMs, probes }: History, verbose: boolean): void {
  const lines = [
    formatWorld(world),
    ...faults.map((fault) => `  at ${(fault.atMs / 1000).toFixed(3)} s: ${formatFault(fault)}`),
    ...(verbose ? timeline : []),
    ...violations.map(({ invariant, text }) => `violated ${invariant}: ${text}`),
    `${(durationMs / 1000).toFixed(1)} s, ${probes} probes, digest ${digest}`,
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}

function summary(outcomes: readonly Outcome[]): string {
  const bad = outcomes.filter(({ violated }) => violated.length > 0);
  const lines = INVARIANTS.map((invariant) => {
    const seeds = bad.filter(({ violated }) => violated.some((each) => each.invariant === invariant)).map(({ seed }) => seed);
    return seeds.length === 0 ? `${invariant}: held` : `${invariant}: violated by ${seeds.length}, seeds ${seeds.slice(0, 12).join(' ')}`;
  });
  const hours = outcomes.reduce((sum, { durationMs }) => sum + durationMs, 0) / 3_600_000;
  const probes = outcomes.reduce((sum, each) => sum + each.probes, 0);
  return [
    ...lines,
    `${outcomes.length} histories of ${hours.toFixed(1)} h with ${probes} probes, ${bad.length} failed`,
    share(
      'one active endpoint',
      outcomes.filter(({ isShared }) => !isShared),
    ),
    share(
      'two active endpoints in some regions',
      outcomes.filter(({ isShared }) => isShared),
    ),
    '',
  ].join('\n');
}

function share(what: string, outcomes: readonly Outcome[]): string {
  const outages = outcomes.flatMap(({ outagesMs }) => outagesMs).toSorted((a, b) => a - b);
  const at = (part: number): number => Math.round(outages[Math.min(outages.length - 1, Math.floor(outages.length * part))] ?? 0);
  const failed = outcomes.filter(({ violated }) => violated.length > 0).length;
  return [
    `${what}: ${outcomes.length} histories, ${failed} failed; pairs that should reach each other did not for: `,
    `median ${at(0.5)} ms, p95 ${at(0.95)} ms, worst ${at(1)} ms (${outages.length} times)`,
  ].join('');
}
