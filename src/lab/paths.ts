import { join } from 'node:path';

/** Where all labs of this machine keep their state; gone after a reboot, as their namespaces are. */
export const LAB_ROOT = '/run/raven-lab';

/** The files of one lab. Other programs find them through `raven lab ls -o json`. */
export interface LabPaths {
  readonly dir: string;
  readonly state: string;
  readonly store: string;
  readonly psk: string;
  readonly zone: string;
  /** Of a lab on Kubernetes: keys, kubeconfigs and data of the API server and etcd. */
  readonly control: string;
  /** Kubeconfig of the cluster's administrator. */
  readonly adminKubeconfig: string;
  /** Log and pid file of a program of the lab itself: controller or supervisor. */
  log(program: string): string;
  pid(program: string): string;
  node(name: string): NodePaths;
  pod(name: string): PodPaths;
}

export interface NodePaths {
  readonly dir: string;
  /** What the agent keeps over a reboot. */
  readonly state: string;
  /** Pid files and sockets of the agent: gone after a power loss. */
  readonly run: string;
  log(program: string): string;
  pid(program: string): string;
  /** Of a program of a lab on Kubernetes. */
  kubeconfig(program: string): string;
}

export interface PodPaths {
  readonly dir: string;
  readonly socket: string;
  readonly log: string;
  readonly pid: string;
}

export function labPaths(lab: string, root = LAB_ROOT): LabPaths {
  const dir = join(root, lab);
  return {
    dir,
    state: join(dir, 'lab.json'),
    store: join(dir, 'store'),
    psk: join(dir, 'psk'),
    zone: join(dir, 'zone.json'),
    control: join(dir, 'control'),
    adminKubeconfig: join(dir, 'control/admin.kubeconfig'),
    log: (program) => join(dir, `${program}.log`),
    pid: (program) => join(dir, `${program}.pid`),
    node: (name) => nodePaths(join(dir, 'nodes', name)),
    pod: (name) => podPaths(join(dir, 'pods', name)),
  };
}

function nodePaths(dir: string): NodePaths {
  const run = join(dir, 'run');
  // The files of charon and wireguard-go are the agent's, which keeps them in its run directory.
  const place = (program: string): string => (['charon', 'wireguard-go'].includes(program) ? run : dir);
  return {
    dir,
    state: join(dir, 'state'),
    run,
    log: (program) => join(place(program), `${program}.log`),
    pid: (program) => join(place(program), `${program}.pid`),
    kubeconfig: (program) => join(dir, `${program}.kubeconfig`),
  };
}

function podPaths(dir: string): PodPaths {
  return { dir, socket: join(dir, 'pod.sock'), log: join(dir, 'pod.log'), pid: join(dir, 'pod.pid') };
}
