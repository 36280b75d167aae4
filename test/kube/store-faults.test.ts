import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import type { TunnelEndpoint } from '../../src/api/tunnel-endpoint.ts';
import type { Kind } from '../../src/api/kinds.ts';
import { type ClusterStore, ConflictError } from '../../src/store/cluster-store.ts';
import { gateway, tunnelEndpoint } from '../../src/store/conformance.ts';
import { findCluster } from '../../src/store/kube/cluster-access.ts';
import { createKubeClient } from '../../src/store/kube/create-kube-client.ts';
import type { KubeClient } from '../../src/store/kube/kube-client.ts';
import { createKubeStore, type KubeStore } from '../../src/store/kube/kube-store.ts';
import { listRaw } from '../../src/store/kube/list.ts';
import { keyOfObject } from '../../src/store/object.ts';
import { type ApiServer, installCrds, kubectl, startApiServer } from './api-server.ts';
import { createObject, deleteObjects, openClient } from './clients.ts';
import { Seen } from './seen.ts';
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts';

const { missing } = inject('kube');
const PATIENCE = { timeout: 60_000, interval: 20 };
const NAMESPACE = 'faults';

describe.skipIf(missing !== undefined)('the kube store, when the API server or the network fails', () => {
  let server: ApiServer;
  let admin: KubeClient;
  const closing: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    server = await startApiServer();
    await installCrds(server.adminKubeconfig);
    await kubectl(server.adminKubeconfig, ['create', 'namespace', NAMESPACE]);
    admin = await openClient(server.adminKubeconfig);
  });
  afterEach(async () => {
    for (const close of closing.splice(0).toReversed()) await close();
    await deleteObjects(admin, ['Gateway', 'TunnelEndpoint', 'ConfigMap']);
  });
  afterAll(async () => {
    await admin?.close();
    await server?.stop();
  });

  /** A store that speaks through a proxy, and gives up on silent connections much sooner than a real one. */
  async function openProxied(): Promise<{ readonly store: KubeStore; readonly proxy: TcpProxy; readonly seen: Seen }> {
    const proxy = await startTcpProxy(server.port);
    closing.push(() => proxy.close());
    const file = join(server.dir, `proxy-${proxy.port}.kubeconfig`);
    await writeFile(file, (await readFile(server.adminKubeconfig, 'utf8')).replace(`:${server.port}`, `:${proxy.port}`));
    const access = await findCluster({ file, env: {} });
    const limits = { answerTimeoutMs: 1_000, quietWatchMs: 2_000, watchSilenceMs: 2_000 };
    const seen = new Seen();
    const client = seen.watching(createKubeClient(access, { userAgent: 'raven-test', ...limits }));
    const store = createKubeStore({ client, fieldManager: 'raven-test', namespaces: { ConfigMap: NAMESPACE }, random: () => 0.2 });
    closing.push(() => store.close());
    return { store, proxy, seen };
  }

  async function openStore(fieldManager: string): Promise<KubeStore> {
    const store = createKubeStore({ client: await openClient(server.adminKubeconfig), fieldManager });
    closing.push(() => store.close());
    return store;
  }

  async function createGateways(...names: readonly string[]): Promise<void> {
    for (const name of names) await createObject(admin, { ...gateway, metadata: { name } });
  }

  /** Sets an annotation; again until the API server takes it. */
  async function touch(path: string, value: string): Promise<void> {
    const body = { metadata: { annotations: { touched: value } } };
    await vi.waitFor(() => admin.request({ method: 'PATCH', path, body, contentType: 'application/merge-patch+json' }), PATIENCE);
  }
  const gatewayPath = (name: string): string => `/apis/raven.openyurt.io/v1beta1/gateways/${name}`;
  const configMapPath = (name: string): string => `/api/v1/namespaces/${NAMESPACE}/configmaps/${name}`;

  /** What the watch has delivered comes to be what the API server holds; each version came once, and none after a later one. */
  async function settles(seen: Seen, kind: Kind): Promise<void> {
    await vi.waitFor(async () => {
      const { items } = await listRaw(admin, { kind, namespace: kind === 'ConfigMap' ? NAMESPACE : undefined, fieldSelector: undefined });
      const held = items.map(
        (item) => `${keyOfObject(item as never)}@${(item as { metadata: { resourceVersion: string } }).metadata.resourceVersion}`,
      );
      expect(seen.state()).toEqual(held.toSorted());
    }, PATIENCE);
    expect(new Set(seen.sets).size).toBe(seen.sets.length);
    const versions = new Map<string, number>();
    for (const set of seen.sets) {
      const [key = '', version] = set.split('@');
      expect(Number(version)).toBeGreaterThan(versions.get(key) ?? 0);
      versions.set(key, Number(version));
    }
  }

  it('loses and repeats nothing, and writes, when the API server is killed and started again in the middle of changes', async () => {
    const { store, seen } = await openProxied();
    await createGateways('g0', 'g1', 'g2', 'g3');
    await seen.follow(store, 'Gateway');
    const writing = (async () => {
      for (let i = 0; i < 60; i++) await touch(gatewayPath(`g${i % 4}`), String(i));
    })();
    await vi.waitFor(() => expect(seen.sets.length).toBeGreaterThan(8), PATIENCE);
    await server.killApiServer();
    const applying = store.apply('TunnelEndpoint', tunnelEndpoint);
    await server.restartApiServer();
    await writing;
    await settles(seen, 'Gateway');
    expect(seen.deletes).toEqual([]);
    expect((await applying).metadata.name).toBe('a1');
  });

  it('lists anew when the API server has forgotten its version, and hears of deletions too', async () => {
    const { store, proxy, seen } = await openProxied();
    await createGateways('stays', 'goes', 'moves');
    await seen.follow(store, 'Gateway');
    proxy.freeze('all');
    await touch(gatewayPath('moves'), 'yes');
    await kubectl(server.adminKubeconfig, ['delete', 'gateway', 'goes']);
    await createGateways('comes');
    await compactEtcd(server.etcdPort);
    // Its watch cache begins with the version of its start, and etcd has nothing older.
    await server.killApiServer();
    await server.restartApiServer();
    const before = seen.sets.length;
    proxy.thaw();
    await settles(seen, 'Gateway');
    expect(seen.gone).toBe(1);
    expect(seen.sets.slice(before).map((set) => set.split('@')[0])).toEqual(['Gateway//comes', 'Gateway//moves']);
    expect(seen.deletes).toEqual(['goes']);
  });

  it('follows over a slow connection', async () => {
    const { store, proxy, seen } = await openProxied();
    await createGateways('near', 'far');
    proxy.setDelay(200);
    await seen.follow(store, 'Gateway');
    for (let i = 0; i < 10; i++) await touch(gatewayPath('far'), String(i));
    await settles(seen, 'Gateway');
  });

  it('leaves a connection that is open on its own side only', async () => {
    const { store, proxy, seen } = await openProxied();
    await createGateways('quiet');
    await seen.follow(store, 'Gateway');
    proxy.freeze('open');
    await touch(gatewayPath('quiet'), 'not heard');
    await settles(seen, 'Gateway');
    expect(seen.lists).toBe(1);
  });

  it('goes on after a network that carried nothing for a while, and reads and writes fail until then', async () => {
    const { store, proxy, seen } = await openProxied();
    await createGateways('quiet');
    await seen.follow(store, 'Gateway');
    proxy.freeze('all');
    await touch(gatewayPath('quiet'), 'not heard');
    await expect(store.get('Gateway', 'quiet')).rejects.toThrow(/is silent \(1000 ms\)/);
    const writing = store.apply('TunnelEndpoint', tunnelEndpoint);
    proxy.thaw();
    await settles(seen, 'Gateway');
    expect((await writing).metadata.name).toBe('a1');
    expect(seen.lists).toBe(1);
  });

  it('hears all of a change whose line was cut in the middle', async () => {
    const { store, proxy, seen } = await openProxied();
    await createConfigMap('big', 'x'.repeat(400_000));
    await seen.follow(store, 'ConfigMap');
    for (const cutAfter of [1_000, 100_000, 300_000]) {
      proxy.cutAfter(cutAfter);
      await touch(configMapPath('big'), String(cutAfter));
      await settles(seen, 'ConfigMap');
    }
    expect(seen.watches).toBeGreaterThan(3);
    expect(seen.lists).toBe(1);
  });

  it('comes to the truth when it reads more slowly than things change', async () => {
    const { store, proxy, seen } = await openProxied();
    await createConfigMap('big', 'x'.repeat(400_000));
    await seen.follow(store, 'ConfigMap');
    proxy.pause();
    for (let i = 0; i < 40; i++) await touch(configMapPath('big'), String(i));
    const heard = seen.sets.length;
    proxy.resume();
    await settles(seen, 'ConfigMap');
    expect(heard).toBeLessThan(seen.sets.length);
  });

  async function createConfigMap(name: string, text: string): Promise<void> {
    const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data: { text } };
    await admin.request({ method: 'POST', path: `/api/v1/namespaces/${NAMESPACE}/configmaps`, body });
  }

  it('lists in one piece when a list of several pages expires on the way', async () => {
    for (let i = 0; i < 5; i++) await createConfigMap(`page-${i}`, '');
    const asked: string[] = [];
    const pages: KubeClient = {
      ...admin,
      request: async (request) => {
        const { limit, continue: next } = request.query ?? {};
        asked.push(next !== undefined ? 'next' : limit === undefined ? 'all' : 'first');
        if (next !== undefined) await expire();
        return admin.request({ ...request, query: { ...request.query, limit: limit && '2' } });
      },
    };
    const expire = async (): Promise<void> => {
      await touch(configMapPath('page-4'), String(asked.length));
      await compactEtcd(server.etcdPort);
      // Until then it serves further pages from the copy that it made for the first one.
      await server.killApiServer();
      await server.restartApiServer();
    };
    const { items } = await listRaw(pages, { kind: 'ConfigMap', namespace: NAMESPACE, fieldSelector: undefined });
    expect(asked).toEqual(['first', 'next', 'all']);
    expect(items.filter((item) => keyOfObject(item as never).includes('/page-'))).toHaveLength(5);
  });

  it('loses no update when two stores apply to one object and decide anew after a conflict', async () => {
    const stores = [await openStore('raven-one'), await openStore('raven-two')];
    await stores[0]!.apply('TunnelEndpoint', { ...tunnelEndpoint, spec: { ...tunnelEndpoint.spec, port: 5000 } });
    let conflicts = 0;
    const increment = async (store: ClusterStore): Promise<void> => {
      for (let done = 0; done < 15;) {
        const found = (await store.get('TunnelEndpoint', 'a1')) as TunnelEndpoint;
        try {
          await store.apply('TunnelEndpoint', { ...found, spec: { ...found.spec, port: found.spec.port + 1 } });
          done++;
        } catch (error) {
          if (!(error instanceof ConflictError)) throw error;
          conflicts++;
        }
      }
    };
    await Promise.all(stores.map(increment));
    expect((await stores[0]!.get('TunnelEndpoint', 'a1'))?.spec.port).toBe(5030);
    expect(conflicts).toBeGreaterThan(0);
  });

  it('leaves the fields of others alone, and takes its own away when it drops them', async () => {
    const store = await openStore('raven-test');
    const annotations = { 'raven.openyurt.io/ours': 'yes', 'raven.openyurt.io/dropped': 'yes' };
    await store.apply('TunnelEndpoint', { ...tunnelEndpoint, metadata: { name: 'a1', annotations } });
    await kubectl(server.adminKubeconfig, ['annotate', 'tunnelendpoint', 'a1', 'example.org/theirs=yes']);
    await kubectl(
      server.adminKubeconfig,
      ['apply', '--server-side', '--field-manager=someone', '-f', '-'],
      JSON.stringify({
        apiVersion: tunnelEndpoint.apiVersion,
        kind: 'TunnelEndpoint',
        metadata: { name: 'a1', labels: { theirs: 'yes' } },
      }),
    );
    const found = await store.get('TunnelEndpoint', 'a1');
    const resourceVersion = found?.metadata.resourceVersion ?? '';
    const applied = await store.apply('TunnelEndpoint', {
      ...tunnelEndpoint,
      metadata: { name: 'a1', resourceVersion, annotations: { 'raven.openyurt.io/ours': 'still' } },
    });
    expect(applied.metadata.annotations).toEqual({ 'raven.openyurt.io/ours': 'still', 'example.org/theirs': 'yes' });
    expect(applied.metadata.labels).toEqual({ theirs: 'yes' });
  });
});

/** Makes etcd forget all versions but the last, as the API server does every five minutes (etcd docs: "gRPC gateway"). */
async function compactEtcd(port: number): Promise<void> {
  const post = async (path: string, body: unknown): Promise<{ header?: { revision: string } }> => {
    const answer = await fetch(`http://127.0.0.1:${port}/v3/${path}`, { method: 'POST', body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`etcd ${path}: ${await answer.text()}`);
    return (await answer.json()) as { header?: { revision: string } };
  };
  const { header } = await post('maintenance/status', {});
  await post('kv/compaction', { revision: header?.revision, physical: true });
}
