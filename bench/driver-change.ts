import { type ChildProcess, spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually, Lab, type LabNode, run } from '../test/lab/harness.ts';
import { median, printTable } from './table.ts';

const RAVEN = fileURLToPath(new URL('../bin/raven', import.meta.url));
/** There and back: each round changes the driver of all nodes twice. */
const ROUNDS = 3;
const INTERVAL_MS = 20;

/** How long pings stay unanswered when all agents of a running lab are started anew with the other VPN driver at about the same time. */
export async function benchDriverChange(): Promise<void> {
  const lab = await Lab.up('mini');
  const agents = new Map<string, ChildProcess>();
  const gaps = { wireguard: [] as number[], ipsec: [] as number[] };
  try {
    const { nodes, pods, store } = await lab.list();
    const [from, to] = [pods.find(({ node }) => node === 'edge1'), pods.find(({ node }) => node === 'cloud1')?.ips[0]];
    if (from === undefined || to === undefined) throw new Error('topology mini has no pods on edge1 and cloud1');
    for (const { name } of nodes) await lab.raven('lab', 'kill', `${name}/agent`);
    for (let i = 0; i < ROUNDS; i++) {
      for (const driver of ['wireguard', 'ipsec'] as const) {
        const pings = startPings(from.netns, to);
        await eventually('pings are answered', async () => pings.answersMs.length > 20);
        const sinceMs = performance.now();
        for (const node of nodes) agents.set(node.name, replaceAgent(node, driver, { store, old: agents.get(node.name) }));
        await eventually(`tunnels by ${driver}`, async () => (await driversUp(store)) === `${driver},${driver}`);
        const soFar = pings.answersMs.length;
        await eventually('pings are answered again', async () => pings.answersMs.length > soFar + 20);
        pings.stop();
        gaps[driver].push(longestGap(pings.answersMs.filter((ms) => ms >= sinceMs - INTERVAL_MS)));
      }
    }
  } finally {
    for (const agent of agents.values()) agent.kill('SIGKILL');
    await lab.down();
  }
  printTable(
    `All nodes change their VPN driver at once, ms without an answer to pings every ${INTERVAL_MS} ms, ${ROUNDS} rounds, user space`,
    ['change', 'median', 'worst'],
    [
      ['ipsec → wireguard', Math.round(median(gaps.wireguard)), Math.round(Math.max(...gaps.wireguard))],
      ['wireguard → ipsec', Math.round(median(gaps.ipsec)), Math.round(Math.max(...gaps.ipsec))],
    ],
  );
}

function startPings(netns: string, to: string): { readonly answersMs: number[]; stop(): void } {
  const ping = spawn('ip', ['netns', 'exec', netns, 'ping', '-n', '-i', String(INTERVAL_MS / 1000), to], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const answersMs: number[] = [];
  ping.stdout.on('data', (chunk: Buffer) => {
    for (const _ of chunk.toString().matchAll(/bytes from/g)) answersMs.push(performance.now());
  });
  return { answersMs, stop: () => void ping.kill('SIGKILL') };
}

function replaceAgent(
  { name, netns, processes }: LabNode,
  driver: string,
  { store, old }: { readonly store: string; readonly old: ChildProcess | undefined },
): ChildProcess {
  old?.kill('SIGKILL');
  const home = dirname(processes.find(({ program }) => program === 'agent')?.log ?? '');
  const options = ['--store', `dir:${store}`, '--node', name, '--vpn-driver', driver, '--psk-file', join(home, '../../psk')];
  const dirs = ['--state-dir', join(home, 'state'), '--run-dir', join(home, 'run')];
  return spawn('ip', ['netns', 'exec', netns, RAVEN, 'agent', ...options, ...dirs], { stdio: 'ignore' });
}

/** Drivers of the regions whose tunnels are all up. */
async function driversUp(store: string): Promise<string> {
  const { stdout } = await run([RAVEN, 'status', '--store', `dir:${store}`, '-o', 'json']);
  const { gateways } = JSON.parse(stdout) as { gateways: { driver?: string; peersUp: number; peersTotal: number }[] };
  return gateways.map(({ driver, peersUp, peersTotal }) => (peersTotal > 0 && peersUp === peersTotal ? driver : 'down')).join();
}

function longestGap(timesMs: readonly number[]): number {
  return Math.max(...timesMs.slice(1).map((ms, i) => ms - (timesMs[i] ?? ms)));
}
