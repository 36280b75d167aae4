import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { benchMemory, benchStart } from './agent.ts';
import { benchKubeChange } from './kube-change.ts';
import { benchKubeController } from './kube-controller.ts';
import { benchKubeRequests } from './kube-requests.ts';
import { benchThroughput } from './throughput.ts';

/** `make bench`: every figure of one run. Arguments choose parts: plan, memory, start, kube-requests, kube-change, kube-controller, throughput, throughput-kernel. */
const SECONDS = 5;
const parts = new Map<string, () => Promise<void>>([
  ['plan', benchPlan],
  ['memory', benchMemory],
  ['start', benchStart],
  ['kube-requests', benchKubeRequests],
  ['kube-change', benchKubeChange],
  ['kube-controller', benchKubeController],
  ['throughput', () => benchThroughput(SECONDS)],
  ['throughput-kernel', throughputInVm],
]);

const wanted = process.argv.length > 2 ? process.argv.slice(2) : [...parts.keys()];
for (const name of wanted) {
  const part = parts.get(name);
  if (part === undefined) {
    process.stderr.write(`bench: no part ${JSON.stringify(name)}; there are: ${[...parts.keys()].join(', ')}\n`);
    process.exit(2);
  }
  await part();
}

/** In a network namespace that goes with the process. */
async function benchPlan(): Promise<void> {
  run('unshare', '-n', process.execPath, fileURLToPath(new URL('plan.ts', import.meta.url)));
}

/** The same comparison with kernel ESP, under the distribution's kernel; software emulation makes the figures small, not the ratio. */
async function throughputInVm(): Promise<void> {
  const vm = fileURLToPath(new URL('../scripts/vm.ts', import.meta.url));
  run(process.execPath, vm, '--timeout', '600', '--', process.execPath, fileURLToPath(import.meta.url), 'throughput');
}

function run(program: string, ...args: string[]): void {
  const { status } = spawnSync(program, args, { stdio: 'inherit' });
  if (status !== 0) throw new Error(`${[program, ...args].join(' ')}: exit code ${status}`);
}
