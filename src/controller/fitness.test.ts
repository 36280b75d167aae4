import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, describe, expect, it } from 'vitest';
import type { Lease } from '../api/core.ts';
import type { Gateway } from '../api/gateway.ts';
import type { TunnelEndpoint, TunnelLink } from '../api/tunnel-endpoint.ts';
import { type NodeInput, testGateway, testNode } from '../domain/test-objects.ts';
import { formatMicroTime } from '../lib/clock.ts';
import { createTestClock, type TestClock } from '../lib/test-clock.ts';
import type { ClusterStore } from '../store/cluster-store.ts';
import { tunnelEndpoint } from '../store/conformance.ts';
import { openStore } from '../store/open-store.ts';
import { type Controller, startController } from './controller.ts';
import { createTestStore, type TestStore } from './test-store.ts';

const log = pino({ level: 'silent' });
const NODES: readonly [string, NodeInput][] = [
  ['a1', { region: 'a', podCIDR: '10.244.1.0/24' }],
  ['b1', { region: 'b', podCIDR: '10.244.3.0/24' }],
  ['b3', { region: 'b', podCIDR: '10.244.4.0/24' }],
  ['c1', { region: 'c', podCIDR: '10.244.6.0/24' }],
];
const GATEWAYS = [
  testGateway('a', { endpoints: ['a1'] }),
  testGateway('b', { endpoints: ['b1', 'b3'] }),
  testGateway('c', { endpoints: ['c1'] }),
];
const link = (peer: string, state: TunnelLink['state']): TunnelLink => ({ peer, gateway: peer.slice(0, 1), state, path: 'direct' });
const endpoint = (node: string, status: Partial<TunnelEndpoint['status']>): TunnelEndpoint => ({
  ...tunnelEndpoint,
  metadata: { name: node },
  spec: { ...tunnelEndpoint.spec, nodeName: node, gateway: node.slice(0, 1) },
  status: { links: [], conditions: [], ...status },
});

/** A controller whose clock stands still until it is told to go on. */
class Site {
  readonly clock: TestClock = createTestClock(Date.UTC(2026, 0, 1));
  readonly store: TestStore = createTestStore([...NODES.map((args) => testNode(...args)), ...GATEWAYS]);
  controller: Controller | undefined;

  async start(): Promise<void> {
    this.controller = startController({ store: this.store, log, clock: this.clock });
    await this.settle();
  }

  async settle(): Promise<void> {
    for (let i = 0; i < 3; i++) await this.controller?.settled();
  }

  async pass(seconds: number): Promise<void> {
    for (let i = 0; i < seconds; i++) {
      this.clock.advance(1_000);
      await this.settle();
    }
  }

  async renew(node: string, annotations: Readonly<Record<string, string>> = {}): Promise<void> {
    await renew(this.store, node, this.clock.now(), annotations);
    await this.settle();
  }

  async node(name: string, change: NodeInput): Promise<void> {
    await this.store.put(testNode(name, { ...NODES.find(([each]) => each === name)?.[1], ...change }));
    await this.settle();
  }

  async report(node: string, status: Partial<TunnelEndpoint['status']>): Promise<void> {
    const known = await this.store.get('TunnelEndpoint', node);
    const object = endpoint(node, status);
    const metadata = (await this.store.apply('TunnelEndpoint', { ...object, ...(known && { metadata: known.metadata }) })).metadata;
    await this.store.updateStatus('TunnelEndpoint', { ...object, metadata });
    await this.settle();
  }

  gateway(name = 'b'): Promise<Gateway | undefined> {
    return this.store.get('Gateway', name);
  }

  async active(name = 'b'): Promise<string | undefined> {
    return (await this.gateway(name))?.status?.active;
  }

  async fit(): Promise<string> {
    const found = (await this.gateway())?.status?.conditions?.find(({ type }) => type === 'EndpointsFit');
    return `${found?.reason ?? ''}: ${found?.message ?? ''}`;
  }

  async events(): Promise<string[]> {
    return (await this.store.list('Event'))
      .filter(({ involvedObject, reason }) => involvedObject.name === 'b' && reason !== 'ActiveEndpointElected')
      .map(({ type, reason, message }) => `${type} ${reason}: ${message}`);
  }
}

async function renew(store: ClusterStore, node: string, nowMs: number, annotations: Readonly<Record<string, string>> = {}): Promise<Lease> {
  const name = `raven-agent-${node}`;
  const known = await store.get('Lease', name, 'kube-system');
  return store.apply('Lease', {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { ...known?.metadata, name, namespace: 'kube-system', annotations },
    spec: { holderIdentity: node, renewTime: formatMicroTime(nowMs) },
  });
}

describe('a controller that looks at how fit endpoints are', () => {
  let site: Site;
  const started = async (): Promise<Site> => {
    site = new Site();
    await site.start();
    return site;
  };
  afterEach(() => site?.controller?.stop());

  it('leaves a gateway whose agent is silent while another one renews its Lease, and writes nothing for renewals', async () => {
    const { store } = await started();
    await site.renew('b1');
    await site.renew('b3');
    store.writes.length = 0;
    for (let i = 0; i < 3; i++) {
      await site.pass(10);
      await site.renew('b1');
      await site.renew('b3');
    }
    expect(store.writes.filter((key) => key.startsWith('Gateway/'))).toEqual([]);
    for (let i = 0; i < 4; i++) {
      await site.pass(9);
      await site.renew('b3');
    }
    expect([await site.active(), await site.fit()]).toEqual(['b3', 'AgentSilent: node b1: its agent has not renewed its Lease']);
    expect(await site.events()).toEqual([
      'Warning ActiveEndpointMoved: tunnel moved from b1 to b3: node b1: its agent has not renewed its Lease',
    ]);
    await site.renew('b1');
    expect([await site.active(), await site.fit()]).toEqual(['b3', 'AllFit: nothing stands against any endpoint']);
  });

  it('blames nobody after an outage in which no agent got through', async () => {
    await started();
    await site.renew('b1');
    await site.renew('b3');
    await site.pass(300);
    for (let i = 0; i < 3; i++) {
      await site.renew('b3');
      await site.pass(9);
    }
    expect(await site.active()).toBe('b1');
    await site.renew('b1');
    await site.pass(9);
    await site.renew('b3');
    expect(await site.active()).toBe('b1');
  });

  it('judges regions without any Lease by their Nodes alone: older agents, or other implementations', async () => {
    await started();
    await site.renew('a1');
    await site.pass(100);
    await site.renew('a1');
    expect([await site.active(), await site.fit()]).toEqual(['b1', 'AllFit: nothing stands against any endpoint']);
  });

  it('elects another when a gateway says that it does not forward, at once', async () => {
    await started();
    await site.report('b1', { forwarding: { state: 'Ok', since: '' } });
    await site.report('b1', { forwarding: { state: 'Failed', reason: 'ForwardDropped', message: 'a firewall', since: '' } });
    expect([await site.active(), await site.fit()]).toEqual(['b3', 'NotForwarding: node b1 does not forward: a firewall']);
    await site.store.remove('TunnelEndpoint', 'b1');
    await site.pass(3);
    expect(await site.fit()).toBe('NotForwarding: node b1 does not forward: a firewall');
    await site.pass(300);
    expect([await site.active(), await site.fit()]).toEqual(['b3', 'AllFit: nothing stands against any endpoint']);
  });

  it('names a gateway that does not forward, and keeps it, where there is no other', async () => {
    await started();
    await site.node('b3', { ready: 'False' });
    await site.report('b1', { forwarding: { state: 'Failed', reason: 'HostUnfit', message: 'no nft', since: '' } });
    expect(await site.active()).toBe('b1');
    expect(await site.events()).toEqual([
      'Warning ActiveEndpointKept: node b1 does not forward: no nft; it stays active, as no other endpoint is better',
    ]);
    await site.node('b3', {});
    expect(await site.active()).toBe('b3');
  });

  it('leaves a gateway without any tunnel only when others have tunnels with each other, whoever tells first', async () => {
    await started();
    const down = {
      links: [link('a1', 'Down'), link('c1', 'Down')],
      forwarding: { state: 'Failed' as const, reason: 'AllTunnelsDown', since: '' },
    };
    await site.report('a1', { links: [link('b1', 'Up'), link('c1', 'Up')] });
    await site.report('c1', { links: [link('a1', 'Down')] });
    await site.report('b1', down);
    await site.pass(5);
    expect(await site.active()).toBe('b1');
    await site.report('c1', { links: [link('a1', 'Up')] });
    await site.pass(5);
    expect(await site.active()).toBe('b3');
  });

  it.each<[string, NodeInput, string]>([
    ['cordoned, as `kubectl drain` begins', { cordoned: true }, 'it is cordoned'],
    ['annotated', { annotations: { 'raven.openyurt.io/drain': 'true' } }, 'its annotation raven.openyurt.io/drain is true'],
  ])('moves away from a node that is %s, and does not come back (R23)', async (_, change, why) => {
    await started();
    await site.node('b1', change);
    expect([await site.active(), await site.fit()]).toEqual(['b3', `Draining: node b1 is to be left: ${why}`]);
    expect(await site.events()).toEqual([`Normal ActiveEndpointMoved: tunnel moved from b1 to b3: node b1 is to be left: ${why}`]);
    await site.node('b1', {});
    expect([await site.active(), await site.fit()]).toEqual(['b3', 'AllFit: nothing stands against any endpoint']);
  });

  it('stays on a node that is cordoned for other reasons when its annotation says so', async () => {
    await started();
    await site.node('b1', { cordoned: true, annotations: { 'raven.openyurt.io/drain': 'false' } });
    expect(await site.active()).toBe('b1');
  });

  it('moves away from a node whose agent is about to stop', async () => {
    await started();
    await site.renew('b1');
    await site.renew('b1', { 'raven.openyurt.io/draining': '2026-01-01T00:00:00Z' });
    expect(await site.active()).toBe('b3');
    await site.renew('b1');
    expect([await site.active(), await site.fit()]).toEqual(['b3', 'AllFit: nothing stands against any endpoint']);
  });

  it('keeps the active one when its region is lost from sight and while it comes back, and says so once (R22)', async () => {
    await started();
    for (const name of ['b1', 'b3']) await site.renew(name);
    await site.pass(26);
    await site.node('b1', { ready: 'Unknown' });
    expect(await site.active()).toBe('b1');
    await site.node('b3', { ready: 'Unknown' });
    await site.pass(600);
    await site.node('b3', {});
    await site.renew('b3');
    await site.pass(10);
    expect(await site.active()).toBe('b1');
    await site.node('b1', {});
    await site.pass(60);
    expect(await site.active()).toBe('b1');
    expect(await site.events()).toEqual([
      "Warning ActiveEndpointKept: b1 stays active: nothing is heard of any endpoint, so most likely only the region's link to the API server is lost",
    ]);
  });

  it('goes on when only one node of such a region came back', async () => {
    await started();
    for (const name of ['b1', 'b3']) await site.renew(name);
    await site.pass(26);
    for (const name of ['b1', 'b3']) await site.node(name, { ready: 'Unknown' });
    await site.pass(1);
    await site.node('b3', {});
    await site.renew('b3');
    expect(await site.active()).toBe('b1');
    for (let i = 0; i < 4; i++) {
      await site.pass(8);
      await site.renew('b3');
    }
    expect(await site.active()).toBe('b3');
  });

  it('takes a region for cut off no longer than its other Nodes could stay Ready', async () => {
    await started();
    for (const name of ['b1', 'b3']) await site.renew(name);
    await site.pass(26);
    await site.node('b1', { ready: 'Unknown' });
    expect(await site.active()).toBe('b1');
    await site.pass(220);
    expect(await site.active()).toBe('b3');
  });

  it('remembers across its own restart who did not forward', async () => {
    await started();
    await site.report('b1', { forwarding: { state: 'Failed', reason: 'ForwardDropped', message: 'x', since: '' } });
    await site.store.remove('TunnelEndpoint', 'b1');
    await site.controller?.stop();
    await site.start();
    await site.node('b3', { cordoned: true });
    expect(await site.active()).toBe('b3');
    expect((await site.gateway())?.status?.impaired).toMatchObject([
      { nodeName: 'b1', state: 'NotForwarding', falls: 1 },
      { nodeName: 'b3', state: 'Draining' },
    ]);
  });

  it('does the same on a directory of manifests', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'raven-fitness-'));
    const write = (cordoned: boolean): Promise<void> =>
      writeFile(
        join(dir, 'b.yaml'),
        [...NODES.map(([name, input]) => testNode(name, { ...input, cordoned: cordoned && name === 'b1' })), ...GATEWAYS]
          .map((each) => JSON.stringify(each))
          .join('\n---\n'),
      );
    await write(false);
    const store = await openStore(`dir:${dir}`);
    const controller = startController({ store, log });
    const active = async (): Promise<string | undefined> => (await store.get('Gateway', 'b'))?.status?.active;
    try {
      await expect.poll(active, { timeout: 30_000 }).toBe('b1');
      await write(true);
      await expect.poll(active, { timeout: 30_000 }).toBe('b3');
      await write(false);
      await renew(store, 'b3', Date.now(), { 'raven.openyurt.io/draining': 'now' });
      await expect.poll(active, { timeout: 30_000 }).toBe('b1');
    } finally {
      await controller.stop();
      await store.close();
      await rm(dir, { recursive: true, force: true });
    }
  });
});
