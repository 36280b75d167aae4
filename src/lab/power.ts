import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Exec, hostExec, netnsExec } from '../drivers/exec/exec.ts';
import { UserError } from '../lib/errors.ts';
import { buildNamespaces, unplug } from './build.ts';
import { forEachConcurrently } from './concurrent.ts';
import { deleteNetns, netnsInode } from './netns.ts';
import { LAB_ROOT, labPaths } from './paths.ts';
import { type NamespacePlan, planLab } from './plan/lab-plan.ts';
import { netnsName } from './plan/names.ts';
import { isAlive } from './process-id.ts';
import { findProcess, killAll, processesInNetns, startProcess } from './processes.ts';
import { type LabProcess, listProcesses, type Programs } from './programs.ts';
import { flannelBackend } from './programs-kube.ts';
import type { LabState } from './state.ts';

/** What the functions here work with. */
export interface LabTools {
  readonly programs: Programs;
  readonly root?: string;
  readonly exec?: Exec;
}

/** How many programs start at a time: each wants a processor for itself for a moment. */
const START_CONCURRENCY = 4;
/** flannel waits for its Node, and sets its rules one by one. */
const CNI_TIMEOUT_MS = 30_000;
const CNI_POLL_MS = 100;

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
  await startInOrder(lab, wanted, tools.exec ?? hostExec);
  return `node ${node} is up: ${plans.length} namespaces built, ${wanted.length} programs started`;
}

/** Starts programs; those that would be containers, when their node's network stands. */
export async function startInOrder(lab: LabState, wanted: readonly LabProcess[], exec: Exec = hostExec): Promise<void> {
  const isContainer = ({ program }: LabProcess): boolean => program === 'coredns';
  await forEachConcurrently(
    wanted.filter((each) => !isContainer(each)),
    START_CONCURRENCY,
    async (each) => void (await startProcess(each)),
  );
  for (const each of wanted.filter(isContainer)) {
    await waitForCni(lab, netnsExec(netnsName(lab.name, each.node ?? ''), exec));
    await startProcess(each);
  }
}

/**
 * Waits until flannel masquerades on a node. It writes its subnet file some seconds earlier; a connection that a pod opens between the two
 * keeps its unknown source address for as long as it is tried (30 s with the client of Kubernetes).
 * Ends without it when the time is over: the program itself says what it lacks.
 */
async function waitForCni(lab: LabState, exec: Exec): Promise<void> {
  const deadline = Date.now() + CNI_TIMEOUT_MS;
  while (Date.now() < deadline) {
    const rules = await exec([`iptables-${flannelBackend(lab.topology)}`, '-t', 'nat', '-S']);
    if (rules.includes('-j FLANNEL-POSTRTG') && /^-A FLANNEL-POSTRTG -s .* -j MASQUERADE/m.test(rules)) return;
    await sleep(CNI_POLL_MS);
  }
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
    `lab ${lab.name} has no ${target}; name a node (${nodes}), a program of one (NODE/agent, NODE/charon or NODE/wireguard-go, NODE/kubelet, POD/pod), controller or supervisor`,
  );
}
