import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { benchMemory, benchStart } from './agent.ts';
import { benchThroughput } from './throughput.ts';

/** `make bench`: every figure of one run. Arguments choose parts: plan, memory, start, throughput. */
const SECONDS = 5;
const parts = new Map<string, () => Promise<void>>([
  ['plan', benchPlan],
  ['memory', benchMemory],
  ['start', benchStart],
  ['throughput', () => benchThroughput(SECONDS)],
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
  const { status } = spawnSync('unshare', ['-n', process.execPath, fileURLToPath(new URL('plan.ts', import.meta.url))], {
    stdio: 'inherit',
  });
  if (status !== 0) throw new Error(`bench/plan.ts: exit code ${status}`);
}
