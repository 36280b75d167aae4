import { pino } from 'pino';
import { afterEach, describe, expect, it } from 'vitest';
import { LEASE_TIMING } from '../domain/leader-election.ts';
import { createTestClock } from '../lib/test-clock.ts';
import type { ClusterStore } from '../store/cluster-store.ts';
import { createMemoryStore } from '../store/memory.ts';
import { runLeadership } from './leadership.ts';

const log = pino({ level: 'silent' });
const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

/** Replicas on one clock and one store, each of which can be cut off or frozen. */
function cluster() {
  const clock = createTestClock();
  const shared = createMemoryStore();
  const leading = new Set<string>();
  const history: string[] = [];

  function replica(identity: string) {
    const stop = new AbortController();
    let isCutOff = false;
    const guard = <T>(work: () => Promise<T>): Promise<T> => (isCutOff ? Promise.reject(new Error('connection refused')) : work());
    const store: ClusterStore = {
      ...shared,
      get: (...args) => guard(() => shared.get(...args)),
      apply: (...args) => guard(() => shared.apply(...args)),
    };
    const lead = (signal: AbortSignal): Promise<void> => {
      leading.add(identity);
      history.push(identity);
      return new Promise((resolve) => {
        signal.addEventListener('abort', () => {
          leading.delete(identity);
          resolve();
        });
      });
    };
    const ended = runLeadership({
      store,
      clock,
      log,
      identity,
      name: 'raven-controller',
      namespace: 'kube-system',
      lead,
      signal: stop.signal,
    });
    const end = (): Promise<void> => {
      stop.abort();
      return ended;
    };
    stops.push(end);
    return { stop: end, cutOff: (yes: boolean) => void (isCutOff = yes) };
  }

  /** Time passes in small steps; after each of them there is one leader at most. */
  async function pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 100) {
      clock.advance(100);
      for (let i = 0; i < 5; i++) await new Promise(setImmediate);
      expect(leading.size).toBeLessThanOrEqual(1);
    }
  }

  return { replica, pass, leading, history, lease: () => shared.get('Lease', 'raven-controller', 'kube-system') };
}

describe('leadership', () => {
  it("is one replica's, and stays there as long as it renews the lease", async () => {
    const { replica, pass, history, lease } = cluster();
    replica('a');
    await pass(500);
    replica('b');
    await pass(60_000);
    expect(history).toEqual(['a']);
    expect((await lease())?.spec).toMatchObject({ holderIdentity: 'a', leaseDurationSeconds: 10, leaseTransitions: 0 });
    expect((await lease())?.spec.renewTime).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  });

  it('ends before another replica can begin when the leader is cut off, and comes to the other within 15 s', async () => {
    const { replica, pass, leading, history, lease } = cluster();
    const a = replica('a');
    await pass(500);
    replica('b');
    await pass(5_000);
    a.cutOff(true);
    await pass(LEASE_TIMING.renewDeadlineMs);
    expect([...leading]).toEqual([]);
    await pass(15_000 - LEASE_TIMING.renewDeadlineMs);
    expect([...leading]).toEqual(['b']);
    a.cutOff(false);
    await pass(30_000);
    expect(history).toEqual(['a', 'b']);
    expect((await lease())?.spec).toMatchObject({ holderIdentity: 'b', leaseTransitions: 1 });
  });

  it('goes to the next at its next look when the leader stops', async () => {
    const { replica, pass, leading } = cluster();
    const a = replica('a');
    await pass(500);
    replica('b');
    await pass(3_000);
    await a.stop();
    expect([...leading]).toEqual([]);
    await pass(LEASE_TIMING.retryMs + 200);
    expect([...leading]).toEqual(['b']);
  });

  it('outlives a short absence of the API server', async () => {
    const { replica, pass, history } = cluster();
    const a = replica('a');
    await pass(3_000);
    a.cutOff(true);
    await pass(4_000);
    a.cutOff(false);
    await pass(20_000);
    expect(history).toEqual(['a']);
  });

  it("does not believe the times in the lease: they are another machine's", async () => {
    const { replica, pass, leading, lease } = cluster();
    const a = replica('a');
    await pass(500);
    a.cutOff(true);
    expect((await lease())?.spec.renewTime).toMatch(/^1970/);
    await pass(60_000);
    replica('b');
    await pass(LEASE_TIMING.durationMs - 1_000);
    expect([...leading]).toEqual([]);
    await pass(2_000);
    expect([...leading]).toEqual(['b']);
  });
});
