import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import type { EndpointSlice, Service } from '../../src/api/core.ts';
import { type Gateway, gatewaySchema } from '../../src/api/gateway.ts';
import { type Controller, startController } from '../../src/controller/controller.ts';
import { testNode } from '../../src/domain/test-objects.ts';
import type { KubeClient } from '../../src/store/kube/kube-client.ts';
import type { KubeStore } from '../../src/store/kube/kube-store.ts';
import { resourcePath } from '../../src/store/kube/resource-path.ts';
import { openKube } from '../../src/store/open-store.ts';
import { createObject, deleteObjects, openClient } from './clients.ts';

const { missing, kubeconfig } = inject('kube');
const PATIENCE = { timeout: 60_000, interval: 20 };
const NAMESPACE = 'kube-system';
const CLOUD_FINALIZER = 'service.kubernetes.io/load-balancer-cleanup';

const GATEWAY = gatewaySchema.parse({
  apiVersion: 'raven.openyurt.io/v1beta1',
  kind: 'Gateway',
  metadata: { name: 'x' },
  spec: {
    exposeType: 'LoadBalancer',
    tunnelConfig: { Replicas: 1 },
    endpoints: ['x1', 'x2'].map((nodeName) => ({ nodeName, type: 'tunnel' })),
  },
});

/** The test is the cloud: it writes what a cloud controller manager writes into Services. */
describe.skipIf(missing !== undefined)('exposure, on a real API server', () => {
  let admin: KubeClient;
  let store: KubeStore;
  let controller: Controller;
  /** `VERB RESOURCE` of what the controller wrote. */
  const writes: string[] = [];

  beforeAll(async () => {
    admin = await openClient(kubeconfig);
    await createObject(admin, testNode('x1', { region: 'x', podCIDR: '10.60.1.0/24', ip: '192.168.60.11' }));
    await createObject(admin, testNode('x2', { region: 'x', podCIDR: '10.60.2.0/24', ip: '192.168.60.12' }));
    await createObject(admin, GATEWAY);
    store = await openKube(`kube:${kubeconfig}`, {
      env: {},
      userAgent: 'raven-test',
      fieldManager: 'raven-controller',
      namespaces: { ConfigMap: NAMESPACE, Service: NAMESPACE, EndpointSlice: NAMESPACE },
      onRequest: ({ verb, resource }) => {
        if (!['GET', 'WATCH'].includes(verb)) writes.push(`${verb} ${resource}`);
      },
    });
    controller = startController({ store, log: pino({ level: 'silent' }) });
    await controller.settled();
  });

  afterAll(async () => {
    await controller?.stop();
    await store?.close();
    if (admin === undefined) return;
    for (const { metadata } of await services()) await patch(pathOf(metadata.name), { metadata: { finalizers: null } });
    await deleteObjects(admin);
    await admin.close();
  });

  const pathOf = (name: string): string => resourcePath('Service', name, NAMESPACE);
  const patch = (path: string, body: unknown): Promise<unknown> =>
    admin.request({ method: 'PATCH', path, contentType: 'application/merge-patch+json', body });
  const ofGateway = async <T extends Service | EndpointSlice>(kind: T['kind']): Promise<T[]> => {
    const { items } = await admin.request<{ items: T[] }>({ method: 'GET', path: resourcePath(kind, undefined, NAMESPACE) });
    return items.filter(({ metadata: { name } }) => name.startsWith('x-raven-tunnel-svc-x-'));
  };
  const services = (): Promise<Service[]> => ofGateway<Service>('Service');
  const onlyService = async (): Promise<Service> => {
    const all = await services();
    expect(all).toHaveLength(1);
    return all[0]!;
  };
  const backends = async (): Promise<string[]> =>
    (await ofGateway<EndpointSlice>('EndpointSlice')).flatMap(({ endpoints }) =>
      endpoints.map(({ nodeName, addresses }) => `${nodeName} ${addresses.join(' ')}`),
    );
  const gateway = (): Promise<Gateway> => admin.request<Gateway>({ method: 'GET', path: resourcePath('Gateway', 'x') });
  const exposed = async (): Promise<string> =>
    ((await gateway()).status?.exposed ?? [])
      .map(({ nodeName, addresses, port }) => `${nodeName} ${addresses.join(' ')} ${port}`)
      .join('; ');
  const ingress = (name: string, ...list: object[]): Promise<unknown> =>
    patch(`${pathOf(name)}/status`, { status: { loadBalancer: { ingress: list } } });
  const setReady = (node: string, status: 'True' | 'False'): Promise<unknown> =>
    patch(`${resourcePath('Node', node)}/status`, { status: { conditions: [{ type: 'Ready', status }] } });
  /** Resolves when what was done before has been seen and worked on: the mark is on the Gateway, the slowest of all ways. */
  const followed = async (mark: string): Promise<void> => {
    await patch(resourcePath('Gateway', 'x'), { metadata: { annotations: { 'raven.openyurt.io/extra-allowed-source-cidrs': mark } } });
    await vi.waitFor(async () => expect(JSON.stringify((await gateway()).status?.nodes)).toContain(mark), PATIENCE);
  };

  it('follows IP addresses and host names, and writes nothing when only their order is another (R13)', async () => {
    await vi.waitFor(async () => expect(await backends()).toEqual(['x1 192.168.60.11']), PATIENCE);
    const { metadata } = await onlyService();
    await ingress(metadata.name, { ip: '203.0.113.9' });
    await vi.waitFor(async () => expect(await exposed()).toBe('x1 203.0.113.9 4500'), PATIENCE);
    await ingress(metadata.name, { hostname: 'lb.example' });
    await vi.waitFor(async () => expect(await exposed()).toBe('x1 lb.example 4500'), PATIENCE);
    const list = [{ ip: '203.0.113.9' }, { ip: '203.0.113.10' }, { hostname: 'lb.example' }];
    await ingress(metadata.name, ...list);
    await vi.waitFor(async () => expect(await exposed()).toBe('x1 203.0.113.10 203.0.113.9 lb.example 4500'), PATIENCE);
    await followed('10.61.0.0/24');
    writes.length = 0;
    for (let i = 0; i < 10; i++) await ingress(metadata.name, ...list.slice(i % 3), ...list.slice(0, i % 3));
    await followed('10.61.1.0/24');
    expect(writes).toEqual(['PATCH gateways']);
    expect(JSON.stringify((await gateway()).spec)).not.toContain('203.0.113');
  });

  it('repairs its own fields, and only those', async () => {
    const before = await onlyService();
    await patch(pathOf(before.metadata.name), {
      metadata: {
        annotations: { 'cloud.example/id': 'lb-1' },
        labels: { 'cloud.example/zone': 'z1', 'raven.openyurt.io/endpoints-name': null },
      },
      spec: { externalTrafficPolicy: 'Cluster', loadBalancerClass: null, sessionAffinity: 'ClientIP' },
    });
    await vi.waitFor(async () => expect((await onlyService()).spec.externalTrafficPolicy).toBe('Local'), PATIENCE);
    const after = await onlyService();
    expect(after.metadata.labels).toEqual({ ...before.metadata.labels, 'cloud.example/zone': 'z1' });
    expect(after.metadata.annotations).toEqual({ ...before.metadata.annotations, 'cloud.example/id': 'lb-1' });
    expect([after.spec.clusterIP, after.spec.ports]).toEqual([before.spec.clusterIP, before.spec.ports]);
    expect(after.spec['sessionAffinity']).toBe('ClientIP');
    expect(after.status).toEqual(before.status);
    expect((await gateway()).status?.exposed).toHaveLength(1);
  });

  it('moves on failover, and back while the cloud still deletes the Service that was there first', async () => {
    const first = await onlyService();
    await patch(pathOf(first.metadata.name), { metadata: { finalizers: [CLOUD_FINALIZER] } });
    await setReady('x1', 'False');
    await vi.waitFor(async () => expect(await backends()).toEqual(['x2 192.168.60.12']), PATIENCE);
    const second = (await services()).find(({ metadata: { name } }) => name !== first.metadata.name)!;
    await ingress(second.metadata.name, { ip: '203.0.113.20' });
    await vi.waitFor(async () => expect(await exposed()).toBe('x2 203.0.113.20 4500'), PATIENCE);

    await setReady('x1', 'True');
    await setReady('x2', 'False');
    await vi.waitFor(async () => expect((await gateway()).status?.active).toBe('x1'), PATIENCE);
    await vi.waitFor(async () => expect(await exposed()).toBe(''), PATIENCE);
    await patch(pathOf(first.metadata.name), { metadata: { finalizers: null } });
    await vi.waitFor(async () => {
      const now = await onlyService();
      expect([now.metadata.name, now.metadata.uid === first.metadata.uid]).toEqual([first.metadata.name, false]);
      expect(await backends()).toEqual(['x1 192.168.60.11']);
    }, PATIENCE);
    await setReady('x2', 'True');
  });

  /** Until the store has heard of it: it answers a new watch from what it knows. */
  async function isSeen(isMeant: (gateway: Gateway) => boolean): Promise<void> {
    const seen = Promise.withResolvers<void>();
    const watch = store.watch('Gateway', (event) => {
      if (event.type === 'set' && event.object.metadata.name === 'x' && isMeant(event.object)) seen.resolve();
    });
    await seen.promise;
    watch.close();
  }

  it('takes over the older of two Services that the Go implementation made, and deletes the other', async () => {
    await patch(resourcePath('Gateway', 'x'), { spec: { exposeType: null } });
    await vi.waitFor(async () => expect([await services(), await backends()]).toEqual([[], []]), PATIENCE);
    const labels = {
      'raven.openyurt.io/gateway': 'x',
      'raven.openyurt.io/gateway-type': 'tunnel',
      'raven.openyurt.io/endpoints-name': 'x1',
    };
    await controller.stop();
    const names = ['x-raven-tunnel-svc-x-41af5f2b', 'x-raven-tunnel-svc-x-12345678'] as const;
    for (const name of names) {
      const ports = [{ port: 4500, targetPort: 4500, protocol: 'UDP' }];
      const metadata = { name, namespace: NAMESPACE, labels, creationTimestamp: undefined };
      const spec = { type: 'LoadBalancer', externalTrafficPolicy: 'Local', ports };
      await createObject(admin, { apiVersion: 'v1', kind: 'Service', metadata, spec } as Service);
      // Ages are in whole seconds.
      const [born] = (await services()).filter(({ metadata: { name: each } }) => each === name);
      await vi.waitFor(() => expect(Date.now()).toBeGreaterThan(Date.parse(born!.metadata.creationTimestamp!) + 1_000), PATIENCE);
    }
    const older = (await services()).find(({ metadata: { name } }) => name === names[0])!;
    await patch(resourcePath('Gateway', 'x'), { spec: { exposeType: 'LoadBalancer' } });
    // Its view of before would have it delete both. A controller of its own process would list anew.
    await isSeen((gateway) => gateway.spec.exposeType === 'LoadBalancer');
    controller = startController({ store, log: pino({ level: 'silent' }) });
    await vi.waitFor(async () => expect(await backends()).toEqual(['x1 192.168.60.11']), PATIENCE);
    await vi.waitFor(async () => expect((await onlyService()).metadata).toMatchObject({ uid: older.metadata.uid }), PATIENCE);
    await vi.waitFor(
      async () => expect((await onlyService()).metadata).toMatchObject({ ownerReferences: [{ kind: 'Gateway', name: 'x' }] }),
      PATIENCE,
    );
    expect((await onlyService()).spec.clusterIP).toBe(older.spec.clusterIP);
  });

  it('leaves nothing when the Gateway is deleted', async () => {
    await admin.request({ method: 'DELETE', path: resourcePath('Gateway', 'x') });
    await vi.waitFor(async () => expect([await services(), await backends()]).toEqual([[], []]), PATIENCE);
  });
});
