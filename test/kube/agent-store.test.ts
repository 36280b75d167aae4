import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { createAgentMetrics } from '../../src/agent/agent-metrics.ts';
import { openCluster } from '../../src/agent/open-cluster.ts';
import { createPublisher } from '../../src/agent/publisher.ts';
import type { Kind } from '../../src/api/kinds.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { ClusterStore } from '../../src/store/cluster-store.ts';
import { gateway, record, tunnelEndpoint } from '../../src/store/conformance.ts';
import type { KubeClient } from '../../src/store/kube/kube-client.ts';
import { type ApiServer, installCrds, kubectl, startApiServer } from './api-server.ts';
import { createObject, openClient } from './clients.ts';

const { missing } = inject('kube');
const PATIENCE = { timeout: 60_000, interval: 20 };
const log = pino({ level: 'silent' });

/** What an agent has of the cluster: R22, "b1's agent killed and started without API: peers back from disk ≤ 5 s". */
describe.skipIf(missing !== undefined)('the store of an agent, on a real API server', () => {
  let server: ApiServer;
  let stateDir: string;
  let client: KubeClient;
  const opened: ClusterStore[] = [];

  beforeAll(async () => {
    stateDir = await mkdtemp(join(tmpdir(), 'raven-agent-store-'));
    server = await startApiServer();
    await installCrds(server.adminKubeconfig);
    client = await openClient(server.adminKubeconfig);
    for (const name of ['cloud', 'edge', 'shop']) await createObject(client, { ...gateway, metadata: { name } });
  });

  afterAll(async () => {
    for (const store of opened) await store.close();
    await client?.close();
    await server?.stop();
    await rm(stateDir, { recursive: true, force: true });
  });

  async function open() {
    const metrics = createAgentMetrics();
    const store = await openCluster({ store: `kube:${server.adminKubeconfig}`, stateDir, env: {}, metrics, log });
    opened.push(store);
    const text = (): Promise<string> => metrics.registry.metrics();
    return { store, text };
  }

  async function synced(store: ClusterStore, kind: Kind): Promise<string[]> {
    const { words } = record(store, kind);
    await vi.waitFor(() => expect(words).toContain('synced'), PATIENCE);
    return words;
  }

  it('starts from disk when the API is away, and goes on with the truth when it is back, publishing what it had to say', async () => {
    const before = await open();
    expect((await synced(before.store, 'Gateway')).toSorted()).toEqual(['set cloud', 'set edge', 'set shop', 'synced']);
    await synced(before.store, 'TunnelEndpoint');
    expect(await before.text()).toContain('raven_agent_mirror_used{kind="Gateway"} 0');
    await before.store.close();

    // While the agent is away one region goes, one changes; then the API goes, too.
    await kubectl(server.adminKubeconfig, ['delete', 'gateway', 'shop']);
    await kubectl(server.adminKubeconfig, ['annotate', 'gateway', 'edge', 'raven.openyurt.io/extra-allowed-source-cidrs=192.0.2.0/24']);
    await server.killApiServer();

    const startedAt = performance.now();
    const { store, text } = await open();
    const words = await synced(store, 'Gateway');
    const endpoints = await synced(store, 'TunnelEndpoint');
    const seconds = (performance.now() - startedAt) / 1000;
    process.stdout.write(`objects from disk without an API server: ${seconds.toFixed(2)} s after the start\n`);
    expect(seconds).toBeLessThan(5);
    expect(words).toEqual(['set cloud', 'set edge', 'set shop', 'synced']);
    expect(endpoints).toEqual(['synced']);
    expect(await text()).toContain('raven_agent_mirror_used{kind="Gateway"} 1');

    const publisher = createPublisher({ node: 'a1', store, clock: systemClock, log });
    publisher.set({ ...tunnelEndpoint, spec: { ...tunnelEndpoint.spec, port: 4501 } }, undefined);
    publisher.set({ ...tunnelEndpoint, spec: { ...tunnelEndpoint.spec, port: 4502 } }, undefined);

    words.length = 0;
    await server.restartApiServer();
    await vi.waitFor(() => expect(words.toSorted()).toEqual(['delete shop', 'set edge']), PATIENCE);
    await vi.waitFor(() => expect(endpoints.slice(0, 2)).toEqual(['synced', 'set a1']), PATIENCE);
    expect(await text()).toContain('raven_agent_mirror_used{kind="Gateway"} 0');
    expect(await text()).toMatch(/raven_agent_api_last_contact_seconds \d/);
    await publisher.close();
  });

  it('hears of nothing when the API server restarts and nothing has changed: no region goes for a moment', async () => {
    const { store } = await open();
    const words = await synced(store, 'Gateway');
    const seen = words.length;
    await server.killApiServer();
    await server.restartApiServer();
    // Time for the first lists and watches of the new server, also for answers that it gives before it knows its kinds.
    await kubectl(server.adminKubeconfig, ['annotate', 'gateway', 'cloud', 'touched=1']);
    await vi.waitFor(() => expect(words.length).toBeGreaterThan(seen), PATIENCE);
    expect(words.slice(seen)).toEqual(['set cloud']);
  });
});
