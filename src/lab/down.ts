import { rm } from 'node:fs/promises';
import { type Exec, hostExec } from '../drivers/exec/exec.ts';
import { deleteNetns } from './netns.ts';
import { LAB_ROOT, labPaths } from './paths.ts';
import { INTERNET, netnsName } from './plan/names.ts';
import type { ProcessId } from './process-id.ts';
import { findProcess, killAll, processesInNetns, processesWithArguments } from './processes.ts';
import { listProcesses, type LabProcess } from './programs.ts';
import { type FoundLab, findLabs, namespacesOf } from './state.ts';

/** What taking a lab down removed. */
export interface Removed {
  readonly processes: number;
  readonly namespaces: number;
}

/**
 * Takes a lab down, or what a crash left of one: processes first, then namespaces, then files, so that a run that is cut short can be
 * repeated. Kills only what is proven to be the lab's. Does nothing when there is nothing.
 */
export async function downLab(name: string, { root = LAB_ROOT, exec = hostExec }: { root?: string; exec?: Exec } = {}): Promise<Removed> {
  const found = (await findLabs(root)).find((lab) => lab.name === name) ?? { name, netns: [] };
  const processes = await killAll(() => processesOf(found, root));
  const internet = netnsName(name, INTERNET);
  const all = new Set([...found.netns, ...(found.state === undefined ? [] : namespacesOf(found.state))]);
  // The internet goes last: a lab without state is found by it.
  await deleteNetns(exec, [...[...all].filter((netns) => netns !== internet), internet]);
  await rm(labPaths(name, root).dir, { recursive: true, force: true, maxRetries: 3 });
  return { processes, namespaces: found.netns.length };
}

async function processesOf({ name, netns, state }: FoundLab, root: string): Promise<ProcessId[]> {
  const recorded = state === undefined ? [] : listProcesses(state, { node: '', dir: '', extension: '' }, root);
  const groups = await Promise.all([
    processesInNetns(netns),
    processesWithArguments((argv) => isLabProgram(argv, labPaths(name, root).dir)),
    ...recorded.map(aliveProcess),
  ]);
  return [...new Map(groups.flat().map((each) => [each.pid, each])).values()];
}

async function aliveProcess(process_: LabProcess): Promise<ProcessId[]> {
  const found = await findProcess(process_);
  return found?.alive ? [found] : [];
}

/** Controller, supervisor, kubelets and agents all have the lab's own store on their command line, pods a socket in its folder; nothing else of ours that stays has. */
function isLabProgram(argv: readonly string[], labDir: string): boolean {
  const [, file = '', command = ''] = argv;
  const valueOf = (flag: string): string => argv[argv.indexOf(flag) + 1] ?? '';
  if (/\/pod\.[jt]s$/.test(file)) return valueOf('--socket').startsWith(`${labDir}/pods/`);
  const isOurs =
    /\/(lab-supervisor|kubelet)\.[jt]s$/.test(file) || (/\/raven\.[jt]s$/.test(file) && ['controller', 'agent'].includes(command));
  const store = valueOf('--store');
  return isOurs && (store === `dir:${labDir}/store` || store.startsWith(`kube:${labDir}/`));
}
