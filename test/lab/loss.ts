import { spawn } from 'node:child_process';
import { eventually, type Lab } from './harness.ts';

export interface Loss {
  readonly sent: number;
  readonly lost: number;
}

/** Packets lost between the pods of two nodes while `work` runs, at 100 a second; the pings begin before it and go on for a second after it. */
export async function lostDuring(lab: Lab, [from, to]: readonly [string, string], work: () => Promise<unknown>): Promise<Loss> {
  const source = await lab.podOn(from);
  const target = (await lab.podOn(to)).ips[0]!.split('/')[0]!;
  const ping = spawn('ip', ['netns', 'exec', source.netns, 'ping', '-n', '-i', '0.01', target], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    let said = '';
    ping.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    await eventually('the first answers', async () => said.split('\n').length > 20);
    await work();
    const before = said.length;
    await eventually('answers after it', async () => said.slice(before).split('\n').length > 100);
    const ended = new Promise((resolve) => ping.once('exit', resolve));
    ping.kill('SIGINT');
    await ended;
    const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(said) ?? [];
    return { sent: Number(sent), lost: Number(sent) - Number(received) };
  } finally {
    ping.kill('SIGKILL');
  }
}
