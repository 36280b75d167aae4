import { spawn } from 'node:child_process';
import { eventually, type Lab } from './harness.ts';

/** Pings between pods of a lab, and what they lost. */

export interface Loss {
  /** From the first that was answered to the last that was. */
  readonly sent: number;
  /** Of those. What was still on its way when they were ended is neither. */
  readonly lost: number;
}

export interface Pings {
  /** Milliseconds since the epoch of each answer. */
  readonly answers: () => readonly number[];
  /** Ends them. @returns besides what was lost the longest time without an answer */
  readonly end: () => Promise<Loss & { readonly outageMs: number }>;
}

/** Pings from the pod of one node to that of another, one each `intervalMs`; there is an answer by now. */
export async function startPings(lab: Lab, [from, to]: readonly [string, string], intervalMs = 20): Promise<Pings> {
  const { netns } = await lab.podOn(from);
  const target = (await lab.podOn(to)).ips[0]?.split('/')[0] ?? '';
  const argv = ['netns', 'exec', netns, 'ping', '-n', '-D', '-i', String(intervalMs / 1000), target];
  const child = spawn('ip', argv, { stdio: ['ignore', 'pipe', 'ignore'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const ended = new Promise((resolve) => child.once('close', resolve));
  const answers = (): number[] => [...output.matchAll(/^\[(\d+\.\d+)\] .*time=/gm)].map(([, at]) => Number(at) * 1000);
  const end = async (): Promise<Loss & { outageMs: number }> => {
    child.kill('SIGINT');
    await ended;
    const answered = new Set([...output.matchAll(/icmp_seq=(\d+) .*time=/g)].map(([, seq]) => Number(seq)));
    const sent = Math.max(...answered) - Math.min(...answered) + 1;
    const times = answers();
    const gaps = times.slice(1).map((at, i) => at - (times[i] ?? at));
    return { sent, lost: sent - answered.size, outageMs: Math.max(0, Math.max(0, ...gaps) - intervalMs) };
  };
  try {
    await eventually('the first answer', async () => answers().length > 0, undefined, 20);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
  return { answers, end };
}

/** Waits until pings that were sent after this moment have been answered for a while. */
export async function flowing(pings: readonly Pings[], timeoutMs?: number): Promise<void> {
  const sinceMs = Date.now();
  const flows = async (): Promise<boolean> => pings.every((each) => each.answers().filter((at) => at > sinceMs + 500).length > 25);
  await eventually('pings are answered again', flows, timeoutMs, 20);
}

/** Packets lost between the pods of two nodes while `work` runs, at 100 a second; the pings begin before it and go on for a while after it. */
export async function lostDuring(lab: Lab, pair: readonly [string, string], work: () => Promise<unknown>): Promise<Loss> {
  const pings = await startPings(lab, pair, 10);
  try {
    await work();
    await flowing([pings]);
  } catch (error) {
    await pings.end();
    throw error;
  }
  return pings.end();
}
