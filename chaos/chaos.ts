import { createProgress } from '../src/lab/progress.ts';
import { UserError } from '../src/lib/errors.ts';
import type { Lab } from '../test/lab/harness.ts';
import type { Fault } from './fault.ts';
import { FAULTS, faultsFor } from './faults/faults.ts';
import { type Options, parseOptions, USAGE } from './options.ts';
import { formatReports, type RigReport } from './report.ts';
import { Rig } from './rig.ts';
import { type Round, runRound } from './round.ts';
import { formatSoaks, type RigSoak } from './soak-text.ts';
import { formatEvent, isWell, soak } from './soak.ts';
import { judge } from './verdict.ts';

/** `make chaos`: harm to the rig, and what it costs others. See docs/chaos.md. */
const progress = createProgress(process.stderr);
/** What was measured until now, and the lab that is up: an interrupted run shows the one and takes down the other. */
const reports: (RigReport & { readonly rounds: Round[] })[] = [];
const soaks: RigSoak[] = [];
let current: Lab | undefined;
let stopping = false;

try {
  const options = parseOptions(process.argv.slice(2));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void interrupted(options));
  process.exitCode = await main(options);
} catch (error) {
  // What fails because its lab goes down under it is no news.
  if (!stopping) {
    if (!(error instanceof UserError)) throw error;
    process.stderr.write(`chaos: ${error.message}\n`);
    process.exitCode = 2;
  }
}

async function main(options: Options): Promise<number> {
  if (options.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  if (options.list) {
    for (const { name, requirement, what } of options.faults) process.stdout.write(`${name.padEnd(26)} ${requirement.padEnd(4)} ${what}\n`);
    return 0;
  }
  const rigs = options.drivers.flatMap((driver) =>
    options.stores.map((store) => ({ driver, store, faults: faultsFor(driver, store, options.faults) })),
  );
  const possible = rigs.filter(({ faults }) => faults.length > 0);
  if (possible.length === 0) {
    throw new UserError([{ source: '--fault', message: 'none of them can happen with these drivers and stores' }]);
  }
  for (const { driver, store, faults } of possible) {
    const rig = await progress.step(`${driver}, ${store} store: lab`, () => Rig.up(driver, store, (lab) => (current = lab)));
    try {
      if (options.soakSeconds === undefined) await runRounds(rig, faults, options);
      else soaks.push({ driver, store, ...(await runSoak(rig, faults, options.soakSeconds, options)) });
    } finally {
      if (!stopping) await rig.down();
      current = undefined;
    }
  }
  show(options);
  return reports.some(({ rounds }) => rounds.some(hasFailed)) || soaks.some((each) => !isWell(each)) ? 1 : 0;
}

async function runRounds(rig: Rig, faults: readonly Fault[], { rounds: count, cutSeconds }: Options): Promise<void> {
  const rounds: Round[] = [];
  reports.push({ driver: rig.driver, store: rig.store, rounds });
  for (const fault of faults) {
    for (let i = 1; i <= count && !stopping; i++) {
      const label = `${rig.driver}, ${rig.store} store: ${fault.name}${count === 1 ? '' : ` ${i}/${count}`}`;
      const run = (): Promise<Round> => runRound(rig, fault, cutSeconds * 1000);
      rounds.push(await progress.step(label, run, (round) => `${label}: ${summaryOf(fault, round)}`));
    }
  }
}

function summaryOf(fault: Fault, round: Round): string {
  const worst = Math.max(0, ...round.pings.map(({ outageMs }) => outageMs));
  const { failures, excesses } = judge(fault, round);
  return [`${worst} ms`, ...failures.map((each) => `✗ ${each}`), ...excesses.map((each) => `! ${each}`)].join('; ');
}

function runSoak(rig: Rig, faults: readonly Fault[], seconds: number, { seed, cutSeconds }: Options): ReturnType<typeof soak> {
  const onEvent = (event: Parameters<typeof formatEvent>[0]): void => progress.line(formatEvent(event));
  return soak(rig, { seed, durationMs: seconds * 1000, faults, cutMs: cutSeconds * 1000, onEvent });
}

function hasFailed(round: Round): boolean {
  const fault = FAULTS.find(({ name }) => name === round.fault);
  return fault !== undefined && judge(fault, round).failures.length > 0;
}

function show({ output }: Options): void {
  const text = (): string => `${reports.length > 0 ? formatReports(reports, FAULTS) : ''}${formatSoaks(soaks)}`;
  process.stdout.write(output === 'json' ? `${JSON.stringify({ version: 1, reports, soaks }, undefined, 2)}\n` : text());
}

async function interrupted(options: Options): Promise<void> {
  if (stopping) return;
  stopping = true;
  progress.line('\ninterrupted: taking the lab down');
  await current?.down();
  show(options);
  process.exit(130);
}
