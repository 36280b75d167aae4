import { describe, expect, it } from 'vitest';
import { type Gateway, gatewaySchema } from '../api/gateway.ts';
import { drainStep } from '../domain/drain.ts';
import { testGateway } from '../domain/test-objects.ts';
import type { Logger } from '../lib/logger.ts';
import { createTestClock } from '../lib/test-clock.ts';
import { createMemoryStore } from '../store/memory.ts';
import { drain, type DrainEnd } from './drain.ts';
import type { LeaseKeeper } from './lease-keeper.ts';
import { followMembership } from './membership.ts';

const region = (active: string, endpoints = ['b1', 'b3']): Gateway => testGateway('b', { endpoints, active: [active] });

describe('drainStep', () => {
  it.each<[string, Gateway[], string]>([
    ['an ordinary node', [region('b1')], 'b2 idle'],
    ['a standby', [region('b3')], 'b1 moved'],
    ['the only endpoint', [region('b1', ['b1'])], 'b1 alone'],
    ['the active one', [region('b1')], 'b1 active'],
    ['a proxy only', [testGateway('b', { endpoints: ['b1 proxy', 'b3'], active: ['b1 proxy', 'b3'] })], 'b1 idle'],
    ['a region without an active endpoint', [gatewaySchema.parse({ ...region('b1'), status: {} })], 'b1 idle'],
  ])('of %s', (_, gateways, expected) => {
    const [node = ''] = expected.split(' ');
    expect(`${node} ${drainStep(node, gateways).step}`).toBe(expected);
  });
});

describe('drain', () => {
  function site(first: Gateway) {
    const clock = createTestClock();
    const cluster = createMemoryStore([first]);
    const state = { announced: 0, perSecond: 100, packets: 0 };
    const lease: LeaseKeeper = {
      set: () => undefined,
      announceStop: () => state.announced++,
      renewedMs: () => undefined,
      close: () => Promise.resolve(),
    };
    const log = { info: () => undefined, warn: () => undefined } as unknown as Logger;
    const membership = followMembership(cluster, 'b1');
    let end: DrainEnd | undefined;
    const pass = async (seconds: number): Promise<void> => {
      for (let i = 0; i <= seconds; i++) {
        for (let turn = 0; turn < 40; turn++) await Promise.resolve();
        if (i === seconds) break;
        state.packets += state.perSecond;
        clock.advance(1_000);
      }
    };
    const start = async (): Promise<void> => {
      await pass(0);
      void drain({
        node: 'b1',
        membership,
        lease,
        tunnelPackets: () => Promise.resolve(state.packets),
        clock,
        log,
        timeoutMs: 30_000,
      }).then((result) => (end = result));
      await pass(0);
    };
    const elect = async (active: string): Promise<void> => {
      const gateway = (await cluster.get('Gateway', 'b'))!;
      await cluster.updateStatus('Gateway', { ...gateway, status: region(active).status! });
      await pass(0);
    };
    return { start, elect, pass, state, end: () => end };
  }

  it('announces, waits until another is elected, and then until nothing of others comes any more', async () => {
    const { start, elect, pass, state, end } = site(region('b1'));
    await start();
    expect(state.announced).toBe(1);
    await pass(10);
    expect(end()).toBeUndefined();
    await elect('b3');
    await pass(5);
    expect(end()).toBeUndefined();
    state.perSecond = 8;
    await pass(2);
    expect(end()).toBe('moved');
  });

  it('does not wait longer than it may', async () => {
    const { start, pass, end } = site(region('b1'));
    await start();
    await pass(29);
    expect(end()).toBeUndefined();
    await pass(2);
    expect(end()).toBe('timeout');
  });

  it('does not wait for anybody where nobody can take over, nor announce anything', async () => {
    const { start, pass, state, end } = site(region('b1', ['b1']));
    await start();
    await pass(0);
    expect([end(), state.announced]).toEqual(['alone', 0]);
  });

  it('ends at once on a node that carries nothing', async () => {
    const { start, end } = site(region('b3', ['b3', 'b4']));
    await start();
    expect(end()).toBe('idle');
  });
});
