import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { createAgentMetrics } from '../src/agent/agent-metrics.ts';
import { openCluster } from '../src/agent/open-cluster.ts';
import type { TunnelEndpoint } from '../src/api/tunnel-endpoint.ts';
import type { ClusterStore } from '../src/store/cluster-store.ts';
import type { KubeClient } from '../src/store/kube/kube-client.ts';
import { installCrds, startApiServer, whyNoApiServer } from '../test/kube/api-server.ts';
import { createObject, openClient } from '../test/kube/clients.ts';
import { startTcpProxy, type TcpProxy } from '../test/kube/tcp-proxy.ts';
import { syntheticGateways } from './synthetic.ts';
import { printTable, round } from './table.ts';

const REGIONS = 100;
/** Twice the time between two bookmarks of a watch. */
const IDLE_S = 120;
const NODE = 'region-1-node-0';

interface Traffic {
  readonly requests: number;
  readonly sentBytes: number;
  readonly receivedBytes: number;
}

/**
 * What one agent asks of the API server: the store of an agent, opened as it does, with everything that it watches and writes; against a real
 * kube-apiserver, counted on the wire (TLS included, TCP and IP headers not).
 */
export async function benchKubeRequests(): Promise<void> {
  const missing = whyNoApiServer();
  if (missing !== undefined) {
    process.stdout.write(`bench: skipped kube-requests: ${missing}\n`);
    return;
  }
  const server = await startApiServer();
  const proxy = await startTcpProxy(server.port);
  const stateDir = await mkdtemp(join(tmpdir(), 'rvbench-'));
  const admin = await openClient(server.adminKubeconfig);
  try {
    await installCrds(server.adminKubeconfig);
    for (const gateway of syntheticGateways(REGIONS)) await createObject(admin, gateway);
    for (let i = 0; i < REGIONS; i++) await createObject(admin, tunnelEndpoint(`region-${i}-node-0`));
    const kubeconfig = join(stateDir, 'kubeconfig');
    await writeFile(kubeconfig, (await readFile(server.adminKubeconfig, 'utf8')).replace(`:${server.port}`, `:${proxy.port}`));
    await measure({ admin, proxy, kubeconfig, stateDir });
  } finally {
    await admin.close();
    await proxy.close();
    await server.stop();
    await rm(stateDir, { recursive: true, force: true });
  }
}

interface Parts {
  readonly admin: KubeClient;
  readonly proxy: TcpProxy;
  readonly kubeconfig: string;
  readonly stateDir: string;
}

async function measure({ admin, proxy, kubeconfig, stateDir }: Parts): Promise<void> {
  const metrics = createAgentMetrics();
  let requests = 0;
  const onRequest = (record: Parameters<typeof metrics.onRequest>[0]): void => {
    if (record.verb !== 'WATCH') requests++;
  };
  const now = (): Traffic => ({ requests, sentBytes: proxy.sentBytes, receivedBytes: proxy.receivedBytes });
  const rows: string[][] = [];
  const row = async (title: string, work: () => Promise<unknown>, minutes?: number): Promise<void> => {
    const before = now();
    await work();
    const after = now();
    const per = (a: number, b: number): string => round((b - a) / (minutes ?? 1), minutes === undefined ? 0 : 1);
    rows.push([
      title,
      per(before.requests, after.requests),
      per(before.sentBytes, after.sentBytes),
      per(before.receivedBytes, after.receivedBytes),
    ]);
  };

  const log = pino({ level: 'silent' });
  const store = await openCluster({ store: `kube:${kubeconfig}`, stateDir, env: {}, metrics: { ...metrics, onRequest }, log });
  try {
    const heard = new Map<string, number>();
    await row(`start (${REGIONS} Gateways, ${REGIONS} TunnelEndpoints)`, () => follow(store, heard));
    // What the start leaves behind: the answers' last bytes.
    await sleep(1_000);
    await row('idle, per minute', () => sleep(IDLE_S * 1000), IDLE_S / 60);
    await row(`${REGIONS} Gateways changed in a burst`, () => changeAll(admin, heard));
    const own = (await store.get('TunnelEndpoint', NODE)) ?? tunnelEndpoint(NODE);
    const links = [{ peer: 'region-2-node-0', gateway: 'region-2', state: 'Up' as const, path: 'direct' as const }];
    await row('it publishes that a link came up', () =>
      store.updateStatus('TunnelEndpoint', { ...own, status: { links, conditions: [] } }),
    );
    await sleep(1_000);
  } finally {
    await store.close();
  }
  printTable(
    'API requests of one agent, and bytes on the wire (beside the requests: two watches, opened again every 5 to 10 minutes)',
    ['', 'requests', 'bytes sent', 'bytes received'],
    rows,
  );
}

/** Resolves when the first objects of both kinds are there. */
async function follow(store: ClusterStore, heard: Map<string, number>): Promise<void> {
  await Promise.all(
    (['Gateway', 'TunnelEndpoint'] as const).map(
      (kind) =>
        new Promise<void>((resolve) => {
          store.watch(kind, (event) => {
            if (event.type === 'synced') resolve();
            if (event.type === 'set') {
              const key = `${kind} ${event.object.metadata.name}`;
              heard.set(key, (heard.get(key) ?? 0) + 1);
            }
          });
        }),
    ),
  );
}

/** A label on each Gateway, as `kubectl label gateway --all` does. Resolves when the agent has heard of all. */
async function changeAll(admin: KubeClient, heard: Map<string, number>): Promise<void> {
  heard.clear();
  const body = { metadata: { labels: { touched: 'yes' } } };
  for (const { metadata } of syntheticGateways(REGIONS)) {
    const path = `/apis/raven.openyurt.io/v1beta1/gateways/${metadata.name}`;
    await admin.request({ method: 'PATCH', path, contentType: 'application/merge-patch+json', body });
  }
  while (heard.size < REGIONS) await sleep(10);
}

function tunnelEndpoint(name: string): TunnelEndpoint {
  return {
    apiVersion: 'raven.openyurt.io/v1beta1',
    kind: 'TunnelEndpoint',
    metadata: { name },
    spec: {
      gateway: name.replace(/-node-\d+$/, ''),
      nodeName: name,
      driver: 'ipsec',
      dataPath: 'kernel',
      port: 4500,
      underlayMtu: 1500,
      addresses: [],
    },
  };
}
