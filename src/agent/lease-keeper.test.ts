import { describe, expect, it } from 'vitest';
import type { Lease } from '../api/core.ts';
import type { Logger } from '../lib/logger.ts';
import { createTestClock } from '../lib/test-clock.ts';
import type { ClusterStore } from '../store/cluster-store.ts';
import { createMemoryStore } from '../store/memory.ts';
import { createLeaseKeeper } from './lease-keeper.ts';

function site() {
  const clock = createTestClock();
  const cluster = createMemoryStore();
  const api = { away: false, hangs: false, loopHangs: false, writes: 0, calls: 0 };
  const reach = async (): Promise<void> => {
    api.calls++;
    if (api.hangs) await new Promise(() => undefined);
    if (api.away) throw new Error('connect ECONNREFUSED');
  };
  const store: ClusterStore = {
    ...cluster,
    get: async (...args) => (await reach(), cluster.get(...args)),
    apply: async (...args) => {
      await reach();
      api.writes++;
      return cluster.apply(...args);
    },
  };
  const warnings: string[] = [];
  const note = (_fields: unknown, message?: string): void => void warnings.push(message ?? '');
  const log = { warn: note, info: () => undefined } as unknown as Logger;
  const isWorking = () => !api.loopHangs;
  const create = () => createLeaseKeeper({ node: 'b1', namespace: 'kube-system', store, clock, log, isWorking, random: () => 0.999 });
  const stored = (): Promise<Lease | undefined> => cluster.get('Lease', 'raven-agent-b1', 'kube-system');
  const pass = async (seconds: number): Promise<void> => {
    for (let i = 0; i <= seconds; i++) {
      for (let turn = 0; turn < 40; turn++) await Promise.resolve();
      if (i < seconds) clock.advance(1_000);
    }
  };
  return { create, keeper: create(), api, stored, pass, warnings, cluster };
}

describe('a lease keeper', () => {
  it('writes at once where the node is an endpoint, then every 10 s; on other nodes never', async () => {
    const { keeper, api, stored, pass } = site();
    keeper.set(false);
    await pass(60);
    expect(api.calls).toBe(0);
    keeper.set(true);
    await pass(0);
    expect(await stored()).toMatchObject({ spec: { holderIdentity: 'b1', renewTime: expect.stringMatching(/\.\d{6}Z$/) as unknown } });
    for (let i = 0; i < 100; i++) keeper.set(true);
    await pass(100);
    expect(api.writes).toBe(11);
    keeper.set(false);
    await pass(100);
    expect(api.writes).toBe(11);
  });

  it('comes back within 10 s after an outage, with one write, one complaint and few tries', async () => {
    const { keeper, api, pass, warnings } = site();
    keeper.set(true);
    await pass(5);
    api.away = true;
    await pass(600);
    expect(api.calls).toBeLessThan(80);
    expect(warnings).toHaveLength(1);
    const { writes } = api;
    api.away = false;
    await pass(10);
    expect(api.writes).toBe(writes + 1);
  });

  it('does not pile up while a request hangs', async () => {
    const { keeper, api, pass } = site();
    api.hangs = true;
    keeper.set(true);
    await pass(600);
    expect(api.calls).toBe(1);
  });

  it('says at once that it stops, and keeps saying so; the next agent of the node takes it back', async () => {
    const { create, keeper, api, stored, pass } = site();
    const annotation = async (): Promise<string | undefined> => (await stored())?.metadata.annotations?.['raven.openyurt.io/draining'];
    keeper.set(true);
    await pass(2);
    expect(await annotation()).toBeUndefined();
    keeper.announceStop();
    await pass(0);
    const since = await annotation();
    expect([since, api.writes]).toEqual([expect.stringMatching(/Z$/), 2]);
    await pass(20);
    expect([await annotation(), api.writes]).toEqual([since, 4]);
    await keeper.close();
    create().set(true);
    await pass(0);
    expect(await annotation()).toBeUndefined();
  });

  it('says so later when a write is under way, or the API away', async () => {
    const { keeper, api, stored, pass } = site();
    keeper.set(true);
    keeper.announceStop();
    await pass(1);
    expect((await stored())?.metadata.annotations).toHaveProperty(['raven.openyurt.io/draining']);
    const other = site();
    other.api.away = true;
    other.keeper.set(true);
    other.keeper.announceStop();
    await other.pass(30);
    other.api.away = false;
    await other.pass(10);
    expect((await other.stored())?.metadata.annotations).toHaveProperty(['raven.openyurt.io/draining']);
    expect(api.writes).toBe(2);
  });

  it('takes up the Lease that somebody else changed', async () => {
    const { keeper, stored, pass, cluster } = site();
    keeper.set(true);
    await pass(0);
    await cluster.apply('Lease', { ...(await stored())!, metadata: { ...(await stored())!.metadata, labels: { kept: 'yes' } } });
    await pass(12);
    expect(await stored()).toMatchObject({ metadata: { labels: { kept: 'yes' } } });
    expect(Date.parse((await stored())!.spec.renewTime!)).toBeGreaterThan(1_005_000);
  });

  it('does not speak for an agent that hangs', async () => {
    const { keeper, api, pass } = site();
    keeper.set(true);
    await pass(1);
    api.loopHangs = true;
    await pass(60);
    expect(api.writes).toBe(1);
    api.loopHangs = false;
    await pass(10);
    expect(api.writes).toBe(2);
  });

  it('writes no more once it is closed', async () => {
    const { keeper, api, pass } = site();
    keeper.set(true);
    await pass(1);
    await keeper.close();
    await pass(60);
    expect(api.writes).toBe(1);
  });
});
