import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Node } from '../src/api/core.ts';
import { type Gateway, gatewaySchema } from '../src/api/gateway.ts';
import type { KubeClient } from '../src/store/kube/kube-client.ts';
import { resourcePath } from '../src/store/kube/resource-path.ts';
import { installCrds, startApiServer, whyNoApiServer } from '../test/kube/api-server.ts';
import { createObject, openClient } from '../test/kube/clients.ts';
import { eventually } from '../test/lab/harness.ts';
import { NODES_PER_REGION, syntheticGateways } from './synthetic.ts';
import { median, percentile, printTable, round } from './table.ts';

const RAVEN = fileURLToPath(new URL('../bin/raven', import.meta.url));
const REGIONS = 1000;
const CHANGES = 100;
/** As many requests as the API server takes from one client at a time without queueing. */
const WRITERS = 16;

/** The controller on a real API server: its first pass over all regions, what one change costs, and its memory. */
export async function benchKubeController(): Promise<void> {
  const missing = whyNoApiServer();
  if (missing !== undefined) {
    process.stdout.write(`bench: skipped kube-controller: ${missing}\n`);
    return;
  }
  const server = await startApiServer();
  const admin = await openClient(server.adminKubeconfig);
  try {
    await installCrds(server.adminKubeconfig);
    await seed(admin);
    const rows = await measure(admin, server.adminKubeconfig);
    const what = `${REGIONS} Gateways with ${NODES_PER_REGION} Nodes each`;
    printTable(`Controller on a real API server, ${what} (server and controller share two processors)`, ['', 'value'], rows);
  } finally {
    await admin.close();
    await server.stop();
  }
}

async function seed(admin: KubeClient): Promise<void> {
  const gateways = syntheticGateways(REGIONS);
  // As a user writes them: the status is the controller's work.
  const written = gateways.map((gateway) => gatewaySchema.parse({ ...gateway, status: undefined }));
  const objects: (Gateway | Node)[] = [...gateways.flatMap(nodesOf), ...written];
  const next = objects.values();
  await Promise.all(
    Array.from({ length: WRITERS }, async () => {
      for (const object of next) await createObject(admin, object);
    }),
  );
}

function nodesOf({ metadata, status }: Gateway): Node[] {
  return (status?.nodes ?? []).map(({ nodeName, privateIP, subnets }) => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: nodeName, labels: { 'raven.openyurt.io/gateway': metadata.name } },
    spec: { podCIDR: subnets[0], podCIDRs: subnets },
    status: {
      addresses: [{ type: 'InternalIP', address: privateIP }],
      conditions: [{ type: 'Ready', status: 'True', reason: '', message: '' }],
    },
  }));
}

async function measure(admin: KubeClient, kubeconfig: string): Promise<string[][]> {
  const started = performance.now();
  const argv = [
    'controller',
    '--store',
    `kube:${kubeconfig}`,
    '--metrics-bind-address',
    '0',
    '--health-bind-address',
    '0',
    '--webhook-port',
    '0',
  ];
  const controller = spawn(RAVEN, argv, { stdio: ['ignore', 'ignore', 'pipe'] });
  const lines = createInterface({ input: controller.stderr });
  try {
    await new Promise<void>((resolve, reject) => {
      lines.on('line', (line) => line.includes('all Gateways are up to date') && resolve());
      controller.once('exit', (code) => reject(new Error(`the controller ended with exit code ${code}`)));
    });
    const firstPassMs = performance.now() - started;
    const firstCpuMs = await cpuMs(controller.pid);
    const times: number[] = [];
    for (let i = 0; i < CHANGES; i++) times.push(await change(admin, i));
    const perChangeMs = ((await cpuMs(controller.pid)) - firstCpuMs) / CHANGES;
    const status = await readFile(`/proc/${controller.pid}/status`, 'utf8');
    const mib = (key: string): string => round(Number(new RegExp(`${key}:\\s+(\\d+)`).exec(status)?.[1]) / 1024);
    return [
      ['start to every status written, s', round(firstPassMs / 1000)],
      ['its CPU, s', round(firstCpuMs / 1000)],
      [`one Gateway changed to its status, ms: median of ${CHANGES}`, round(median(times), 0)],
      ['… p95', round(percentile(times, 0.95), 0)],
      ['… CPU ms a change', round(perChangeMs)],
      ['resident / peak MiB', `${mib('VmRSS')} / ${mib('VmHWM')}`],
    ];
  } finally {
    lines.close();
    const ended = once(controller, 'exit');
    controller.kill('SIGKILL');
    await ended;
  }
}

/** Gives a region one more CIDR. @returns ms until its status says so, polled each 5 ms */
async function change(admin: KubeClient, i: number): Promise<number> {
  const path = resourcePath('Gateway', `region-${i}`);
  const cidr = `172.30.${i}.0/24`;
  const body = { metadata: { annotations: { 'raven.openyurt.io/extra-allowed-source-cidrs': cidr } } };
  const started = performance.now();
  await admin.request({ method: 'PATCH', path, contentType: 'application/merge-patch+json', body });
  const written = async (): Promise<boolean> => {
    const { status } = await admin.request<Gateway>({ method: 'GET', path });
    return status?.nodes.some(({ subnets }) => subnets.includes(cidr)) === true;
  };
  await eventually('the status says so', written, 60_000, 5);
  return performance.now() - started;
}

/** User and system time of a process (proc(5), `stat` fields 14 and 15, 100 a second). */
async function cpuMs(pid: number | undefined): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).replace(/^.*\) /, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
