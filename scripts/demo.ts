import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { createProgress } from '../src/lab/progress.ts';

/** `make demo`: three regions, pods that reach each other, a gateway that loses power. KEEP=1 leaves the lab up. */

const RAVEN = fileURLToPath(new URL('../bin/raven', import.meta.url));
const LAB = 'demo';
const keep = !['', '0', undefined].includes(process.env['KEEP']);
const progress = createProgress(process.stdout);
const title = (text: string): void => void process.stdout.write(`\n${process.stdout.hasColors?.() ? `\u001B[1m${text}\u001B[0m` : text}\n`);
let child: ChildProcess | undefined;

/** Runs the CLI as a person would; its output is part of the show. */
function raven(...args: string[]): Promise<number> {
  child = spawn(RAVEN, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  return new Promise((resolve) => child?.once('exit', (code) => resolve(code ?? 1)));
}

async function must(...args: string[]): Promise<void> {
  const code = await raven(...args);
  if (code !== 0) throw new Error(`raven ${args.join(' ')}: exit code ${code}`);
}

async function capture(...argv: [string, ...string[]]): Promise<string> {
  const [file, ...args] = argv;
  const process_ = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  process_.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  await new Promise((resolve) => process_.once('exit', resolve));
  return output;
}

interface Listing {
  readonly store: string;
  readonly nodes: readonly { readonly name: string; readonly region: string; readonly role: string }[];
  readonly pods: readonly { readonly name: string; readonly node: string; readonly netns: string; readonly ips: readonly string[] }[];
}

const list = async (): Promise<Listing> => JSON.parse(await capture(RAVEN, 'lab', 'ls', '--name', LAB, '-o', 'json')) as Listing;

async function show(): Promise<void> {
  title('Three regions: a in a cloud, b and c behind NATs. Every node masquerades, as CNIs do.');
  await must('lab', 'up', 'rig', '--name', LAB, '--replace');
  const { store, pods } = await list();
  title('Gateways and tunnels  (raven status)');
  await must('status', '--store', `dir:${store}`);
  title('Who reaches whom  (raven lab matrix)');
  await must('lab', 'matrix', '--name', LAB);
  title('The gateway of region b loses power  (raven lab kill b1)');
  await failover(pods);
  title('Everybody else, with the new gateway');
  await must('lab', 'matrix', '--name', LAB);
  await must('status', '--store', `dir:${store}`);
}

/** Pings from an ordinary node of b to one of a, ten a second, while b's gateway dies. */
async function failover(pods: Listing['pods']): Promise<void> {
  const from = pods.find(({ node }) => node === 'b2');
  const to = pods.find(({ node }) => node === 'a2')?.ips[0]?.split('/')[0];
  if (from === undefined || to === undefined) throw new Error('the rig has no pods on b2 and a2');
  const ping = spawn('ip', ['netns', 'exec', from.netns, 'ping', '-n', '-D', '-i', '0.1', to], { stdio: ['ignore', 'pipe', 'ignore'] });
  const answers: number[] = [];
  ping.stdout.on('data', (chunk: Buffer) => {
    for (const [, seconds] of chunk.toString().matchAll(/\[(\d+\.\d+)\].*bytes from/g)) answers.push(Number(seconds));
  });
  try {
    await progress.step('pings from pod-b2 to pod-a2', () => until(() => answers.length > 10));
    await must('lab', 'kill', 'b1', '--name', LAB);
    const killed = Date.now() / 1000;
    // For two seconds on: those that were on their way are no proof.
    await progress.step('pings are answered again', () => until(() => answers.filter((at) => at > killed + 2).length > 10));
    const gap = Math.max(...answers.slice(1).map((at, i) => at - (answers[i] ?? at)));
    progress.line(`    outage ${gap.toFixed(1)} s: the nodes moved to the other endpoint by themselves`);
    await progress.step('the controller elects another node as well', () =>
      until(async () => (await list()).nodes.some(({ name, region, role }) => name !== 'b1' && region === 'b' && role === 'gateway')),
    );
  } finally {
    ping.kill('SIGKILL');
  }
}

const TIMEOUT_MS = 120_000;

async function until(check: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + TIMEOUT_MS;
  while (!(await check())) {
    if (Date.now() > deadline) throw new Error(`did not happen within ${TIMEOUT_MS / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

function next(): void {
  title('Try next');
  const commands = keep
    ? [
        [`bin/raven lab ls --name ${LAB}`, 'nodes, pods, processes and their logs'],
        [`bin/raven lab exec pod-b2 --name ${LAB} -- ping -c3 10.244.1.2`, 'a shell command in a pod or node'],
        [`bin/raven plan --store dir:/run/raven-lab/${LAB}/store --node b3`, 'what a node carries'],
        [`bin/raven lab start b1 --name ${LAB}`, 'power is back'],
        [`bin/raven lab down --name ${LAB}`, 'take it down'],
      ]
    : [
        ['make demo KEEP=1', 'the same, left up to explore'],
        ['bin/raven lab up topologies/wide.yaml', 'ten regions'],
        ['bin/raven --help', ''],
      ];
  for (const [command = '', what = ''] of commands) process.stdout.write(`  ${command.padEnd(66)} ${what}\n`);
}

let interrupted = false;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    interrupted = true;
    child?.kill(signal);
  });
}

const begin = performance.now();
let code = 0;
try {
  await show();
  process.stdout.write(`\ndone in ${((performance.now() - begin) / 1000).toFixed(0)} s\n`);
} catch (error) {
  code = interrupted ? 130 : 1;
  process.stderr.write(`demo: ${interrupted ? 'interrupted' : error instanceof Error ? error.message : String(error)}\n`);
}
if (!keep || code !== 0) await raven('lab', 'down', '--name', LAB);
if (code === 0) next();
process.exit(code);
