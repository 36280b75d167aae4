import { spawn } from 'node:child_process';
import { cp, mkdir, open, readFile, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually, type Lab, type LabNode } from './harness.ts';

/** Programs of a lab that end and come back, in all the ways that they do in life (R21). */

const CHECKOUT = fileURLToPath(new URL('../..', import.meta.url));
const DIST = 'dist/raven.js';

export const AGENT_FAULTS = ['TERM', 'KILL', 'other path', 'files replaced'] as const;
export type AgentFault = (typeof AGENT_FAULTS)[number];

/**
 * Ends a node's agent and starts it again; waits until the new one has found all as planned.
 *
 * @param copies an empty folder for other copies of the program
 */
export async function restartAgent(lab: Lab, name: string, fault: AgentFault, copies: string): Promise<void> {
  if (fault === 'TERM') await endAgent(lab, name, 'SIGTERM');
  else if (fault === 'KILL') await endAgent(lab, name, 'SIGKILL');
  else await upgrade(lab, name, fault, copies);
  await working(lab, name, () => startAgent(lab, name));
}

/** An upgrade to a copy of the program, by SIGTERM, and the way back is left to the caller. */
async function upgrade(lab: Lab, name: string, fault: AgentFault, copies: string): Promise<void> {
  const node = await lab.node(name);
  const argv = await argumentsOf(agentOf(node).pid);
  const copy = await copyProgram(join(copies, `${name}-${fault.replace(' ', '-')}`));
  await endAgent(lab, name, 'SIGTERM');
  const copied = argv.map((word) => (word.endsWith(`/${DIST}`) ? join(copy, DIST) : word));
  const child = await working(lab, name, () => launch(node, copied));
  if (fault === 'files replaced') {
    // A package manager takes the old files away, whatever names the new ones have.
    await rm(join(copy, 'dist'), { recursive: true });
    await working(lab, name, async () => void process.kill(child, 'SIGHUP'));
  }
  process.kill(child, 'SIGTERM');
  await ended(child);
}

/** Ends a node's VPN daemon; nothing is waited for. */
export async function endDaemon(lab: Lab, name: string, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  const pid = daemonOf(await lab.node(name))?.pid;
  if (pid === undefined) throw new Error(`no VPN daemon on ${name}`);
  process.kill(pid, signal);
}

export function daemonOf({ processes }: LabNode): LabNode['processes'][number] | undefined {
  return processes.find(({ program, state }) => (program === 'charon' || program === 'wireguard-go') && state === 'running');
}

function agentOf({ name, processes }: LabNode): LabNode['processes'][number] {
  const agent = processes.find(({ program }) => program === 'agent');
  if (agent === undefined) throw new Error(`no agent on ${name}`);
  return agent;
}

async function endAgent(lab: Lab, name: string, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  const { pid } = agentOf(await lab.node(name));
  process.kill(pid, signal);
  await ended(pid);
}

async function startAgent(lab: Lab, name: string): Promise<void> {
  const { code, stderr } = await lab.raven('lab', 'start', `${name}/agent`);
  if (code !== 0) throw new Error(stderr);
}

/** Starts an agent, or wakes it, and waits until its log has a line of its own work and nothing is left to do. */
async function working<T>(lab: Lab, name: string, begin: () => Promise<T>): Promise<T> {
  const node = await lab.node(name);
  const { log } = agentOf(node);
  const before = (await readFile(log, 'utf8')).length;
  const result = await begin();
  const done = async (): Promise<boolean> => /"msg":"(role|resync)"/.test((await readFile(log, 'utf8')).slice(before));
  await eventually(`the agent of ${name} works`, done, undefined, 50);
  await lab.settled(node);
  return result;
}

async function launch({ netns, processes, name }: LabNode, argv: readonly string[]): Promise<number> {
  const log = await open(processes.find(({ program }) => program === 'agent')?.log ?? `${name}.log`, 'a');
  try {
    const child = spawn('ip', ['netns', 'exec', netns, ...argv], { detached: true, stdio: ['ignore', log.fd, log.fd] });
    child.unref();
    // `ip netns exec` becomes the program.
    return child.pid ?? 0;
  } finally {
    await log.close();
  }
}

async function argumentsOf(pid: number): Promise<string[]> {
  return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0').filter((word) => word !== '');
}

async function copyProgram(target: string): Promise<string> {
  await mkdir(target, { recursive: true });
  await cp(join(CHECKOUT, 'dist'), join(target, 'dist'), { recursive: true });
  await symlink(join(CHECKOUT, 'node_modules'), join(target, 'node_modules')).catch(() => undefined);
  await cp(join(CHECKOUT, 'package.json'), join(target, 'package.json'));
  return target;
}

async function ended(pid: number): Promise<void> {
  await eventually(`process ${pid} ends`, async () => !(await isThere(pid)), 30_000, 20);
}

/** A zombie of ours counts as gone. */
async function isThere(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat !== '' && !/\) [ZX] /.test(stat);
}
