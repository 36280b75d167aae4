import { readFile, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setMaxListeners } from 'node:events';
import { labName } from './topology/schema.ts';
import { UserError } from '../lib/errors.ts';
import { findKubeBinaries, type KubeProgram, missingKubePrograms } from './control-plane/binaries.ts';
import { describeRemoved, upLab, type UpOptions } from './up.ts';
import { downLab } from './down.ts';
import { listLab } from './ls.ts';
import { formatListing } from './ls-text.ts';
import { kill, type LabTools, start } from './power.ts';
import { CONTROL } from './plan/control.ts';
import { isAlive } from './process-id.ts';
import { locatePrograms } from './programs.ts';
import { createProgress, type Progress } from './progress.ts';
import { runInside } from './run-inside.ts';
import { chooseLab, findLabs, type FoundLab, type LabState } from './state.ts';
import { parseTopology } from './topology/parse.ts';
import type { Topology } from './topology/resolve.ts';
import { waitUntilConnected } from './wait.ts';

export interface UpFlags {
  readonly name?: string;
  readonly vpnDriver?: string;
  readonly forwardNodeIp?: true;
  readonly raven: boolean;
  readonly wait: boolean;
  readonly replace?: boolean;
  readonly timeout: string;
  readonly store: string;
}

export interface LabFlags {
  readonly name?: string;
}

/** `raven lab up FILE` */
export async function upCommand(file: string, flags: UpFlags, env: NodeJS.ProcessEnv): Promise<void> {
  const timeoutMs = parseSeconds(flags.timeout);
  const entry = await programFile();
  const projectDir = join(dirname(entry), '..');
  const kubernetes = findKubernetes(flags.store, projectDir, env);
  const { topology, topologyFile } = await loadTopology(file, projectDir);
  if (kubernetes !== undefined && topology.ipv6 === 'on') {
    throw new UserError([{ source: file, message: 'has IPv6 networks, and labs with --store kube are IPv4 only' }]);
  }
  const name = flags.name === undefined ? topology.name : checkName(flags.name);
  const progress = createProgress(process.stderr);
  const interrupted = abortOnSignals(progress);
  progress.line(`lab ${name} from ${topologyFile}`);
  const { raven, vpnDriver, forwardNodeIp, wait, replace = false } = flags;
  const options = {
    name,
    topology,
    topologyFile,
    raven,
    replace,
    progress,
    signal: interrupted,
    programs: locatePrograms(process.execPath, entry),
  };
  const lab = await upLab({
    ...options,
    ...(vpnDriver !== undefined && { vpnDriver }),
    ...(forwardNodeIp && { forwardNodeIp }),
    ...(kubernetes !== undefined && { kubernetes }),
  });
  if (raven && wait) await waitCommand(lab, progress, timeoutMs, interrupted);
  progress.line(nextSteps(lab));
}

/** `raven lab down` */
export async function downCommand(flags: LabFlags & { readonly all?: boolean }): Promise<void> {
  const progress = createProgress(process.stderr);
  const names = flags.name === undefined ? await labsToTakeDown(flags.all ?? false) : [checkName(flags.name)];
  if (names.length === 0) progress.line('there is no lab');
  for (const name of names) {
    await progress.step(
      `lab ${name}`,
      () => downLab(name),
      (removed) => `lab ${name}: ${describeRemoved(removed)}`,
    );
  }
}

/** `raven lab ls` */
export async function lsCommand({ name, output }: LabFlags & { readonly output: string }): Promise<void> {
  if (!['text', 'json'].includes(output)) throw new UserError(`--output must be text or json, not ${output}`);
  const labs = await findLabs();
  for (const lab of labs.filter(({ state }) => state?.phase !== 'up')) process.stderr.write(`${await describeUnfinished(lab)}\n`);
  if (output === 'json') {
    process.stdout.write(`${JSON.stringify(await listLab(await chooseLab(name)), undefined, 2)}\n`);
    return;
  }
  const chosen = name === undefined ? labs.flatMap(({ state }) => state ?? []) : [await chooseLab(name)];
  if (labs.length === 0) process.stderr.write('there is no lab; make one with: raven lab up mini\n');
  for (const lab of chosen) process.stdout.write(`${formatListing(await listLab(lab))}\n`);
}

/** `raven lab exec NAME -- CMD…` */
export async function execCommand(member: string, argv: readonly string[], { name }: LabFlags, env: NodeJS.ProcessEnv): Promise<void> {
  process.exitCode = await runInside(await chooseLab(name), member, argv, env);
}

/** `raven lab kill|start NAME` */
export async function powerCommand(action: 'kill' | 'start', target: string, { name }: LabFlags): Promise<void> {
  const lab = await chooseLab(name);
  const tools: LabTools = { programs: locatePrograms(process.execPath, await programFile()) };
  process.stderr.write(`${await (action === 'kill' ? kill : start)(lab, target, tools)}\n`);
}

async function waitCommand(lab: LabState, progress: Progress, timeoutMs: number, signal: AbortSignal): Promise<void> {
  const onProgress = (text: string): void => progress.update(text);
  try {
    await progress.step(
      'connect the regions',
      async () => {
        const readiness = await waitUntilConnected(lab, { timeoutMs, signal, onProgress });
        if (!readiness.ready) throw new NotConnected(readiness.missing);
        return readiness;
      },
      (readiness) => readiness.progress,
    );
  } catch (error) {
    if (signal.aborted) {
      await progress.step('take down what was built', () => downLab(lab.name), describeRemoved);
      throw new UserError('interrupted; nothing is left behind');
    }
    if (!(error instanceof NotConnected)) throw error;
    progress.line(`not connected after ${timeoutMs / 1000} s:`);
    for (const line of error.missing) progress.line(`  ${line}`);
    progress.line(
      `the lab stays up; logs: ${lab.topology.nodes
        .map(({ name }) => `nodes/${name}/agent.log`)
        .slice(0, 3)
        .join(', ')} … in /run/raven-lab/${lab.name}`,
    );
    process.exitCode = 1;
  }
}

class NotConnected extends Error {
  override readonly name = 'NotConnected';
  readonly missing: readonly string[];

  constructor(missing: readonly string[]) {
    super('regions are not connected');
    this.missing = missing;
  }
}

/** What `--store kube` needs. @throws {UserError} for another word, or naming what is missing */
function findKubernetes(store: string, projectDir: string, env: NodeJS.ProcessEnv): UpOptions['kubernetes'] {
  if (store === 'dir') return undefined;
  if (store !== 'kube') throw new UserError([{ source: '--store', message: `must be dir or kube, not ${JSON.stringify(store)}` }]);
  const binaries = findKubeBinaries(env, projectDir);
  const pathOf = (program: KubeProgram): string => binaries.paths.get(program) ?? '';
  const missing = missingKubePrograms(binaries, ['etcd', 'kube-apiserver', 'kubectl', 'kube-proxy', 'flanneld', 'coredns']);
  if (missing.length > 0)
    throw new UserError(`--store kube needs ${missing.join(', ')}; build them once with: scripts/setup.sh kube (10 to 20 minutes)`);
  return {
    etcd: pathOf('etcd'),
    apiServer: pathOf('kube-apiserver'),
    kubectl: pathOf('kubectl'),
    kubeProxy: pathOf('kube-proxy'),
    flanneld: pathOf('flanneld'),
    coredns: pathOf('coredns'),
    manifestsDir: join(projectDir, 'deploy/manifests'),
  };
}

/** FILE is a path, or the name of a shipped topology. */
async function loadTopology(file: string, projectDir: string): Promise<{ topology: Topology; topologyFile: string }> {
  const isName = /^[a-z0-9-]+$/.test(file);
  const topologyFile = isName ? join(projectDir, 'topologies', `${file}.yaml`) : file;
  const text = await readFile(topologyFile, 'utf8').catch((error: NodeJS.ErrnoException) => {
    const hint = isName
      ? ` (shipped are: mini, rig, wide, ports, shared-lan, dual, six; a file of yours needs its path, such as ./${file})`
      : '';
    throw new UserError([{ source: file, message: `${error.code === 'ENOENT' ? 'there is no such topology' : error.message}${hint}` }]);
  });
  return { topology: parseTopology(text, topologyFile), topologyFile };
}

function nextSteps({ name, topology, raven, kubernetes }: LabState): string {
  const from = topology.pods.at(-1);
  const to = topology.pods[0];
  const option = `--name ${name}`;
  const statusCommand =
    kubernetes === undefined
      ? `  raven status --store dir:/run/raven-lab/${name}/store`
      : `  raven lab exec ${option} ${CONTROL} -- kubectl get gateways`;
  return [
    'try next:',
    `  raven lab ls ${option}`,
    ...(raven ? [`  raven lab matrix ${option}`, statusCommand] : [`  raven lab start ${topology.nodes[0]?.name}/agent ${option}`]),
    ...(from === undefined || to === undefined ? [] : [`  raven lab exec ${option} ${from.name} -- ping -c 3 ${to.ips[0]}`]),
    `  raven lab down ${option}`,
  ].join('\n');
}

async function describeUnfinished({ name, state, netns }: FoundLab): Promise<string> {
  if (state !== undefined && (await isAlive(state.builder))) return `lab ${name} is just being built by process ${state.builder.pid}`;
  return `lab ${name} was left over from a crash (${netns.length} namespaces); clean up with: raven lab down --name ${name}`;
}

async function labsToTakeDown(all: boolean): Promise<string[]> {
  const names = (await findLabs()).map(({ name }) => name);
  if (all || names.length <= 1) return names;
  throw new UserError(`there are several labs, choose one with --name, or all with --all: ${names.join(', ')}`);
}

function checkName(name: string): string {
  const result = labName.safeParse(name);
  if (!result.success) throw new UserError([{ source: '--name', message: result.error.issues.map(({ message }) => message).join('; ') }]);
  return name;
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (!(seconds > 0)) throw new UserError([{ source: '--timeout', message: `must be a number of seconds, not ${text}` }]);
  return seconds * 1000;
}

/** The bundle (or source file) that is running: all other programs are beside it. */
async function programFile(): Promise<string> {
  return realpath(process.argv[1] ?? '');
}

/** Ctrl-C lets what runs come to its end, then cleans up; more of them change nothing. */
function abortOnSignals(progress: Progress): AbortSignal {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      if (!controller.signal.aborted) progress.line('\ninterrupted: taking down what was built');
      controller.abort();
    });
  }
  return controller.signal;
}
