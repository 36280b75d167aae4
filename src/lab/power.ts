import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Exec, hostExec } from '../drivers/exec/exec.ts';
import { UserError } from '../lib/errors.ts';
import { buildNamespaces, unplug } from './build.ts';
import { deleteNetns, netnsInode } from './netns.ts';
import { LAB_ROOT, labPaths } from './paths.ts';
import { type NamespacePlan, planLab } from './plan/lab-plan.ts';
import { netnsName } from './plan/names.ts';
import { isAlive } from './process-id.ts';
import { findProcess, killAll, processesInNetns, startProcess } from './processes.ts';
import { type LabProcess, listProcesses, type Programs } from './programs.ts';
import type { LabState } from './state.ts';

/** What the functions here work with. */
export interface LabTools {
  readonly programs: Programs;
  readonly root?: string;
  readonly exec?: Exec;
}

/** Takes a node's power away, or kills one program (`b1/agent`, `controller`) with SIGKILL. @returns what was done, in words */
export async function kill(lab: LabState, target: string, tools: LabTools): Promise<string> {
  return isNode(lab, target) ? killNode(lab, target, tools) : killProgram(findTarget(lab, target, tools));
}

/** Gives a node its power back, or starts one program. @returns what was done, in words */
export async function start(lab: LabState, target: string, tools: LabTools): Promise<string> {
  return isNode(lab, target) ? startNode(lab, target, tools) : startProgram(findTarget(lab, target, tools));
}

/** Programs that run when a node, or with undefined the lab, is up. */
export function programsToStart(lab: LabState, tools: LabTools, node?: string): LabProcess[] {
  const wanted = listProcesses(lab, tools.programs, tools.root).filter((each) => node === undefined || each.node === node);
  return wanted.filter(({ argv, program }) => argv !== undefined && (lab.raven || !['agent', 'controller'].includes(program)));
}

async function killNode(lab: LabState, node: string, { exec = hostExec, root = LAB_ROOT }: LabTools): Promise<string> {
  const plans = plansOf(lab, node);
  const names = plans.map(({ netns }) => netns);
  if ((await netnsInode(netnsName(lab.name, node))) === undefined) throw new UserError(`node ${node} is down already`);
  // The cable first: nobody may see the farewell packets of dying programs.
  await unplug(exec, plans);
  const count = await killAll(() => processesInNetns(names));
  await deleteNetns(exec, names.toReversed());
  await emptyRunFolder(labPaths(lab.name, root).node(node).run);
  return `node ${node} is down: ${count} processes killed, ${names.length} namespaces deleted`;
}

/** A reboot empties /run, and with it pid files and sockets. Logs stay for whoever asks what happened. */
async function emptyRunFolder(run: string): Promise<void> {
  const files = await readdir(run).catch(() => []);
  await Promise.all(files.filter((file) => !file.endsWith('.log')).map((file) => rm(join(run, file), { recursive: true, force: true })));
}

async function startNode(lab: LabState, node: string, tools: LabTools): Promise<string> {
  const plans = plansOf(lab, node);
  if ((await netnsInode(netnsName(lab.name, node))) !== undefined) throw new UserError(`node ${node} is up already`);
  await buildNamespaces(tools.exec ?? hostExec, plans);
  const wanted = programsToStart(lab, tools, node);
  for (const each of wanted) await startProcess(each);
  return `node ${node} is up: ${plans.length} namespaces built, ${wanted.length} programs started`;
}

function plansOf({ topology, name, kubernetes }: LabState, node: string): NamespacePlan[] {
  return planLab(topology, name, kubernetes !== undefined).filter((plan) => plan.node === node);
}

async function killProgram(process_: LabProcess): Promise<string> {
  const found = await findProcess(process_);
  if (!found?.alive) throw new UserError(`${process_.id} is not running`);
  // Only this one: its owner may start another at once.
  await killAll(async () => ((await isAlive(found)) ? [found] : []));
  return `${process_.id} is killed (pid ${found.pid})`;
}

async function startProgram(process_: LabProcess): Promise<string> {
  if (process_.argv === undefined) throw new UserError(`${process_.id} is started by the agent of its node`);
  if ((await findProcess(process_))?.alive) throw new UserError(`${process_.id} is running already`);
  if (process_.netns !== undefined && (await netnsInode(process_.netns)) === undefined)
    throw new UserError(`node ${process_.node} is down`);
  const { pid } = await startProcess(process_);
  return `${process_.id} is started (pid ${pid})`;
}

function isNode({ topology }: LabState, target: string): boolean {
  return topology.nodes.some(({ name }) => name === target);
}

function findTarget(lab: LabState, target: string, tools: LabTools): LabProcess {
  const processes = listProcesses(lab, tools.programs, tools.root);
  const found = processes.find(({ id }) => id === target);
  if (found !== undefined) return found;
  const nodes = lab.topology.nodes.map(({ name }) => name).join(', ');
  throw new UserError(
    `lab ${lab.name} has no ${target}; name a node (${nodes}), a program of one (NODE/agent, NODE/charon, NODE/kubelet, POD/pod), controller or supervisor`,
  );
}
