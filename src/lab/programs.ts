import { access } from 'node:fs/promises';
import { dirname, extname, join } from 'node:path';
import { UserError } from '../lib/errors.ts';
import { labPaths } from './paths.ts';
import { netnsName } from './plan/names.ts';
import type { LabState } from './state.ts';

/** Where the programs of a lab are. */
export interface Programs {
  readonly node: string;
  /** Folder of raven.js, kubelet.js, lab-supervisor.js, pod.js. */
  readonly dir: string;
  /** `.js`, or `.ts` when run from source. */
  readonly extension: string;
}

/** A program of the lab: what it is, how to start it, and where its traces are. */
export interface LabProcess {
  /** As `lab kill` and `lab start` take it: `controller`, `b1/agent`, `pod-b1/pod`. */
  readonly id: string;
  readonly program: 'controller' | 'supervisor' | 'kubelet' | 'agent' | 'charon' | 'pod';
  readonly node?: string;
  readonly netns?: string;
  readonly log: string;
  readonly pidFile: string;
  /** Absent for what others start: charon is the agent's. */
  readonly argv?: readonly [string, ...string[]];
}

/** @param entry file of the running program, all others are beside it */
export function locatePrograms(node: string, entry: string): Programs {
  return { node, dir: dirname(entry), extension: extname(entry) };
}

/** @throws {UserError} naming what is not built */
export async function checkPrograms({ dir, extension }: Programs): Promise<void> {
  for (const name of ['raven', 'kubelet', 'lab-supervisor', 'pod']) {
    const file = join(dir, `${name}${extension}`);
    await access(file).catch(() => {
      throw new UserError(`${file} is missing: run \`make build\` first`);
    });
  }
}

/** All programs of a lab, in the order in which they are started. Pure. */
export function listProcesses(lab: LabState, programs: Programs, root?: string): LabProcess[] {
  const { topology } = lab;
  return [
    ...labPrograms(lab, programs, root),
    ...topology.nodes.flatMap(({ name }) => nodePrograms(lab, programs, name, root)),
    ...topology.pods.map(({ name }) => podProgram(lab, programs, name, root)),
  ];
}

function labPrograms(lab: LabState, programs: Programs, root?: string): LabProcess[] {
  const paths = labPaths(lab.name, root);
  const place = (program: string) => ({ log: paths.log(program), pidFile: paths.pid(program) });
  const store = ['--store', `dir:${paths.store}`];
  return [
    { id: 'supervisor', program: 'supervisor', ...place('supervisor'), argv: script(programs, 'lab-supervisor', store) },
    { id: 'controller', program: 'controller', ...place('controller'), argv: script(programs, 'raven', ['controller', ...store]) },
  ];
}

function nodePrograms(lab: LabState, programs: Programs, node: string, root?: string): LabProcess[] {
  const lab_ = labPaths(lab.name, root);
  const paths = lab_.node(node);
  const netns = netnsName(lab.name, node);
  const place = (program: string) => ({ id: `${node}/${program}`, node, netns, log: paths.log(program), pidFile: paths.pid(program) });
  const options = ['--store', `dir:${lab_.store}`, '--node', node];
  const driver = lab.vpnDriver === undefined ? [] : ['--vpn-driver', lab.vpnDriver];
  const agent = ['agent', ...options, '--psk-file', lab_.psk, '--state-dir', paths.state, '--run-dir', paths.run, ...driver];
  return [
    { ...place('kubelet'), program: 'kubelet', argv: script(programs, 'kubelet', options) },
    { ...place('agent'), program: 'agent', argv: script(programs, 'raven', agent) },
    { ...place('charon'), program: 'charon' },
  ];
}

function podProgram(lab: LabState, programs: Programs, pod: string, root?: string): LabProcess {
  const paths = labPaths(lab.name, root);
  const { socket, log, pid } = paths.pod(pod);
  const node = lab.topology.pods.find(({ name }) => name === pod)?.node;
  const zone = lab.topology.dns?.pod === pod ? ['--dns-zone', paths.zone] : [];
  return {
    id: `${pod}/pod`,
    program: 'pod',
    ...(node !== undefined && { node }),
    netns: netnsName(lab.name, pod),
    log,
    pidFile: pid,
    argv: script(programs, 'pod', ['--name', pod, '--socket', socket, ...zone]),
  };
}

function script({ node, dir, extension }: Programs, name: string, args: readonly string[]): [string, ...string[]] {
  return [node, join(dir, `${name}${extension}`), ...args];
}
