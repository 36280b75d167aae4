import { access } from 'node:fs/promises';
import { dirname, extname, join } from 'node:path';
import { UserError } from '../lib/errors.ts';
import { labPaths } from './paths.ts';
import { CONTROL } from './plan/control.ts';
import { netnsName } from './plan/names.ts';
import { controlPrograms, dnsProgram, nodeKubePrograms } from './programs-kube.ts';
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
  readonly program:
    | 'etcd'
    | 'apiserver'
    | 'controller'
    | 'supervisor'
    | 'kubelet'
    | 'flanneld'
    | 'kube-proxy'
    | 'agent'
    | 'charon'
    | 'wireguard-go'
    | 'pod'
    | 'coredns';
  readonly node?: string;
  readonly netns?: string;
  readonly log: string;
  readonly pidFile: string;
  /** Absent for what others start: charon and wireguard-go are the agent's. */
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
  const { topology, kubernetes: kube } = lab;
  return [
    ...(kube === undefined ? [] : controlPrograms(lab, kube, root)),
    ...labPrograms(lab, programs, root),
    ...topology.nodes.flatMap((node) => [
      ...(kube === undefined ? [] : nodeKubePrograms(lab, kube, node, root)),
      ...nodePrograms(lab, programs, node.name, root),
    ]),
    ...topology.pods.map(({ name }) => podProgram(lab, programs, name, root)),
    ...(kube === undefined || topology.dns === undefined ? [] : [dnsProgram(lab, kube, topology.dns.pod, root)]),
  ];
}

function labPrograms(lab: LabState, programs: Programs, root?: string): LabProcess[] {
  const paths = labPaths(lab.name, root);
  // Where the API is: on its machine they need no network but their own.
  const home = lab.kubernetes === undefined ? {} : { netns: netnsName(lab.name, CONTROL) };
  const place = (program: string) => ({ log: paths.log(program), pidFile: paths.pid(program), ...home });
  const store = (program: string): string[] => ['--store', storeOf(lab, program, root)];
  return [
    { id: 'supervisor', program: 'supervisor', ...place('supervisor'), argv: script(programs, 'lab-supervisor', store('supervisor')) },
    {
      id: 'controller',
      program: 'controller',
      ...place('controller'),
      argv: script(programs, 'raven', ['controller', ...store('controller')]),
    },
  ];
}

function nodePrograms(lab: LabState, programs: Programs, node: string, root?: string): LabProcess[] {
  const lab_ = labPaths(lab.name, root);
  const paths = lab_.node(node);
  const netns = netnsName(lab.name, node);
  const place = (program: string) => ({ id: `${node}/${program}`, node, netns, log: paths.log(program), pidFile: paths.pid(program) });
  const options = (program: string) => ['--store', storeOf(lab, program, root, node), '--node', node];
  const driver = lab.vpnDriver === undefined ? [] : ['--vpn-driver', lab.vpnDriver];
  const forward = lab.forwardNodeIp ? ['--forward-node-ip', 'true'] : [];
  const agent = [
    'agent',
    ...options('agent'),
    '--psk-file',
    lab_.psk,
    '--state-dir',
    paths.state,
    '--run-dir',
    paths.run,
    ...driver,
    ...forward,
  ];
  return [
    { ...place('kubelet'), program: 'kubelet', argv: script(programs, 'kubelet', options('kubelet')) },
    { ...place('agent'), program: 'agent', argv: script(programs, 'raven', agent) },
    lab.vpnDriver === 'wireguard' ? { ...place('wireguard-go'), program: 'wireguard-go' } : { ...place('charon'), program: 'charon' },
  ];
}

/** What `--store` says for a program of the lab, or of one of its nodes: the folder of manifests, or the program's own kubeconfig. */
function storeOf(lab: LabState, program: string, root?: string, node?: string): string {
  const paths = labPaths(lab.name, root);
  if (lab.kubernetes === undefined) return `dir:${paths.store}`;
  return `kube:${node === undefined ? join(paths.control, `${program}.kubeconfig`) : paths.node(node).kubeconfig(program)}`;
}

function podProgram(lab: LabState, programs: Programs, pod: string, root?: string): LabProcess {
  const paths = labPaths(lab.name, root);
  const { socket, log, pid } = paths.pod(pod);
  const node = lab.topology.pods.find(({ name }) => name === pod)?.node;
  const zone = lab.topology.dns?.pod === pod && lab.kubernetes === undefined ? ['--dns-zone', paths.zone] : [];
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
