import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { netnsExec } from '../src/drivers/exec/exec.ts';

export interface Load {
  readonly name: string;
  readonly unit: string;
  /** Of iperf3(1). */
  readonly args: readonly string[];
}

/** Smaller than what a voice or sensor packet has; the rate in packets, not bytes, is what counts. */
const UDP_BYTES = 256;

/**
 * UDP at the highest rate that the sender makes; what arrives is counted (RFC 2889 §3.5, "forwarding rate at maximum offered load").
 * A search for the rate with little loss would take ten times as long and spread more on a machine whose processors are shared.
 */
export const LOADS: readonly Load[] = [
  { name: 'TCP 1 stream', unit: 'Mbit/s', args: [] },
  { name: 'TCP 10 streams', unit: 'Mbit/s', args: ['-P', '10'] },
  { name: `UDP ${UDP_BYTES} B`, unit: 'kpps', args: ['-u', '-b', '0', '-l', String(UDP_BYTES)] },
];

export interface Pair {
  readonly fromNetns: string;
  readonly toNetns: string;
  readonly toIp: string;
}

export interface Run {
  /** In the load's unit, as received. */
  readonly rate: number;
  /** CPU of the whole machine, in seconds per gigabyte of payload received. */
  readonly cpuPerGb: number;
}

const PORT = '5301';

export async function runLoad({ fromNetns, toNetns, toIp }: Pair, { args }: Load, seconds: number): Promise<Run> {
  const server = spawn('ip', ['netns', 'exec', toNetns, 'iperf3', '-s', '-1', '-p', PORT, '--forceflush'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  try {
    await new Promise((resolve) => server.stdout.once('data', resolve));
    const before = await busySeconds();
    const output = await netnsExec(fromNetns)(['iperf3', '-c', toIp, '-p', PORT, '-t', String(seconds), '-J', ...args], {
      timeoutMs: seconds * 1000 + 60_000,
    });
    const cpu = (await busySeconds()) - before;
    const { bytes, rate } = received(JSON.parse(output) as Report);
    return { rate, cpuPerGb: cpu / (bytes / 1e9) };
  } finally {
    server.kill('SIGKILL');
  }
}

/** The parts of iperf3's JSON that are read. With UDP `sum` holds what the receiver counted. */
interface Report {
  readonly end: {
    readonly sum_received?: { readonly bits_per_second: number; readonly bytes: number };
    readonly sum?: { readonly packets: number; readonly lost_packets: number; readonly seconds: number };
  };
}

function received({ end: { sum, sum_received: tcp } }: Report): { bytes: number; rate: number } {
  if (sum?.packets !== undefined) {
    const packets = sum.packets - sum.lost_packets;
    return { bytes: packets * UDP_BYTES, rate: packets / sum.seconds / 1e3 };
  }
  if (tcp === undefined) throw new Error('iperf3 did not say what was received');
  return { bytes: tcp.bytes, rate: tcp.bits_per_second / 1e6 };
}

/** Seconds that all CPUs together were not idle (`proc(5)`, /proc/stat). */
async function busySeconds(): Promise<number> {
  const [line = ''] = (await readFile('/proc/stat', 'utf8')).split('\n');
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = line.trim().split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq) / 100;
}
