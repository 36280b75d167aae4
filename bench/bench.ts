import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { messageOf } from '../src/lib/errors.ts';
import { benchMemory, benchStart } from './agent.ts';
import { benchKubeChange } from './kube-change.ts';
import { benchKubeController } from './kube-controller.ts';
import { benchKubeRequests } from './kube-requests.ts';
import { benchDriverChange } from './driver-change.ts';
import { benchForwarding } from './forwarding.ts';
import type { Driver } from './hand-made/hand-made.ts';
import { benchRestarts } from './restarts.ts';
import { benchThroughput } from './throughput.ts';

/**
 * `make bench`: every figure of one run. Arguments choose parts: plan, memory, start, driver-change, restarts, kube-requests, kube-change, kube-controller, forwarding,
 * throughput, throughput-kernel. `--driver ipsec|wireguard` and `--rounds N` are for restarts and the last two, `--seconds N` for the last two: `node bench/bench.ts throughput --driver ipsec`.
 */
const DRIVERS: readonly Driver[] = ['ipsec', 'wireguard'];
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

const wanted = positionals.length > 0 ? positionals : [...parts.keys()];
for (const name of wanted) {
  const part = parts.get(name);
  if (part === undefined) refuse(`no part ${JSON.stringify(name)}; there are: ${[...parts.keys()].join(', ')}`);
  await part();
}

function readArguments() {
  const option = { type: 'string' } as const;
  try {
    return parseArgs({ allowPositionals: true, options: { driver: option, seconds: option, rounds: option } });
  } catch (error) {
    return refuse(messageOf(error));
  }
}

function count(name: 'seconds' | 'rounds', otherwise: number): number {
  const number = Number(values[name] ?? otherwise);
  return Number.isInteger(number) && number > 0 ? number : refuse(`--${name}: ${values[name]} is not a whole number above 0`);
}

function refuse(why: string): never {
  process.stderr.write(`bench: ${why}\n`);
  process.exit(2);
}

/** In a network namespace that goes with the process. */
async function benchPlan(): Promise<void> {
  run('unshare', '-n', process.execPath, fileURLToPath(new URL('plan.ts', import.meta.url)));
}

/** The same comparison with the kernel's data path, under the distribution's kernel. A round of all rows takes some 3 minutes there. */
async function throughputInVm(): Promise<void> {
  const vm = fileURLToPath(new URL('../scripts/vm.ts', import.meta.url));
  const options = ['--seconds', String(count('seconds', 1)), '--rounds', String(count('rounds', 3))];
  process.stdout.write('\nIn a machine emulated by software: the figures are small, and single ratios scatter by a quarter.\n');
  for (const driver of drivers) {
    const bench = [process.execPath, fileURLToPath(import.meta.url), 'throughput', '--driver', driver, ...options];
    run(process.execPath, vm, '--timeout', '900', '--', ...bench);
  }
}

function run(program: string, ...args: string[]): void {
  const { status } = spawnSync(program, args, { stdio: 'inherit' });
  if (status !== 0) throw new Error(`${[program, ...args].join(' ')}: exit code ${status}`);
}
