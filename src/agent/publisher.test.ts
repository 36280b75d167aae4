import { describe, expect, it } from 'vitest';
import type { TunnelEndpoint } from '../api/tunnel-endpoint.ts';
import type { Logger } from '../lib/logger.ts';
import { createTestClock } from '../lib/test-clock.ts';
import type { ClusterStore } from '../store/cluster-store.ts';
import { tunnelEndpoint } from '../store/conformance.ts';
import { createMemoryStore } from '../store/memory.ts';
import { createPublisher } from './publisher.ts';

function site() {
  const clock = createTestClock();
  const cluster = createMemoryStore();
  const api = { away: false, calls: 0 };
  const reach = (): void => {
    api.calls++;
    if (api.away) throw new Error('connect ECONNREFUSED');
  };
  const store: ClusterStore = {
    ...cluster,
    apply: async (...args) => (reach(), cluster.apply(...args)),
    updateStatus: async (...args) => (reach(), cluster.updateStatus(...args)),
    remove: async (...args) => (reach(), cluster.remove(...args)),
  };
  const warnings: string[] = [];
  const note = (_fields: unknown, message?: string): void => void warnings.push(message ?? '');
  const log = { warn: note, info: () => undefined } as unknown as Logger;
  const publisher = createPublisher({ node: 'a1', store, clock, log, random: () => 0.999 });
  const stored = (): Promise<TunnelEndpoint | undefined> => cluster.get('TunnelEndpoint', 'a1');
  /** Lets what is under way come to rest, and time go on. */
  const pass = async (seconds: number): Promise<void> => {
    for (let i = 0; i <= seconds; i++) {
      for (let turn = 0; turn < 30; turn++) await Promise.resolve();
      if (i < seconds) clock.advance(1_000);
    }
  };
  return { publisher, api, stored, pass, warnings };
}

const withPort = (port: number): TunnelEndpoint => ({ ...tunnelEndpoint, spec: { ...tunnelEndpoint.spec, port } });

describe('a publisher', () => {
  it('writes what differs, with its status, and nothing that stands there already', async () => {
    const { publisher, api, stored, pass } = site();
    publisher.set({ ...withPort(4500), status: { links: [], conditions: [] } }, undefined);
    await pass(0);
    const current = await stored();
    expect(current).toMatchObject({ spec: { port: 4500 }, status: { links: [] } });
    const calls = api.calls;
    publisher.set({ ...withPort(4500), status: { links: [], conditions: [] } }, current);
    await pass(60);
    expect(api.calls).toBe(calls);
    publisher.set(undefined, current);
    await pass(0);
    expect(await stored()).toBeUndefined();
    publisher.set(undefined, undefined);
    await pass(60);
    expect(api.calls).toBe(calls + 1);
  });

  it('keeps only the last description while the API is away, asks ever more rarely, complains once, and writes it when it is back', async () => {
    const { publisher, api, stored, pass, warnings } = site();
    api.away = true;
    for (let port = 5000; port < 5100; port++) publisher.set(withPort(port), undefined);
    await pass(600);
    expect(api.calls).toBeLessThan(35);
    expect(warnings).toHaveLength(1);
    publisher.set(withPort(6000), undefined);
    api.away = false;
    await pass(31);
    expect((await stored())?.spec.port).toBe(6000);
    expect(api.calls).toBeLessThan(40);
  });

  it('withdraws a TunnelEndpoint later when the API is away', async () => {
    const { publisher, api, stored, pass } = site();
    publisher.set(withPort(4500), undefined);
    await pass(0);
    api.away = true;
    publisher.set(undefined, await stored());
    await pass(100);
    api.away = false;
    await pass(31);
    expect(await stored()).toBeUndefined();
  });

  it('leaves a conflict to the watch, which brings what the next description starts from', async () => {
    const { publisher, api, stored, pass, warnings } = site();
    publisher.set(withPort(4500), undefined);
    await pass(0);
    const calls = api.calls;
    publisher.set(withPort(4501), undefined);
    await pass(60);
    expect(api.calls).toBe(calls + 1);
    expect(warnings).toEqual([]);
    publisher.set({ ...withPort(4501), metadata: (await stored())!.metadata }, await stored());
    await pass(0);
    expect((await stored())?.spec.port).toBe(4501);
  });

  it('writes no more once it is closed', async () => {
    const { publisher, api, pass } = site();
    api.away = true;
    publisher.set(withPort(4500), undefined);
    await pass(1);
    await publisher.close();
    const { calls } = api;
    publisher.set(withPort(4501), undefined);
    await pass(60);
    expect(api.calls).toBe(calls);
  });
});
