import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { gatewayCrd, tunnelEndpointCrd } from '../../src/api/crd.ts';
import { findKubeBinaries, type KubeBinaries, missingKubePrograms } from '../../src/lab/control-plane/binaries.ts';
import { type ControlPlane, prepareControlPlane } from '../../src/lab/control-plane/control-plane.ts';

export const CHECKOUT = fileURLToPath(new URL('../..', import.meta.url));
/** Under load an API server takes tens of seconds to start. */
const START_DEADLINE_MS = 180_000;
const STOP_DEADLINE_MS = 20_000;

export function kubeBinaries(): KubeBinaries {
  return findKubeBinaries(process.env, CHECKOUT);
}

/** Why there can be no API server here; undefined when there can. */
export function whyNoApiServer(): string | undefined {
  const missing = missingKubePrograms(kubeBinaries(), ['etcd', 'kube-apiserver']);
  return missing.length === 0 ? undefined : `${missing.join(', ')} not found: run scripts/setup.sh kube, or set KUBEBUILDER_ASSETS`;
}

/** A real etcd and kube-apiserver on loopback, ended by `stop`. */
export interface ApiServer extends ControlPlane {
  readonly dir: string;
  readonly port: number;
  readonly etcdPort: number;
  /** Ends the API server only: `SIGKILL` unless said; etcd keeps its data. */
  killApiServer(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same port, and waits until it is ready. */
  restartApiServer(): Promise<void>;
  stop(): Promise<void>;
}

/** @throws when the programs are not there (ask `whyNoApiServer` first), or the server does not get ready; nothing is left then */
export async function startApiServer(): Promise<ApiServer> {
  const { paths } = kubeBinaries();
  const etcd = paths.get('etcd');
  const apiServer = paths.get('kube-apiserver');
  if (etcd === undefined || apiServer === undefined) throw new Error(whyNoApiServer());
  const dir = await mkdtemp(join(tmpdir(), 'raven-kube-'));
  const [port, clientPort, peerPort] = await freePorts(3);
  const controlPlane = await prepareControlPlane({
    dir,
    etcd,
    apiServer,
    address: '127.0.0.1',
    port,
    etcdPorts: [clientPort, peerPort],
    serviceCidr: '10.96.0.0/16',
    serviceIp: '10.96.0.1',
    advertise: false,
  });
  const etcdProcess = start(controlPlane.etcdArgv, join(dir, 'etcd.log'));
  let server = start(controlPlane.apiServerArgv, join(dir, 'kube-apiserver.log'));
  // Neither outlives a test process that is interrupted.
  const killBoth = (): void => {
    etcdProcess.kill('SIGKILL');
    server.kill('SIGKILL');
  };
  process.once('exit', killBoth);

  async function stop(): Promise<void> {
    await end(server, 'SIGKILL');
    await end(etcdProcess, 'SIGKILL');
    process.off('exit', killBoth);
    await rm(dir, { recursive: true, force: true });
  }

  async function waitUntilReady(): Promise<void> {
    const deadline = Date.now() + START_DEADLINE_MS;
    while (!(await isReady(controlPlane))) {
      if (server.exitCode !== null || Date.now() > deadline) {
        throw new Error(`kube-apiserver does not get ready:\n${readFileSync(join(dir, 'kube-apiserver.log'), 'utf8').slice(-4000)}`);
      }
      await sleep(100);
    }
  }

  try {
    await waitUntilReady();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    ...controlPlane,
    dir,
    port,
    etcdPort: clientPort,
    killApiServer: (signal = 'SIGKILL') => end(server, signal),
    restartApiServer: async () => {
      server = start(controlPlane.apiServerArgv, join(dir, 'kube-apiserver.log'));
      await waitUntilReady();
    },
    stop,
  };
}

/** Runs kubectl as administrator. @returns stdout @throws with kubectl's own words when it fails */
export async function kubectl(kubeconfigFile: string, args: readonly string[], stdin = ''): Promise<string> {
  const file = kubeBinaries().paths.get('kubectl');
  if (file === undefined) throw new Error('kubectl not found: run scripts/setup.sh kube');
  const child = spawn(file, ['--kubeconfig', kubeconfigFile, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  const chunks = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (chunks.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (chunks.stderr += text));
  child.stdin.end(stdin);
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${chunks.stderr.trim() || `exit code ${code}`}`);
  return chunks.stdout;
}

/** Installs Raven's kinds and waits until they are served; without conversion, since no controller runs. */
export async function installCrds(kubeconfigFile: string): Promise<void> {
  const crds = [gatewayCrd('none'), tunnelEndpointCrd()];
  await kubectl(kubeconfigFile, ['apply', '--server-side', '-f', '-'], crds.map((crd) => JSON.stringify(crd)).join('\n---\n'));
  const names = crds.map(({ metadata }) => `crd/${metadata.name}`);
  await kubectl(kubeconfigFile, ['wait', '--for=condition=Established', '--timeout=60s', ...names]);
}

/** Ports of 127.0.0.1 that were free a moment ago. */
export async function freePorts<N extends number>(count: N): Promise<N extends 3 ? [number, number, number] : number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports as never;
}

function start([file, ...args]: readonly [string, ...string[]], log: string): ChildProcess {
  const output = openSync(log, 'a');
  const child = spawn(file, args, { stdio: ['ignore', output, output] });
  closeSync(output);
  return child;
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS);
  await exited;
  clearTimeout(timer);
}

async function isReady({ url, ca }: ControlPlane): Promise<boolean> {
  return new Promise((resolve) => {
    const asked = request(`${url}/readyz`, { ca: ca.certificate, timeout: 5000, agent: false }, (answer) => {
      answer.resume();
      resolve(answer.statusCode === 200);
    });
    asked.on('error', () => resolve(false));
    asked.on('timeout', () => asked.destroy());
    asked.end();
  });
}
