import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { UserError } from '../lib/errors.ts';
import { listNetns } from './netns.ts';
import { LAB_ROOT, labPaths } from './paths.ts';
import { CONTROL } from './plan/control.ts';
import { groupByLab, INTERNET } from './plan/names.ts';
import type { ProcessId } from './process-id.ts';
import type { Topology } from './topology/resolve.ts';

/** Paths of a cluster's own programs. */
export interface KubePrograms {
  readonly etcd: string;
  readonly apiServer: string;
  readonly kubectl: string;
  readonly kubeProxy: string;
  readonly flanneld: string;
  readonly coredns: string;
}

/** What is known about a lab as a whole: `lab.json`. Running processes are in pid files beside their logs. */
export interface LabState {
  readonly version: 1;
  readonly name: string;
  /** building: `lab up` is at work, or was when it died. */
  readonly phase: 'building' | 'up';
  readonly builder: ProcessId;
  readonly createdAt: string;
  readonly topologyFile: string;
  readonly topology: Topology;
  /** Whether controller and agents belong to it (not with `--no-raven`). */
  readonly raven: boolean;
  readonly vpnDriver?: string;
  /** The agents carry the nodes' own addresses too. */
  readonly forwardNodeIp?: true;
  /** A real API server with its programs; absent with the `dir:` store. */
  readonly kubernetes?: KubePrograms;
}

/** A lab as found on this machine; without `state` only remains of one. */
export interface FoundLab {
  readonly name: string;
  readonly state?: LabState;
  /** Its namespaces that exist. */
  readonly netns: readonly string[];
}

export async function writeLabState(state: LabState, root = LAB_ROOT): Promise<void> {
  const path = labPaths(state.name, root).state;
  await writeFile(`${path}.tmp`, `${JSON.stringify(state, undefined, 2)}\n`);
  await rename(`${path}.tmp`, path);
}

/** @returns undefined when there is none, or only half of one */
export async function readLabState(lab: string, root = LAB_ROOT): Promise<LabState | undefined> {
  try {
    const value = JSON.parse(await readFile(labPaths(lab, root).state, 'utf8')) as Partial<LabState> | null;
    return value?.version === 1 && value.name === lab && value.topology !== undefined ? (value as LabState) : undefined;
  } catch {
    return undefined;
  }
}

/** Takes the name. @returns false when somebody else has it */
export async function claimLabFolder(lab: string, root = LAB_ROOT): Promise<boolean> {
  await mkdir(root, { recursive: true });
  try {
    await mkdir(labPaths(lab, root).dir);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** All labs and remains of labs, by name. */
export async function findLabs(root = LAB_ROOT): Promise<FoundLab[]> {
  const folders = await readdir(root).catch(() => []);
  const states = new Map(await Promise.all(folders.map(async (name) => [name, await readLabState(name, root)] as const)));
  const existing = await listNetns();
  const owned = new Map(
    [...states].flatMap(([name, state]) => (state === undefined ? [] : namespacesOf(state).map((netns) => [netns, name] as const))),
  );
  const groups = groupByLab(existing, folders);
  return [...groups].map(([name, members]) => {
    const state = states.get(name);
    const netns = existing.filter((each) => (owned.has(each) ? owned.get(each) === name : members.includes(each)));
    return { name, netns, ...(state !== undefined && { state }) };
  });
}

/** The lab that a command means. @throws {UserError} saying which there are */
export async function chooseLab(name: string | undefined, root = LAB_ROOT): Promise<LabState> {
  const labs = await findLabs(root);
  const chosen = name === undefined && labs.length === 1 ? labs[0] : labs.find((lab) => lab.name === name);
  if (chosen?.state !== undefined) return chosen.state;
  if (chosen !== undefined)
    throw new UserError(`of lab ${chosen.name} only remains are left; clean up with: raven lab down --name ${chosen.name}`);
  if (labs.length === 0) throw new UserError('there is no lab; make one with: raven lab up mini');
  const names = labs.map((lab) => lab.name).join(', ');
  throw new UserError(
    name === undefined ? `there are several labs, choose one with --name: ${names}` : `there is no lab ${name}, but: ${names}`,
  );
}

/** All namespaces that a lab has when everything is switched on, the internet first. */
export function namespacesOf({ name, topology, kubernetes }: Pick<LabState, 'name' | 'topology' | 'kubernetes'>): string[] {
  const members = [
    INTERNET,
    ...(kubernetes === undefined ? [] : [CONTROL]),
    ...[...topology.routers, ...topology.nodes, ...topology.pods].map((each) => each.name),
  ];
  return members.map((member) => `raven-${name}-${member}`);
}
