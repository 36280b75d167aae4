import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { messageOf } from '../src/lib/errors.ts';
import { removeOwnLabs } from '../test/lab/harness.ts';
import { benchMemory, benchStart } from './agent.ts';
import { benchKubeChange } from './kube-change.ts';
import { benchKubeController } from './kube-controller.ts';
import { benchKubeRequests } from './kube-requests.ts';
import { benchDriverChange } from './driver-change.ts';
import { benchForwarding } from './forwarding.ts';
import type { Driver } from './hand-made/hand-made.ts';
import { benchRestarts } from './restarts.ts';
import { removeAll } from './scope.ts';
import { benchThroughput } from './throughput.ts';

const USAGE = (parts: readonly string[]): string => `bench: figures of this machine, those of Raven and of others in one run

  bench [PART…]   ${parts.join(', ')}; all unless said

  --driver ipsec|wireguard   only this one: restarts, throughput, throughput-kernel
  --rounds N                 of the same three
  --seconds N                of each run of the last two
`;
const DRIVERS: readonly Driver[] = ['ipsec', 'wireguard'];
/** What fails because its lab goes down under it is no news. */
let isInterrupted = false;
const { values, positionals } = readArguments();
const drivers = values.driver === undefined ? DRIVERS : DRIVERS.filter((name) => name === values.driver);
if (drivers.length === 0) refuse(`no driver ${JSON.stringify(values.driver)}; there are: ${DRIVERS.join(', ')}`);

const parts = new Map<string, () => Promise<void>>([
  ['plan', benchPlan],
  ['memory', benchMemory],
  ['start', benchStart],
  ['driver-change', benchDriverChange],
  ['restarts', () => benchRestarts({ drivers, rounds: count('rounds', 2) })],
  ['kube-requests', benchKubeRequests],
  ['kube-change', benchKubeChange],
  ['kube-controller', benchKubeController],
  ['forwarding', benchForwarding],
  ['throughput', () => benchThroughput({ drivers, seconds: count('seconds', 1), rounds: count('rounds', 9) })],
  ['throughput-kernel', throughputInVm],
]);

if (values.help) {
  process.stdout.write(USAGE([...parts.keys()]));
  process.exit(0);
}
for (const name of ['seconds', 'rounds'] as const) count(name, 1);
const wanted = (positionals.length > 0 ? positionals : [...parts.keys()]).map(
  (name) => parts.get(name) ?? refuse(`no part ${JSON.stringify(name)}; there are: ${[...parts.keys()].join(', ')}`),
);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => void interrupted());
try {
  for (const part of wanted) await part();
} catch (error) {
  if (!isInterrupted) throw error;
}

function readArguments() {
  const option = { type: 'string' } as const;
  try {
    return parseArgs({
      allowPositionals: true,
      options: { driver: option, seconds: option, rounds: option, help: { type: 'boolean', short: 'h' } },
    });
  } catch (error) {
    return refuse(messageOf(error));
  }
}

function count(name: 'seconds' | 'rounds', otherwise: number): number {
  const number = Number(values[name] ?? otherwise);
  return Number.isInteger(number) && number > 0 ? number : refuse(`--${name}: ${values[name]} is not a whole number above 0`);
}

/** What the part that runs has built goes with it. */
async function interrupted(): Promise<void> {
  isInterrupted = true;
  process.stderr.write('\ninterrupted: taking down what was built\n');
  await removeOwnLabs();
  await removeAll();
  process.exit(130);
}

function refuse(why: string): never {
  process.stderr.write(`bench: ${why}\n`);
  process.exit(2);
}

/** In a network namespace that goes with the process. */
async function benchPlan(): Promise<void> {
  run('unshare', '-n', process.execPath, fileURLToPath(new URL('plan.ts', import.meta.url)));
}

/** The same comparison with the kernel's data path, under the distribution's kernel. A round of all rows takes some 5 minutes there. */
async function throughputInVm(): Promise<void> {
  const vm = fileURLToPath(new URL('../scripts/vm.ts', import.meta.url));
  const options = ['--seconds', String(count('seconds', 1)), '--rounds', String(count('rounds', 3))];
  process.stdout.write('\nIn a machine emulated by software: the figures are small, and single ratios scatter by a quarter.\n');
  for (const driver of drivers) {
    const bench = [process.execPath, fileURLToPath(import.meta.url), 'throughput', '--driver', driver, ...options];
    run(process.execPath, vm, '--timeout', '1800', '--', ...bench);
  }
}

function run(program: string, ...args: string[]): void {
  const { status } = spawnSync(program, args, { stdio: 'inherit' });
  if (status !== 0) throw new Error(`${[program, ...args].join(' ')}: exit code ${status}`);
}
