import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { pino } from 'pino';
import { createLeaseKeeper, type LeaseKeeper } from '../../src/agent/lease-keeper.ts';
import type { Lease, Node, Service } from '../../src/api/core.ts';
import { type Gateway, gatewaySchema } from '../../src/api/gateway.ts';
import type { Kind } from '../../src/api/kinds.ts';
import { testNode } from '../../src/domain/test-objects.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { openKube } from '../../src/store/open-store.ts';
import type { KubeClient } from '../../src/store/kube/kube-client.ts';
import { resourcePath } from '../../src/store/kube/resource-path.ts';
import { freePorts, kubectl } from './api-server.ts';
import { createObject, deleteObjects, openClient } from './clients.ts';
import { type RavenProcess, startRaven } from './raven-process.ts';

const { missing, kubeconfig } = inject('kube');
const PATIENCE = { timeout: 60_000, interval: 50 };
const NAMESPACE = 'kube-system';

const GATEWAY = gatewaySchema.parse({
  apiVersion: 'raven.openyurt.io/v1beta1',
  kind: 'Gateway',
  metadata: { name: 'b' },
  spec: { tunnelConfig: { Replicas: 1 }, endpoints: ['b1', 'b3'].map((nodeName) => ({ nodeName, type: 'tunnel' })) },
});
const node = (name: string, podCIDR: string, ip: string): Node => testNode(name, { region: 'b', podCIDR, ip, podCIDRs: [podCIDR] });

/** The program that is shipped, several times, on one API server. */
describe.skipIf(missing !== undefined)('raven controller, on a real API server', () => {
  let admin: KubeClient;
  const processes: RavenProcess[] = [];

  beforeAll(async () => {
    admin = await openClient(kubeconfig);
    await createObject(admin, GATEWAY);
    await createObject(admin, node('b1', '10.1.0.0/24', '192.168.1.10'));
    await createObject(admin, node('b2', '10.2.0.0/24', '192.168.1.11'));
    await createObject(admin, node('b3', '10.3.0.0/24', '192.168.1.12'));
  });

  afterAll(async () => {
    for (const each of processes) await each.stop('SIGKILL');
    if (admin === undefined) return;
    await deleteObjects(admin);
    await kubectl(kubeconfig, ['delete', 'lease', 'raven-controller', '-n', NAMESPACE, '--ignore-not-found']);
    await kubectl(kubeconfig, ['delete', 'crd', 'blockaffinities.crd.projectcalico.org', '--ignore-not-found']);
    await admin.close();
  });

  const start = (...args: string[]): RavenProcess => {
    const started = startRaven('controller', '--store', `kube:${kubeconfig}`, ...args);
    processes.push(started);
    return started;
  };
  const get = async <T>(kind: Kind, name: string, namespace?: string): Promise<T> =>
    admin.request<T>({ method: 'GET', path: resourcePath(kind, name, namespace) });
  const gateway = (): Promise<Gateway> => get('Gateway', 'b');
  const active = async (): Promise<string> => (await gateway()).status?.active ?? '';
  const patch = (path: string, body: unknown): Promise<unknown> =>
    admin.request({ method: 'PATCH', path, contentType: 'application/merge-patch+json', body });
  const subnets = async (name: string): Promise<readonly string[] | undefined> =>
    (await gateway()).status?.nodes.find(({ nodeName }) => nodeName === name)?.subnets;
  const setReady = (name: string, status: 'True' | 'False'): Promise<unknown> =>
    patch(`${resourcePath('Node', name)}/status`, { status: { conditions: [{ type: 'Ready', status }] } });
  const metric = async (port: number, name: string): Promise<number> => {
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    const values = text.split('\n').filter((line) => line.startsWith(name));
    return values.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  };
  const WRITES = 'raven_controller_reconciles_total{result="written"}';

  it('has one leader among replicas; the next takes over within 15 s and writes nothing twice', async () => {
    const [firstPort, secondPort, healthPort] = await freePorts(3);
    const first = start('--metrics-bind-address', `127.0.0.1:${firstPort}`);
    await first.logged('leading');
    const second = start('--metrics-bind-address', `127.0.0.1:${secondPort}`, '--health-bind-address', `127.0.0.1:${healthPort}`);
    await second.logged('another replica leads');
    await vi.waitFor(async () => expect(await active()).toBe('b1'), PATIENCE);
    expect([await metric(firstPort, 'raven_controller_leader'), await metric(secondPort, 'raven_controller_leader')]).toEqual([1, 0]);
    expect([await metric(firstPort, WRITES), await metric(secondPort, WRITES)]).toEqual([1, 0]);
    expect((await fetch(`http://127.0.0.1:${healthPort}/readyz`)).status).toBe(200);

    const before = (await gateway()).metadata.resourceVersion;
    const killedAt = performance.now();
    await first.stop('SIGKILL');
    await second.logged('leading');
    const seconds = (performance.now() - killedAt) / 1000;
    process.stdout.write(`another replica leads ${seconds.toFixed(1)} s after the leader was killed\n`);
    expect(seconds).toBeLessThan(15);
    await second.logged('all Gateways are up to date');
    expect((await gateway()).metadata.resourceVersion).toBe(before);

    const third = start();
    await third.logged('another replica leads');
    expect(await second.stop('SIGTERM')).toBe(0);
    await third.logged('leading');
    expect(await third.stop('SIGTERM')).toBe(0);
    const lease = await get<{ spec: { holderIdentity?: string; leaseTransitions: number } }>('Lease', 'raven-controller', NAMESPACE);
    expect([lease.spec.holderIdentity ?? '', lease.spec.leaseTransitions]).toEqual(['', 2]);
  });

  describe('while one leads', () => {
    let port: number;

    beforeAll(async () => {
      [port] = await freePorts(3);
      const only = start('--no-leader-elect', '--metrics-bind-address', `127.0.0.1:${port}`);
      await only.logged('all Gateways are up to date');
    });

    it('follows readiness, labels and the switches', async () => {
      await setReady('b1', 'False');
      await vi.waitFor(async () => expect(await active()).toBe('b3'), PATIENCE);
      await setReady('b1', 'True');
      await patch(resourcePath('Node', 'b2'), { metadata: { labels: { 'raven.openyurt.io/gateway': null } } });
      await vi.waitFor(async () => expect((await gateway()).status?.nodes.map(({ nodeName }) => nodeName)).toEqual(['b1', 'b3']), PATIENCE);
      await patch(resourcePath('Node', 'b2'), { metadata: { labels: { 'raven.openyurt.io/gateway': 'b' } } });
      await vi.waitFor(async () => expect(await subnets('b2')).toEqual(['10.2.0.0/24']), PATIENCE);
      const switches = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'raven-cfg' }, data: { 'enable-l3-tunnel': 'False' } };
      await admin.request({ method: 'POST', path: resourcePath('ConfigMap', undefined, NAMESPACE), body: switches });
      await vi.waitFor(async () => expect((await gateway()).status?.activeEndpoints).toEqual([]), PATIENCE);
      await admin.request({ method: 'DELETE', path: resourcePath('ConfigMap', 'raven-cfg', NAMESPACE) });
      await vi.waitFor(async () => expect(await active()).toBe('b1'), PATIENCE);
      const events = await kubectl(kubeconfig, [
        'get',
        'events',
        '-n',
        'default',
        '--field-selector',
        'involvedObject.name=b',
        '-o',
        'name',
      ]);
      expect(events.split('\n').length).toBeGreaterThan(2);
    });

    it("takes Calico's blocks for the nodes that have them, as soon as there are any (R11)", async () => {
      await patch(resourcePath('Node', 'b2'), { metadata: { annotations: { 'projectcalico.org/IPv4Address': '192.168.1.11/24' } } });
      await kubectl(kubeconfig, ['apply', '-f', '-'], JSON.stringify(CALICO_CRD));
      await kubectl(kubeconfig, ['wait', '--for=condition=Established', 'crd/blockaffinities.crd.projectcalico.org']);
      const block = (name: string, cidr: string, state = 'confirmed'): Promise<string> => {
        const spec = { node: 'b2', cidr, state, deleted: 'false' };
        return kubectl(kubeconfig, ['apply', '-f', '-'], JSON.stringify({ ...BLOCK, metadata: { name }, spec }));
      };
      await block('b2-one', '10.9.0.64/26');
      await block('b2-two', '10.9.0.128/26', 'pending');
      await vi.waitFor(async () => expect(await subnets('b2')).toEqual(['10.9.0.64/26']), PATIENCE);
      await block('b2-two', '10.9.0.128/26');
      await vi.waitFor(async () => expect(await subnets('b2')).toEqual(['10.9.0.64/26', '10.9.0.128/26']), PATIENCE);
      await kubectl(kubeconfig, ['delete', 'blockaffinity.crd.projectcalico.org', 'b2-one', 'b2-two']);
      await vi.waitFor(async () => expect(await subnets('b2')).toEqual(['10.2.0.0/24']), PATIENCE);
    });

    it('elects by the Leases that agents renew: away from one that is about to stop, and from one that is cordoned (R23)', async () => {
      const store = await openKube(`kube:${kubeconfig}`, { env: {} });
      const log = pino({ level: 'silent' });
      const keeperOf = (name: string): LeaseKeeper =>
        createLeaseKeeper({ node: name, namespace: NAMESPACE, store, clock: systemClock, log });
      const keepers = [keeperOf('b1'), keeperOf('b3')];
      // What an earlier test did to b1 is remembered.
      const reasons = async (): Promise<string> =>
        (await gateway()).status?.impaired?.flatMap(({ state }) => (state === 'Recovered' ? [] : [state])).join(' ') ?? '';
      const cordon = (name: string, unschedulable: boolean | null): Promise<unknown> =>
        patch(resourcePath('Node', name), { spec: { unschedulable } });
      try {
        for (const keeper of keepers) keeper.set(true);
        await vi.waitFor(async () => expect(await get<Lease>('Lease', 'raven-agent-b3', NAMESPACE)).toBeDefined(), PATIENCE);
        expect(await active()).toBe('b1');
        keepers[0]!.announceStop();
        await vi.waitFor(async () => expect([await active(), await reasons()]).toEqual(['b3', 'Draining']), PATIENCE);
        keepers[0]!.set(false);
        await keepers[0]!.close();
        const again = keeperOf('b1');
        keepers.push(again);
        again.set(true);
        await vi.waitFor(async () => expect([await active(), await reasons()]).toEqual(['b3', '']), PATIENCE);
        await cordon('b3', true);
        await vi.waitFor(async () => expect([await active(), await reasons()]).toEqual(['b1', 'Draining']), PATIENCE);
        await cordon('b3', null);
        await vi.waitFor(async () => expect([await active(), await reasons()]).toEqual(['b1', '']), PATIENCE);
        const lease = await get<Lease>('Lease', 'raven-agent-b1', NAMESPACE);
        expect(lease.spec).toMatchObject({ holderIdentity: 'b1', leaseDurationSeconds: 30 });
        const events = await kubectl(kubeconfig, [
          'get',
          'events',
          '-n',
          'default',
          '-o',
          'jsonpath={range .items[*]}{.message}{"\\n"}{end}',
        ]);
        expect(events).toContain('tunnel moved from b1 to b3: node b1 is to be left: its agent is about to stop');
        expect(events).toContain('tunnel moved from b3 to b1: node b3 is to be left: it is cordoned');
      } finally {
        for (const keeper of keepers) await keeper.close();
        await store.close();
        await cordon('b3', null);
        await kubectl(kubeconfig, ['delete', 'lease', 'raven-agent-b1', 'raven-agent-b3', '-n', NAMESPACE, '--ignore-not-found']);
      }
    });

    it('keeps a Service on the active endpoint, and tells where the load balancer is (R13)', async () => {
      const services = async (): Promise<Service[]> =>
        (await admin.request<{ items: Service[] }>({ method: 'GET', path: resourcePath('Service', undefined, NAMESPACE) })).items.filter(
          ({ metadata }) => metadata.labels?.['raven.openyurt.io/gateway'] === 'b',
        );
      const ready = async (): Promise<string> =>
        kubectl(kubeconfig, [
          'get',
          'endpointslices',
          '-n',
          NAMESPACE,
          '-l',
          'raven.openyurt.io/gateway=b',
          '-o',
          'jsonpath={range .items[*].endpoints[*]}{.nodeName} {.addresses[0]}{"\\n"}{end}',
        ]);
      const exposed = async (): Promise<readonly string[]> =>
        (await gateway()).status?.exposed?.flatMap(({ addresses }) => addresses) ?? [];

      await patch(resourcePath('Gateway', 'b'), { spec: { exposeType: 'LoadBalancer' } });
      await vi.waitFor(async () => expect(await ready()).toBe('b1 192.168.1.10\n'), PATIENCE);
      const [service] = await services();
      expect(service).toMatchObject({
        spec: { type: 'LoadBalancer', externalTrafficPolicy: 'Local', ports: [{ port: 4500, protocol: 'UDP' }] },
      });

      // As a cloud does: an annotation and an address of its own.
      const path = resourcePath('Service', service!.metadata.name, NAMESPACE);
      await patch(path, { metadata: { annotations: { 'cloud.example/id': 'lb-1' } } });
      const ingress = (...list: object[]): Promise<unknown> => patch(`${path}/status`, { status: { loadBalancer: { ingress: list } } });
      await ingress({ ip: '203.0.113.9' }, { hostname: 'lb.example' });
      await vi.waitFor(async () => expect(await exposed()).toEqual(['203.0.113.9', 'lb.example']), PATIENCE);
      const writes = await metric(port, WRITES);
      await ingress({ hostname: 'lb.example' }, { ip: '203.0.113.9' });
      await ingress({ ip: '203.0.113.9' }, { hostname: 'lb.example' });
      await patch(resourcePath('Gateway', 'b'), {
        metadata: { annotations: { 'raven.openyurt.io/extra-allowed-source-cidrs': '10.77.0.0/16' } },
      });
      await vi.waitFor(async () => expect(await subnets('b1')).toContain('10.77.0.0/16'), PATIENCE);
      expect((await metric(port, WRITES)) - writes).toBe(1);
      await ingress({ hostname: 'other.example' });
      await vi.waitFor(async () => expect(await exposed()).toEqual(['other.example']), PATIENCE);
      expect((await services())[0]?.metadata.annotations).toMatchObject({ 'cloud.example/id': 'lb-1' });

      await setReady('b1', 'False');
      await vi.waitFor(async () => expect(await ready()).toBe('b3 192.168.1.12\n'), PATIENCE);
      expect((await services()).map(({ metadata }) => metadata.labels?.['raven.openyurt.io/endpoints-name'])).toEqual(['b3']);
      await setReady('b1', 'True');

      await patch(resourcePath('Gateway', 'b'), { spec: { exposeType: null } });
      await vi.waitFor(async () => expect([await services(), await ready()]).toEqual([[], '']), PATIENCE);
      await patch(resourcePath('Gateway', 'b'), { spec: { exposeType: 'LoadBalancer' } });
      await vi.waitFor(async () => expect(await services()).toHaveLength(1), PATIENCE);
      await kubectl(kubeconfig, ['delete', 'gateway', 'b']);
      await vi.waitFor(async () => expect([await services(), await ready()]).toEqual([[], '']), PATIENCE);
    });
  });
});

const BLOCK = { apiVersion: 'crd.projectcalico.org/v1', kind: 'BlockAffinity' };
/** As Calico installs it, as far as it matters here. */
const CALICO_CRD = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'blockaffinities.crd.projectcalico.org' },
  spec: {
    group: 'crd.projectcalico.org',
    scope: 'Cluster',
    names: { kind: 'BlockAffinity', listKind: 'BlockAffinityList', plural: 'blockaffinities', singular: 'blockaffinity' },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
      },
    ],
  },
};
