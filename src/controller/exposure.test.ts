import { pino } from 'pino';
import { afterEach, describe, expect, it } from 'vitest';
import { type EndpointSlice, type Service, serviceSchema } from '../api/core.ts';
import { type Gateway, gatewaySchema } from '../api/gateway.ts';
import { createTestStore, type TestStore } from './test-store.ts';
import { type Exposure, startExposure } from './exposure.ts';

const NAMESPACE = 'kube-system';
const clock = {
  now: () => Date.UTC(2026, 0, 1),
  after: (delayMs: number, callback: () => void) => {
    const timer = setTimeout(callback, Math.min(delayMs, 5));
    return () => clearTimeout(timer);
  },
};

function region(name: string, active: readonly string[], exposeType = 'LoadBalancer'): Gateway {
  const endpoints = active.map((nodeName) => ({ nodeName, type: 'tunnel', port: 4500 }));
  return gatewaySchema.parse({
    apiVersion: 'raven.openyurt.io/v1beta1',
    kind: 'Gateway',
    metadata: { name, uid: `uid-${name}` },
    spec: { exposeType, endpoints },
    status: {
      nodes: active.map((nodeName, i) => ({ nodeName, privateIP: `192.168.1.${i + 10}`, subnets: [] })),
      activeEndpoints: endpoints,
    },
  });
}

describe('startExposure', () => {
  let exposure: Exposure | undefined;
  const events: string[] = [];
  const logged: string[] = [];
  afterEach(async () => {
    await exposure?.stop();
    events.length = logged.length = 0;
  });

  async function started(store: TestStore): Promise<TestStore> {
    exposure = startExposure({
      store,
      namespace: NAMESPACE,
      recordEvent: async ({ metadata: { name } }, { reason }) => void events.push(`${name} ${reason}`),
      log: pino({ level: 'error' }, { write: (line: string) => void logged.push((JSON.parse(line) as { msg: string }).msg) }),
      clock,
    });
    await exposure.settled();
    store.writes.length = 0;
    return store;
  }
  const settled = async (): Promise<void> => {
    for (let i = 0; i < 3; i++) await exposure!.settled();
  };
  /** `NODE ADDRESS` per Service, through its EndpointSlice. */
  const exposing = async (store: TestStore): Promise<string[]> => {
    const slices = await store.list('EndpointSlice');
    return (await store.list('Service')).map(({ metadata: { name, labels } }) => {
      const of = slices.filter((slice: EndpointSlice) => slice.metadata.labels?.['kubernetes.io/service-name'] === name);
      return `${labels?.['raven.openyurt.io/endpoints-name']} ${of.flatMap(({ endpoints }) => endpoints[0]?.addresses ?? []).join(' ')}`;
    });
  };
  const services = async (store: TestStore): Promise<readonly Service[]> => store.list('Service');
  /** @returns what the controller wrote after it */
  async function change(store: TestStore, service: Service, metadata: object): Promise<string[]> {
    await store.apply('Service', serviceSchema.parse({ ...service, metadata: { ...service.metadata, ...metadata } }));
    await settled();
    return store.writes.slice(1);
  }

  it('exposes gateways that are there at the start, and is quiet after', async () => {
    const store = await started(createTestStore([region('a', ['a1']), region('b', ['b1', 'b3'])]));
    expect((await exposing(store)).toSorted()).toEqual(['a1 192.168.1.10', 'b1 192.168.1.10', 'b3 192.168.1.11']);
    await settled();
    expect([store.writes, logged]).toEqual([[], []]);
  });

  it('removes what was left while no controller ran', async () => {
    const before = await started(createTestStore([region('a', ['a1']), region('b', ['b1'])]));
    const left = [...(await before.list('Service')), ...(await before.list('EndpointSlice'))];
    await exposure!.stop();
    const store = await started(createTestStore([...left, region('a', ['a1'], 'PublicIP')]));
    expect([await exposing(store), await store.list('EndpointSlice')]).toEqual([[], []]);
  });

  it('touches no Service of others, whatever its labels or its name', async () => {
    const service = (name: string, namespace: string, labels: Record<string, string>): Service =>
      serviceSchema.parse({ apiVersion: 'v1', kind: 'Service', metadata: { name, namespace, labels }, spec: { type: 'LoadBalancer' } });
    const others = [
      service('shop', NAMESPACE, { 'raven.openyurt.io/gateway': 'gone', 'raven.openyurt.io/gateway-type': 'tunnel' }),
      service('x-raven-tunnel-svc-mine', NAMESPACE, {}),
      service('x-raven-tunnel-svc-b-0badcafe', 'shop', { 'raven.openyurt.io/gateway': 'b', 'raven.openyurt.io/gateway-type': 'tunnel' }),
    ];
    const store = await started(createTestStore(others));
    expect((await services(store)).map(({ metadata: { name } }) => name).toSorted()).toEqual(
      others.map(({ metadata: { name } }) => name).toSorted(),
    );
  });

  for (const label of ['gateway', 'gateway-type', 'endpoints-name'])
    it(`puts the label ${label} back when somebody took it off`, async () => {
      const store = await started(createTestStore([region('b', ['b1'])]));
      const [service] = await services(store);
      const { [`raven.openyurt.io/${label}`]: _, ...labels } = service!.metadata.labels!;
      const written = await change(store, service!, { labels });
      expect((await services(store)).map(({ metadata }) => metadata.labels)).toEqual([service!.metadata.labels]);
      expect([written, logged]).toEqual([[`Service/${service!.metadata.name}`], []]);
    });

  it('gives the Service to the Gateway that has the name now', async () => {
    const store = await started(createTestStore([region('b', ['b1'])]));
    const [service] = await services(store);
    await change(store, service!, { ownerReferences: [{ apiVersion: 'v1', kind: 'Gateway', name: 'b', uid: 'uid-of-a-former-b' }] });
    expect((await services(store))[0]?.metadata).toMatchObject({ ownerReferences: [{ kind: 'Gateway', name: 'b', uid: 'uid-b' }] });
  });

  it('waits for a Service that the cloud still deletes, and makes it anew then', async () => {
    const store = await started(createTestStore([region('b', ['b1'])]));
    const [service] = await services(store);
    expect(await change(store, service!, { deletionTimestamp: '2026-01-01T00:00:00Z', labels: {} })).toEqual([]);
    await store.remove('Service', service!.metadata.name, NAMESPACE);
    await settled();
    expect((await services(store)).map(({ metadata }) => metadata.deletionTimestamp)).toEqual([undefined]);
  });

  it('tells when something cannot be deleted, deletes the rest, and tries again', async () => {
    const inner = createTestStore([region('b', ['b1', 'b3'])]);
    let refusals = 3;
    const store = await started({
      ...inner,
      remove: async (kind, name, namespace) => {
        if (kind === 'Service' && name.endsWith('8c2c24bc') && refusals-- > 0) throw new Error('forbidden');
        return inner.remove(kind, name, namespace);
      },
    });
    const atFirstFailure = new Promise<string[]>((resolve) => {
      const poll = (): void => (events.length > 0 && logged.length > 0 ? void exposing(store).then(resolve) : void setImmediate(poll));
      poll();
    });
    await store.put(region('b', ['b1', 'b3'], ''));
    expect(await atFirstFailure).toEqual(['b1 ']);
    await expect.poll(() => exposing(store), { timeout: 30_000 }).toEqual([]);
    expect([events, logged.length]).toEqual([Array.from({ length: 3 }, () => 'b DeleteServiceFail'), 3]);
  });

  it('says so when the name is taken by a Service that is not ours', async () => {
    const metadata = { name: 'x-raven-tunnel-svc-b-8c2c24bc', namespace: NAMESPACE };
    const taken = serviceSchema.parse({ apiVersion: 'v1', kind: 'Service', metadata, spec: {} });
    const store = createTestStore([taken, region('b', ['b1'])]);
    void started(store);
    await expect.poll(() => logged, { timeout: 30_000 }).toContain('the gateway is not exposed as it should be');
    expect((await services(store))[0]?.spec).toEqual({});
  });
});
