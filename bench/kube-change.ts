import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { CONTROL } from '../src/lab/plan/control.ts';
import { labPaths } from '../src/lab/paths.ts';
import { netnsName } from '../src/lab/plan/names.ts';
import { type Cidr, cidrContains, parseCidr } from '../src/net/cidr.ts';
import { kubeBinaries, whyNoApiServer } from '../test/kube/api-server.ts';
import { eventually, Lab, type LabNode, must } from '../test/lab/harness.ts';
import { median, percentile, printTable, round } from './table.ts';

const ROUNDS = 20;
const ANNOTATION = 'raven.openyurt.io/extra-allowed-source-cidrs';
const LABEL = 'raven.openyurt.io/gateway';
const CIDR = cidrOf('10.77.0.0/24');

/**
 * From the moment at which the API server tells watchers of a change (kubectl --watch prints it) to the routes of every node in the other
 * regions: the controller's part, the API server's and the agents'. On the rig, with a real API server.
 */
export async function benchKubeChange(): Promise<void> {
  const missing = whyNoApiServer();
  if (missing !== undefined) {
    process.stdout.write(`bench: skipped kube-change: ${missing}\n`);
    return;
  }
  const lab = await Lab.up('rig', '--store', 'kube', '--timeout', '180');
  try {
    const { nodes } = await lab.list();
    const b2 = await lab.node('b2');
    const others = nodes.filter(({ region }) => region !== 'b');
    const rows = [
      await measure('CIDR of a Gateway comes, and goes', lab, others, CIDR, [
        { resource: 'gateways', column: `.metadata.annotations.${ANNOTATION.replaceAll('.', '\\.')}`, name: 'b' },
        (present) => ['annotate', 'gateway', 'b', present ? `${ANNOTATION}=${CIDR}` : `${ANNOTATION}-`],
      ]),
      await measure('node loses its label, and has it again', lab, others, cidrOf(b2.podCIDR), [
        { resource: 'nodes', column: `.metadata.labels.${LABEL.replaceAll('.', '\\.')}`, name: 'b2' },
        (present) => ['label', 'node', 'b2', present ? `${LABEL}=b` : `${LABEL}-`],
      ]),
    ];
    printTable(
      `From a change to the routes of all ${others.length} nodes of the other regions, rig on Kubernetes, ${ROUNDS} rounds, ms`,
      ['change', 'median', 'p95', 'worst'],
      rows,
    );
  } finally {
    await lab.down();
  }
}

interface Watched {
  readonly resource: string;
  /** JSON path of the value that changes. */
  readonly column: string;
  readonly name: string;
}

type Change = readonly [Watched, (present: boolean) => readonly string[]];

async function measure(title: string, lab: Lab, nodes: readonly LabNode[], cidr: Cidr, [watched, argv]: Change): Promise<string[]> {
  const tables = await Promise.all(nodes.map(({ netns }) => followTable(netns)));
  const api = watchValue(lab, watched);
  try {
    await api.ready;
    const times: number[] = [];
    const start = tables.every((table) => table.has(cidr));
    for (let i = 0; i < ROUNDS; i++) {
      const present = (i % 2 === 0) !== start;
      const before = api.changes.length;
      await kubectl(lab, argv(present));
      await eventually('the API server tells of it', async () => api.changes.length > before, 30_000, 5);
      await eventually('routes follow', async () => tables.every((table) => table.has(cidr) === present), 60_000, 5);
      times.push(Math.max(...tables.map((table) => table.changedAt)) - (api.changes[before] ?? Number.NaN));
    }
    return [title, round(median(times), 0), round(percentile(times, 0.95), 0), round(Math.max(...times), 0)];
  } finally {
    for (const each of [...tables, api]) await each.stop();
  }
}

interface Table {
  /** Whether a route covers the prefix. */
  has(cidr: Cidr): boolean;
  /** When a route last came or went, by `performance.now()`. */
  readonly changedAt: number;
  stop(): Promise<void>;
}

/** Raven's routes to other regions in a namespace, as `ip monitor` tells of them. */
async function followTable(netns: string): Promise<Table> {
  const prefixes = new Set<string>();
  let changedAt = 0;
  const take = (line: string): void => {
    const [, deleted, prefix = ''] = /^(Deleted )?(?:unicast )?([\d.]+\/\d+) .*\bproto 82\b/.exec(line) ?? [];
    if (prefix === '') return;
    if (deleted === undefined) prefixes.add(prefix);
    else prefixes.delete(prefix);
    changedAt = performance.now();
  };
  const monitor = spawn('ip', ['-n', netns, 'monitor', 'route'], { stdio: ['ignore', 'pipe', 'inherit'] });
  createInterface({ input: monitor.stdout }).on('line', (line) => {
    if (/\btable 9027\b/.test(line)) take(line);
  });
  await once(monitor, 'spawn');
  for (const line of (await must(['ip', '-n', netns, 'route', 'show', 'table', '9027'])).split('\n')) take(line);
  return {
    has: (cidr) => [...prefixes].some((prefix) => cidrContains(cidrOf(prefix), cidr)),
    get changedAt() {
      return changedAt;
    },
    stop: () => end(monitor),
  };
}

/** When the value of one object became another, by `performance.now()`, as a watch of kubectl heard it. */
function watchValue(
  lab: Lab,
  { resource, column, name }: Watched,
): { readonly changes: readonly number[]; readonly ready: Promise<void>; stop(): Promise<void> } {
  const changes: number[] = [];
  const argv = ['get', resource, name, '--watch', '--no-headers', '-o', `custom-columns=V:${column}`];
  const child = spawn('ip', inControl(lab, argv), { stdio: ['ignore', 'pipe', 'inherit'] });
  const ready = Promise.withResolvers<void>();
  let value: string | undefined;
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (value !== undefined && value !== line) changes.push(performance.now());
    value = line;
    ready.resolve();
  });
  return { changes, ready: ready.promise, stop: () => end(child) };
}

async function kubectl(lab: Lab, argv: readonly string[]): Promise<void> {
  await must(['ip', ...inControl(lab, argv)]);
}

function inControl({ name }: Lab, argv: readonly string[]): string[] {
  const file = kubeBinaries().paths.get('kubectl') ?? 'kubectl';
  return ['netns', 'exec', netnsName(name, CONTROL), file, '--kubeconfig', labPaths(name).adminKubeconfig, ...argv];
}

async function end(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

function cidrOf(text: string): Cidr {
  const cidr = parseCidr(text);
  if (cidr === undefined) throw new Error(`${text} is no CIDR`);
  return cidr;
}
