import { type LabList, must, raven, run } from './harness.ts';

/** What tests of hosts with their own firewalls, tools and settings share. */

export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

interface Stored {
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly status?: {
    readonly conditions?: readonly Condition[];
    readonly links?: readonly { peer: string; state: string; message?: string }[];
  };
}

export async function stored(store: string, kind: 'gateways' | 'tunnelendpoint', name: string): Promise<Stored> {
  const { stdout } = await raven('get', kind, name, '--store', `dir:${store}`, '-o', 'json');
  return stdout === '' ? {} : (JSON.parse(stdout) as Stored);
}

export async function conditionOf(
  store: string,
  kind: 'gateways' | 'tunnelendpoint',
  name: string,
  type: string,
): Promise<Condition | undefined> {
  return (await stored(store, kind, name)).status?.conditions?.find((each) => each.type === type);
}

/** The agent's own word, on nodes of every role: reasons by `raven_agent_findings` of its metrics. */
export async function findingsIn(netns: string): Promise<string[]> {
  const script = `fetch('http://127.0.0.1:10265/metrics').then(r=>r.text()).then(t=>process.stdout.write(t))`;
  const text = await must(['ip', 'netns', 'exec', netns, 'node', '-e', script]);
  return [...text.matchAll(/^raven_agent_findings\{reason="(\w+)"\} [1-9]/gm)].map(([, reason = '']) => reason).toSorted();
}

/** The newest finding of that reason in a node's log. */
export async function loggedFinding(log: string, reason: string): Promise<string | undefined> {
  const { stdout } = await run(['grep', '-h', `"reason":"${reason}"`, log]);
  const last = stdout.trim().split('\n').at(-1);
  return last === undefined || last === '' ? undefined : (JSON.parse(last) as { message: string }).message;
}

/** The commands behind `to open it:`. */
export function commandsOf(message: string): string[] {
  return message.split('to open it: ')[1]?.split('; ') ?? [];
}

/** As an operator would type it on the node. */
export function type(netns: string, line: string): Promise<string> {
  return must(['ip', 'netns', 'exec', netns, 'sh', '-c', line]);
}

/** Asks a node's agent to look at once. */
export function resync({ nodes }: LabList, node: string): void {
  const pid = nodes.find(({ name }) => name === node)?.processes.find(({ program }) => program === 'agent')?.pid;
  if (pid !== undefined) process.kill(pid, 'SIGHUP');
}
