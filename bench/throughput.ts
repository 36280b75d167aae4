import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { netnsExec } from '../src/drivers/exec/exec.ts';
import { createHandMade } from './hand-made.ts';
import { Lab } from '../test/lab/harness.ts';
import { median, printTable, round } from './table.ts';

const ROUNDS = 5;

interface Pair {
  readonly fromNetns: string;
  readonly toNetns: string;
  readonly toIp: string;
}

interface Run {
  readonly mbits: number;
  /** CPU of the whole machine, in seconds per gigabyte carried. */
  readonly cpuPerGb: number;
}

/** TCP through Raven against the same tunnel made by hand between the same kind of nodes behind the same kind of NAT, in turns within one run. */
export async function benchThroughput(seconds: number): Promise<void> {
  const [ours, bare] = [await Lab.up('mini', '--timeout', '300'), await Lab.up('mini', '--no-raven')];
  try {
    const links = await netnsExec((await ours.node('cloud1')).netns)(['ip', '-br', 'link']);
    const dataPath = links.includes('rvn-ipsec') ? 'user' : 'kernel';
    const removeHandMade = await createHandMade({ caller: await bare.node('edge1'), called: await bare.node('cloud1') }, dataPath);
    const runs: Record<'raven' | 'hand', Run[]> = { raven: [], hand: [] };
    try {
      const [byRaven, byHand] = [await podPair(ours), await podPair(bare)];
      for (let i = 0; i < ROUNDS; i++) {
        runs.hand.push(await iperf(byHand, seconds));
        runs.raven.push(await iperf(byRaven, seconds));
      }
    } finally {
      await removeHandMade();
    }
    const of = (which: Run[], key: keyof Run): number => median(which.map((run) => run[key]));
    const row = (label: string, key: keyof Run, digits: number): string[] => {
      const [raven, byHand] = [of(runs.raven, key), of(runs.hand, key)];
      return [label, round(raven, digits), round(byHand, digits), round(raven / byHand, 3)];
    };
    printTable(
      `TCP, one stream, ${dataPath} data path: Raven against swanctl by hand, pod to pod, one end behind a NAT; medians of ${ROUNDS} runs of ${seconds} s in turns`,
      ['figure', 'Raven', 'by hand', 'ratio'],
      [row('Mbit/s', 'mbits', 0), row('CPU s per GB', 'cpuPerGb', 2)],
    );
  } finally {
    await ours.down();
    await bare.down();
  }
}

async function podPair(lab: Lab): Promise<Pair> {
  const [from, to] = [await lab.podOn('edge1'), await lab.podOn('cloud1')];
  return { fromNetns: from.netns, toNetns: to.netns, toIp: to.ips[0] ?? '' };
}

async function iperf({ fromNetns, toNetns, toIp }: Pair, seconds: number): Promise<Run> {
  const server = spawn('ip', ['netns', 'exec', toNetns, 'iperf3', '-s', '-1', '-p', '5301', '--forceflush'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  try {
    await new Promise((resolve) => server.stdout.once('data', resolve));
    const before = await busySeconds();
    const output = await netnsExec(fromNetns)(['iperf3', '-c', toIp, '-p', '5301', '-t', String(seconds), '-J'], {
      timeoutMs: seconds * 1000 + 60_000,
    });
    const cpu = (await busySeconds()) - before;
    const { end } = JSON.parse(output) as { end: { sum_received: { bits_per_second: number; bytes: number } } };
    return { mbits: end.sum_received.bits_per_second / 1e6, cpuPerGb: cpu / (end.sum_received.bytes / 1e9) };
  } finally {
    server.kill('SIGKILL');
  }
}

/** Seconds that all CPUs together were not idle (`proc(5)`, /proc/stat). */
async function busySeconds(): Promise<number> {
  const [line = ''] = (await readFile('/proc/stat', 'utf8')).split('\n');
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = line.trim().split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq) / 100;
}
