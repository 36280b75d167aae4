import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CommandError, hostExec } from '../drivers/exec/exec.ts';
import { UserError } from '../lib/errors.ts';
import { buildNamespaces } from './build.ts';
import { seedCluster, waitForApiServer, writeKubeFiles } from './control-plane/bring-up.ts';
import { forEachConcurrently } from './concurrent.ts';
import { downLab } from './down.ts';
import { checkHost } from './host.ts';
import { LAB_ROOT, labPaths } from './paths.ts';
import { planLab } from './plan/lab-plan.ts';
import { planManifests, planZone } from './plan/manifests.ts';
import { type LabTools, programsToStart, startInOrder } from './power.ts';
import { isAlive, lookUpProcess } from './process-id.ts';
import { startProcess } from './processes.ts';
import { checkPrograms } from './programs.ts';
import type { Progress } from './progress.ts';
import { claimLabFolder, findLabs, type KubePrograms, type LabState, namespacesOf, writeLabState } from './state.ts';
import type { Topology } from './topology/resolve.ts';
import { waitUntilNodesReady } from './wait.ts';

export interface UpOptions extends LabTools {
  readonly name: string;
  readonly topology: Topology;
  readonly topologyFile: string;
  readonly raven: boolean;
  readonly vpnDriver?: string;
  readonly forwardNodeIp?: true;
  /** A real API server instead of a folder of manifests. */
  readonly kubernetes?: KubePrograms & { readonly manifestsDir: string };
  /** Take down what has the same name. */
  readonly replace: boolean;
  readonly progress: Progress;
  /** How long to wait for heartbeats of all nodes before the controller starts. */
  readonly nodesReadyTimeoutMs?: number;
  /** Aborting takes down what was built so far. */
  readonly signal: AbortSignal;
}

/** How many programs start at a time: each wants a processor for itself for a moment. */
const START_CONCURRENCY = 4;
/** Generous: heartbeats come each second; under software emulation a program takes seconds to start. */
const NODES_READY_TIMEOUT_MS = 120_000;

/**
 * Builds a lab and starts its programs; does not wait for tunnels.
 * @throws {UserError} when the name is taken, or the machine is not fit; nothing is left behind then, nor after any other failure
 */
export async function upLab(options: UpOptions): Promise<LabState> {
  const { name, topology, root = LAB_ROOT, progress, replace } = options;
  await checkHost(topology);
  await checkPrograms(options.programs);
  if (replace) await progress.step(`take down lab ${name}`, () => downLab(name, options), describeRemoved);
  await claimName(name, root);
  try {
    return await build(options, root);
  } catch (error) {
    await progress.step(`take down what was built`, () => downLab(name, options), describeRemoved);
    if (options.signal.aborted) throw new UserError('interrupted; nothing is left behind', { cause: error });
    throw error instanceof CommandError
      ? new UserError(`this machine cannot carry the lab: ${error.message.trim()}`, { cause: error })
      : error;
  }
}

export function describeRemoved({ processes, namespaces }: { processes: number; namespaces: number }): string {
  return processes + namespaces === 0 ? 'nothing was running' : `${processes} processes ended, ${namespaces} namespaces deleted`;
}

/** Says what a lab of this name is: being built, up, or remains. */
async function claimName(name: string, root: string): Promise<void> {
  const lab = (await findLabs(root)).find((each) => each.name === name);
  if (lab === undefined && (await claimLabFolder(name, root))) return;
  const clean = `raven lab down --name ${name}`;
  const state = lab?.state;
  if (state?.phase === 'building' && (await isAlive(state.builder)))
    throw new UserError(`lab ${name} is just being built by process ${state.builder.pid}`);
  const missing = state?.phase === 'up' ? namespacesOf(state).filter((netns) => !lab?.netns.includes(netns)) : [];
  if (state?.phase === 'up' && missing.length < namespacesOf(state).length) {
    throw new UserError(`lab ${name} is up already; take it down with: ${clean} (or use --replace, or another --name)`);
  }
  throw new UserError(
    `lab ${name} was left over from a crash (${lab?.netns.length ?? 0} namespaces); clean up with: ${clean} (or use --replace)`,
  );
}

async function build(options: UpOptions, root: string): Promise<LabState> {
  const { name, topology, topologyFile, raven, vpnDriver, forwardNodeIp, kubernetes, progress, signal, exec = hostExec } = options;
  const state: LabState = {
    version: 1,
    name,
    phase: 'building',
    builder: (await lookUpProcess(process.pid)) ?? { pid: process.pid, startTime: '0' },
    createdAt: new Date().toISOString(),
    topologyFile,
    topology,
    raven,
    ...(vpnDriver !== undefined && { vpnDriver }),
    ...(forwardNodeIp && { forwardNodeIp }),
    ...(kubernetes !== undefined && { kubernetes }),
  };
  await writeLabState(state, root);
  await writeFiles(state, root);
  const kubeLab = kubernetes && { lab: state, kube: kubernetes, root, exec, manifestsDir: kubernetes.manifestsDir };
  const controlPlane = kubeLab && (await writeKubeFiles(kubeLab));
  const programs = programsToStart(state, options);
  const controller = programs.filter(({ program }) => program === 'controller');
  const outside = programs.filter(({ netns, program }) => netns === undefined && program !== 'controller');
  // These need no namespaces: they get ready while the network is built.
  await forEachConcurrently(outside, START_CONCURRENCY, async (each) => void (await startProcess(each)));
  const plans = planLab(topology, name, kubernetes !== undefined);
  await progress.step(
    'build the network',
    () => buildNamespaces(exec, plans),
    () => describeNetwork(topology, plans.length),
  );
  signal.throwIfAborted();
  const ofApi = programs.filter(({ program }) => program === 'etcd' || program === 'apiserver');
  const inside = programs.filter((each) => each.netns !== undefined && !ofApi.includes(each) && !controller.includes(each));
  if (kubeLab !== undefined && controlPlane !== undefined) {
    for (const each of ofApi) await startProcess(each);
    await progress.step(
      'start the API server',
      () => waitForApiServer(kubeLab, signal),
      () => controlPlane.url,
    );
    await progress.step(
      'make nodes, pods, services and gateways',
      () => seedCluster(kubeLab, controlPlane),
      () => `${topology.nodes.length} nodes, ${topology.pods.length} pods, ${topology.services.length} services`,
    );
  }
  await progress.step(
    'start programs',
    () =>
      startInOrder(state, inside).then(async () => {
        signal.throwIfAborted();
        // As in a cluster that Raven comes to: the nodes are Ready before anybody elects among them.
        await waitUntilNodesReady(
          { ...state, phase: 'up' },
          { root, exec, timeoutMs: options.nodesReadyTimeoutMs ?? NODES_READY_TIMEOUT_MS, signal },
        );
        for (const each of controller) await startProcess(each);
      }),
    () => describePrograms(programs),
  );
  const up: LabState = { ...state, phase: 'up' };
  await writeLabState(up, root);
  signal.throwIfAborted();
  return up;
}

async function writeFiles({ name, topology }: LabState, root: string): Promise<void> {
  const paths = labPaths(name, root);
  await mkdir(paths.store);
  await mkdir(paths.control, { mode: 0o700 });
  const files: [string, string, number][] = [
    ...Object.entries(planManifests(topology, Date.now())).map(([file, text]): [string, string, number] => [
      join(paths.store, file),
      text,
      0o644,
    ]),
    [paths.zone, planZone(topology), 0o644],
    [paths.psk, `${randomBytes(32).toString('base64')}\n`, 0o600],
  ];
  for (const [file, text, mode] of files) await writeFile(file, text, { mode });
  for (const node of topology.nodes) await mkdir(paths.node(node.name).state, { recursive: true });
  for (const pod of topology.pods) await mkdir(paths.pod(pod.name).dir, { recursive: true });
}

function describeNetwork({ regions, routers, nodes, pods }: Topology, namespaces: number): string {
  const nats = routers.filter(({ nat }) => nat !== 'none').length;
  return `${regions.length} regions, ${nodes.length} nodes, ${pods.length} pods, ${nats} NATs in ${namespaces} namespaces`;
}

function describePrograms(programs: readonly { program: string }[]): string {
  const counts = Map.groupBy(programs, ({ program }) => program);
  return [...counts].map(([program, { length }]) => (length === 1 ? program : `${length} ${program}s`)).join(', ');
}
