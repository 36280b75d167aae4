import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { hostExec, netnsExec } from '../src/drivers/exec/exec.ts';
import { eventually, Lab, must, run } from '../test/lab/harness.ts';
import { withRemoval } from './scope.ts';
import { syntheticGateways } from './synthetic.ts';
import { median, printTable, round } from './table.ts';

const RAVEN = fileURLToPath(new URL('../bin/raven', import.meta.url));
const SECRET = 'bench-Kp3vX9qLmT7wZr2sBn8dYc5hGf4jUe6a';
const ROUNDS = 5;

/** Resident memory of an agent by size of the cluster: an ordinary node of region 1, after its first resyncs. */
export async function benchMemory(): Promise<void> {
  const rows: string[][] = [];
  for (const regions of [2, 100, 1000]) rows.push([String(regions), ...(await memoryAt(regions))]);
  printTable('Memory of an agent on an ordinary node (10 nodes a region), MiB', ['regions', 'resident', 'peak'], rows);
}

async function memoryAt(regions: number): Promise<string[]> {
  const netns = `rvbench-${process.pid}`;
  const folder = await mkdtemp(join(tmpdir(), 'rvbench-'));
  let end: (() => Promise<unknown>) | undefined;
  const remove = async (): Promise<void> => {
    await end?.();
    await run(['ip', 'netns', 'del', netns]);
    await rm(folder, { recursive: true, force: true });
  };
  return withRemoval(remove, async () => {
    await writeFile(join(folder, 'psk'), SECRET, { mode: 0o600 });
    await mkdir(join(folder, 'store'));
    const gateways = syntheticGateways(regions).map((gateway) => stringify(gateway, { aliasDuplicateObjects: false }));
    await writeFile(join(folder, 'store', 'gateways.yaml'), gateways.join('---\n'));
    await hostExec(['ip', 'netns', 'add', netns]);
    await hostExec(['ip', '-n', netns, '-batch', '-'], {
      stdin:
        'link set lo up\nlink add eth0 type veth peer name far\naddress add 192.168.1.15/24 dev eth0\nlink set eth0 up\nlink set far up\n',
    });
    const files = ['--store', `dir:${join(folder, 'store')}`, '--psk-file', join(folder, 'psk')];
    const dirs = ['--run-dir', join(folder, 'run'), '--state-dir', join(folder, 'state')];
    const argv = ['netns', 'exec', netns, RAVEN, 'agent', '--node', 'region-1-node-5', ...files, ...dirs];
    const agent = spawn('ip', argv, { stdio: 'ignore' });
    const ended = new Promise((resolve) => agent.once('exit', resolve));
    end = () => (agent.kill('SIGKILL'), ended);
    await eventually('routes', async () => (await netnsExec(netns)(['ip', 'route', 'show', 'table', '9027'])) !== '');
    for (let i = 0; i < 10; i++) {
      agent.kill('SIGHUP');
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    const status = await readFile(`/proc/${agent.pid}/status`, 'utf8');
    return ['VmRSS', 'VmHWM'].map((key) => round(Number(new RegExp(`${key}:\\s+(\\d+)`).exec(status)?.[1]) / 1024));
  });
}

/** From the start of a gateway's agent on a clean node (no tunnel, no charon) to the first ping through its tunnel; and of a restart. */
export async function benchStart(): Promise<void> {
  const lab = await Lab.up('mini');
  try {
    const { pods, store } = await lab.list();
    const [from, to] = [pods.find(({ node }) => node === 'edge1'), pods.find(({ node }) => node === 'cloud1')];
    const edge = await lab.node('edge1');
    if (from === undefined || to === undefined) throw new Error('topology mini has no pods on cloud1 and edge1');
    const times: number[] = [];
    for (let i = 0; i < ROUNDS; i++) {
      await lab.raven('lab', 'kill', 'edge1/agent');
      await must([
        'ip',
        'netns',
        'exec',
        edge.netns,
        RAVEN,
        'agent',
        '--cleanup',
        '--node',
        'edge1',
        '--run-dir',
        join(store, '..', 'nodes', 'edge1', 'run'),
      ]);
      const begin = performance.now();
      const [, firstMs] = await Promise.all([
        lab.raven('lab', 'start', 'edge1/agent'),
        firstAnswer(from.netns, to.ips[0]?.split('/')[0] ?? '', begin),
      ]);
      times.push(firstMs);
    }
    printTable(
      'From the start of a gateway agent on a clean node to the first packet through its tunnel, s (with the CLI that starts it)',
      ['median', 'best', 'worst'],
      [[median(times), Math.min(...times), Math.max(...times)].map((ms) => round(ms / 1000, 2))],
    );
  } finally {
    await lab.down();
  }
}

async function firstAnswer(netns: string, ip: string, begin: number): Promise<number> {
  await eventually('an answer', async () => (await run(['ip', 'netns', 'exec', netns, 'ping', '-n', '-c', '1', '-W', '1', ip])).code === 0);
  return performance.now() - begin;
}
