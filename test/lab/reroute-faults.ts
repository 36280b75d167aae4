import { spawn } from 'node:child_process';
import { eventually, type Lab, must, run } from './harness.ts';

/** What can happen to the gateway node that carries for the rig's region b, and what it costs the pings of others. */

export interface Fault {
  readonly name: string;
  /** Whether packets shall move to the other endpoint. */
  readonly moves: boolean;
  readonly cause: (lab: Lab, node: string) => Promise<unknown>;
  readonly cure: (lab: Lab, node: string) => Promise<unknown>;
}

const CUT =
  'table inet cut { chain i { type filter hook input priority -400; udp dport 4500 drop; }; chain o { type filter hook output priority -400; udp sport 4500 drop; }; }\n';

const inNode = (lab: Lab, node: string, ...argv: string[]): Promise<string> =>
  must(['ip', 'netns', 'exec', `raven-${lab.name}-${node}`, ...argv]);
const start = (lab: Lab, target: string): Promise<unknown> =>
  eventually(`${target} starts`, async () => (await lab.raven('lab', 'start', target)).code === 0);

export const FAULTS: readonly Fault[] = [
  {
    name: 'agent killed',
    moves: false,
    cause: (lab, node) => lab.raven('lab', 'kill', `${node}/agent`),
    cure: (lab, node) => start(lab, `${node}/agent`),
  },
  {
    name: 'uplink down',
    moves: true,
    cause: (lab, node) => must(['ip', 'netns', 'exec', `raven-${lab.name}-${node}`, 'nft', '-f', '-'], CUT),
    cure: (lab, node) => inNode(lab, node, 'nft', 'delete', 'table', 'inet', 'cut'),
  },
  { name: 'power off', moves: true, cause: (lab, node) => lab.raven('lab', 'kill', node), cure: (lab, node) => start(lab, node) },
  {
    name: 'FORWARD DROP',
    moves: true,
    cause: (lab, node) => inNode(lab, node, 'iptables', '-w', '-P', 'FORWARD', 'DROP'),
    cure: (lab, node) => inNode(lab, node, 'iptables', '-w', '-P', 'FORWARD', 'ACCEPT'),
  },
];

export interface Pings {
  /** Milliseconds since the epoch of each answer. */
  readonly answers: () => readonly number[];
  /** Ends them. @returns how many got no answer, and the longest time without one */
  readonly end: () => Promise<{ readonly lost: number; readonly outageMs: number }>;
}

const INTERVAL_MS = 20;

/** Pings from one pod to another, fifty a second, from the first answer on. */
export async function startPings(lab: Lab, from: string, to: string): Promise<Pings> {
  const target = (await lab.podOn(to)).ips[0]?.split('/')[0] ?? '';
  const { netns } = await lab.podOn(from);
  const argv = ['netns', 'exec', netns, 'ping', '-n', '-D', '-i', String(INTERVAL_MS / 1000), '-W', '2', target];
  const child = spawn('ip', argv, { stdio: ['ignore', 'pipe', 'ignore'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const ended = new Promise((resolve) => child.once('close', resolve));
  const answers = (): number[] => [...output.matchAll(/^\[(\d+\.\d+)\] .*time=/gm)].map(([, at]) => Number(at) * 1000);
  const end = async (): Promise<{ lost: number; outageMs: number }> => {
    child.kill('SIGINT');
    await ended;
    const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(output) ?? [];
    const [, first] = /icmp_seq=(\d+) .*time=/.exec(output) ?? [];
    const times = answers();
    const gaps = times.slice(1).map((at, i) => at - (times[i] ?? at));
    // The last one may still be on its way when ping is told to end.
    return {
      lost: Math.max(0, Number(sent) - Number(first) - Number(received)),
      outageMs: Math.max(0, Math.max(0, ...gaps) - INTERVAL_MS),
    };
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

/** Name of the node through which b2's packets leave its region. */
export async function exitOfB2(lab: Lab): Promise<string> {
  const { stdout } = await run(['ip', '-n', `raven-${lab.name}-b2`, 'nexthop', 'show', 'proto', '82']);
  return stdout.includes('192.168.1.12') ? 'b3' : stdout.includes('192.168.1.10') ? 'b1' : stdout;
}
