import { afterEach, expect, it, vi } from 'vitest';
import type { Lease, Node } from '../api/core.ts';
import type { Gateway } from '../api/gateway.ts';
import type { Kind, ObjectOf } from '../api/kinds.ts';
import type { TunnelEndpoint } from '../api/tunnel-endpoint.ts';
import { type ClusterStore, ConflictError, type WatchEvent } from './cluster-store.ts';
import type { StoredObject } from './object.ts';

/** One cluster with some objects, as two clients see it. */
export interface StoreHarness {
  readonly store: ClusterStore;
  /** A client of its own; may be the same as `store` where there is only one. */
  readonly other: ClusterStore;
  close(): Promise<void>;
}

export const gateway: Gateway = {
  apiVersion: 'raven.openyurt.io/v1beta1',
  kind: 'Gateway',
  metadata: { name: 'cloud' },
  spec: { endpoints: [{ nodeName: 'a1', type: 'tunnel', publicIP: '203.0.113.1' }] },
};

export const node: Node = {
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'a1', labels: { 'raven.openyurt.io/gateway': 'cloud' }, creationTimestamp: '2024-01-01T00:00:00Z' },
  spec: { podCIDR: '10.1.1.0/24' },
};

export const tunnelEndpoint: TunnelEndpoint = {
  apiVersion: 'raven.openyurt.io/v1beta1',
  kind: 'TunnelEndpoint',
  metadata: { name: 'a1' },
  spec: { gateway: 'cloud', nodeName: 'a1', driver: 'ipsec', dataPath: 'user', port: 4500, underlayMtu: 1500, addresses: [] },
};

export const lease: Lease = {
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
  metadata: { name: 'a1', namespace: 'kube-node-lease' },
  spec: { holderIdentity: 'a1', renewTime: '2024-01-01T00:00:00.000000Z' },
};

/** Long: the machine may be busy with other things. */
export const PATIENCE = { timeout: 20_000, interval: 5 };

/** Watches and keeps what comes, one word for each event. */
export function record<K extends Kind>(store: ClusterStore, kind: K): { readonly words: string[]; close(): void } {
  const words: string[] = [];
  const watch = store.watch(kind, (event: WatchEvent<Kind>) => {
    words.push(event.type === 'synced' ? 'synced' : `${event.type} ${event.type === 'set' ? event.object.metadata.name : event.name}`);
  });
  return { words, close: () => watch.close() };
}

async function read<K extends Kind>(store: ClusterStore, kind: K, name: string, namespace?: string): Promise<ObjectOf<K>> {
  const object = await store.get(kind, name, namespace);
  if (object === undefined) throw new Error(`there is no ${kind} ${name}`);
  return object;
}

function versionOf({ metadata: { resourceVersion } }: StoredObject): { readonly resourceVersion?: string } {
  return resourceVersion === undefined ? {} : { resourceVersion };
}

/** What every ClusterStore must do. `open` makes a cluster in which a person has put `objects`. */
export function storeConformance(open: (objects: readonly StoredObject[]) => Promise<StoreHarness>): void {
  const harnesses: StoreHarness[] = [];
  afterEach(async () => {
    for (const harness of harnesses.splice(0)) await harness.close();
  });

  async function start(...objects: readonly StoredObject[]): Promise<StoreHarness> {
    const harness = await open(objects);
    harnesses.push(harness);
    return harness;
  }

  it('lists objects by name, with defaults filled in and a resourceVersion', async () => {
    const { store } = await start({ ...gateway, metadata: { name: 'edge' } }, gateway, node);
    const gateways = await store.list('Gateway');
    expect(gateways.map(({ metadata }) => metadata.name)).toEqual(['cloud', 'edge']);
    expect(gateways[0]?.spec.endpoints[0]?.port).toBe(4500);
    expect(gateways[0]?.metadata.resourceVersion).toBeTypeOf('string');
    // Some stores keep the creation time that a person wrote, a Kubernetes API does not.
    const { creationTimestamp: _, ...metadata } = node.metadata;
    expect(await store.get('Node', 'a1')).toMatchObject({ ...node, metadata });
    expect(await store.get('Node', 'cloud')).toBeUndefined();
  });

  it('replaces the status only, and what it returns is what others read', async () => {
    const { store, other } = await start(gateway);
    const before = await read(store, 'Gateway', 'cloud');
    const written = await store.updateStatus('Gateway', {
      ...before,
      spec: { endpoints: [] },
      status: { nodes: [], activeEndpoints: before.spec.endpoints },
    });
    expect(written.status?.activeEndpoints).toHaveLength(1);
    expect(written.spec).toEqual(before.spec);
    expect(written.metadata.resourceVersion).not.toBe(before.metadata.resourceVersion);
    expect(await other.get('Gateway', 'cloud')).toEqual(written);
  });

  it('refuses a status for a version that is no longer the current one', async () => {
    const { store, other } = await start(gateway);
    const before = await read(store, 'Gateway', 'cloud');
    await other.updateStatus('Gateway', { ...(await read(other, 'Gateway', 'cloud')), status: { nodes: [], activeEndpoints: [] } });
    const late = store.updateStatus('Gateway', { ...before, status: { nodes: [], activeEndpoints: before.spec.endpoints } });
    await expect(late).rejects.toBeInstanceOf(ConflictError);
  });

  it('changes nothing, the resourceVersion neither, when the status is equal', async () => {
    const { store } = await start(node);
    const conditions = [{ type: 'Ready', status: 'True' as const, reason: '', message: '' }];
    const first = await store.updateStatus('Node', { ...(await read(store, 'Node', 'a1')), status: { conditions } });
    const second = await store.updateStatus('Node', { ...first, status: { conditions } });
    expect(second.metadata.resourceVersion).toBe(first.metadata.resourceVersion);
  });

  it('creates an object once, with a uid and the time', async () => {
    const { store, other } = await start();
    const created = await store.apply('TunnelEndpoint', tunnelEndpoint);
    expect(created.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);
    expect(Date.parse(created.metadata.creationTimestamp ?? '')).toBeGreaterThan(0);
    expect(await other.get('TunnelEndpoint', 'a1')).toEqual(created);
    await expect(other.apply('TunnelEndpoint', tunnelEndpoint)).rejects.toBeInstanceOf(ConflictError);
  });

  it('replaces all of an object but its status, uid and creation time', async () => {
    const { store, other } = await start();
    const created = await store.apply('TunnelEndpoint', tunnelEndpoint);
    const links = [{ peer: 'b1', gateway: 'edge', state: 'Up' as const, path: 'direct' as const }];
    const withStatus = await store.updateStatus('TunnelEndpoint', { ...created, status: { links, conditions: [] } });
    const { uid: _, creationTimestamp: __, ...metadata } = withStatus.metadata;
    const moved = await store.apply('TunnelEndpoint', { ...tunnelEndpoint, metadata, spec: { ...tunnelEndpoint.spec, port: 51820 } });
    expect(moved.spec.port).toBe(51820);
    expect(moved.status?.links).toEqual(links);
    expect(moved.metadata).toMatchObject({ uid: created.metadata.uid, creationTimestamp: created.metadata.creationTimestamp });
    expect(await other.get('TunnelEndpoint', 'a1')).toEqual(moved);
    await expect(store.apply('TunnelEndpoint', { ...tunnelEndpoint, metadata: created.metadata })).rejects.toBeInstanceOf(ConflictError);
  });

  it('changes nothing when the object applied is equal', async () => {
    const { store } = await start();
    const created = await store.apply('Lease', lease);
    const again = await store.apply('Lease', {
      ...lease,
      metadata: { ...lease.metadata, ...versionOf(created) },
    });
    expect(again).toEqual(created);
  });

  it('knows the objects of namespaced kinds by namespace and name; no namespace is default', async () => {
    const { store, other } = await start();
    await store.apply('Lease', lease);
    await store.apply('Lease', { ...lease, metadata: { name: 'a1' } });
    const leases = (await other.list('Lease')).filter(({ metadata: { name } }) => name === 'a1');
    expect(leases.map(({ metadata }) => metadata.namespace)).toEqual(['default', 'kube-node-lease']);
    expect((await other.get('Lease', 'a1'))?.metadata.namespace).toBe('default');
    await other.remove('Lease', 'a1', 'kube-node-lease');
    expect(await store.get('Lease', 'a1', 'kube-node-lease')).toBeUndefined();
    expect(await store.get('Lease', 'a1')).toBeDefined();
  });

  it('deletes, does not mind when there is nothing, and refuses writes to what is gone', async () => {
    const { store, other } = await start();
    const created = await store.apply('TunnelEndpoint', tunnelEndpoint);
    await other.remove('TunnelEndpoint', 'a1');
    await other.remove('TunnelEndpoint', 'a1');
    expect(await store.list('TunnelEndpoint')).toEqual([]);
    await expect(store.updateStatus('TunnelEndpoint', created)).rejects.toBeInstanceOf(ConflictError);
    await expect(store.apply('TunnelEndpoint', created)).rejects.toBeInstanceOf(ConflictError);
    const recreated = await store.apply('TunnelEndpoint', tunnelEndpoint);
    expect(recreated.metadata.uid).not.toBe(created.metadata.uid);
    await expect(store.updateStatus('TunnelEndpoint', created)).rejects.toBeInstanceOf(ConflictError);
  });

  it('delivers what is there, then synced, then each change in order', async () => {
    const { store, other } = await start(gateway, { ...gateway, metadata: { name: 'edge' } });
    const { words } = record(store, 'Gateway');
    const endpoints = record(store, 'TunnelEndpoint');
    expect(words).toEqual([]);
    await vi.waitFor(() => expect(words).toContain('synced'), PATIENCE);
    await vi.waitFor(() => expect(endpoints.words).toEqual(['synced']), PATIENCE);
    expect(words.toSorted()).toEqual(['set cloud', 'set edge', 'synced']);
    expect(words.at(-1)).toBe('synced');
    await other.updateStatus('Gateway', { ...(await read(other, 'Gateway', 'edge')), status: { nodes: [], activeEndpoints: [] } });
    await vi.waitFor(() => expect(words.slice(3)).toEqual(['set edge']), PATIENCE);
    await other.apply('TunnelEndpoint', tunnelEndpoint);
    await vi.waitFor(() => expect(endpoints.words.at(-1)).toBe('set a1'), PATIENCE);
    await other.remove('TunnelEndpoint', 'a1');
    await vi.waitFor(() => expect(endpoints.words).toEqual(['synced', 'set a1', 'delete a1']), PATIENCE);
  });

  it('delivers nothing to a watch that was closed', async () => {
    const { store } = await start(gateway);
    const closedAtOnce = record(store, 'Gateway');
    closedAtOnce.close();
    const watched = record(store, 'TunnelEndpoint');
    const { words } = watched;
    await vi.waitFor(() => expect(words).toEqual(['synced']), PATIENCE);
    watched.close();
    const second = record(store, 'TunnelEndpoint');
    await store.apply('TunnelEndpoint', tunnelEndpoint);
    await vi.waitFor(() => expect(second.words).toContain('set a1'), PATIENCE);
    expect(words).toEqual(['synced']);
    expect(closedAtOnce.words).toEqual([]);
  });

  it('loses no update when several write at once and repeat on conflict', async () => {
    const { store, other } = await start();
    await store.apply('Lease', { ...lease, spec: { leaseDurationSeconds: 1 } });
    const increment = async (client: ClusterStore): Promise<void> => {
      for (let done = 0; done < 10;) {
        const { metadata, spec } = await read(client, 'Lease', 'a1', 'kube-node-lease');
        try {
          await client.apply('Lease', { ...lease, metadata, spec: { leaseDurationSeconds: (spec.leaseDurationSeconds ?? 0) + 1 } });
          done++;
        } catch (error) {
          if (!(error instanceof ConflictError)) throw error;
        }
      }
    };
    await Promise.all([store, store, other].map(increment));
    expect((await other.get('Lease', 'a1', 'kube-node-lease'))?.spec.leaseDurationSeconds).toBe(31);
  });
}
