import { describe, expect, it } from 'vitest';
import type { PathPlan } from '../domain/node-plan.ts';
import type { TunnelState } from '../drivers/tunnel/tunnel-driver.ts';
import { createTestClock } from '../lib/test-clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { Ip } from '../net/ip.ts';
import { createPathMtuProber } from './path-mtu-prober.ts';

const noLog = { info: () => undefined } as unknown as Logger;
const SIZES = [1438, 1430, 1398, 1338, 1218, 514];
const PATH: PathPlan = { gateway: 'a', peer: 'a1', overlayIp: '10.244.1.1' as Ip, probeSizes: SIZES };
const up = (port = 4500): TunnelState => ({ peer: 'a1', state: 'up', sinceMs: 0, remote: { ip: '203.0.113.1', port } });

/** A path that lets packets up to `limit` through, or what `lose` says. */
function setUp(limit: number) {
  const clock = createTestClock();
  const network = { limit, isDown: false, asked: [] as number[], lose: (nth: number): boolean => nth < 0 };
  const measure = (_address: Ip, _timeoutMs: number, payloadBytes: number): Promise<number | undefined> => {
    const bytes = payloadBytes + 28;
    network.asked.push(bytes);
    return Promise.resolve(network.isDown || bytes > network.limit || network.lose(network.asked.length) ? undefined : 1);
  };
  const prober = createPathMtuProber({ measure, clock, log: noLog });
  /** Lets all that is waiting for answers come to its end. */
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 200; i++) await Promise.resolve();
  };
  const found = () => prober.found().get('a1');
  return { clock, network, prober, settle, found, large: () => network.asked.filter((bytes) => bytes > 100) };
}

describe('a prober of path MTUs', () => {
  it('asks once where the largest size passes', async () => {
    const { prober, settle, found, large } = setUp(1500);
    prober.set([PATH], [up()]);
    await settle();
    expect([found(), large()]).toEqual([1438, [1438]]);
  });

  it('finds what passes, tells it, and repeats nothing while the path stays as it is', async () => {
    const { prober, settle, found, network } = setUp(1350);
    let told = 0;
    prober.onChange(() => told++);
    prober.set([PATH], [up()]);
    await settle();
    const asked = network.asked.length;
    prober.set([PATH], [up()]);
    await settle();
    expect([found(), told, network.asked.length]).toEqual([1338, 1, asked]);
  });

  it('asks nothing without a tunnel, except where none is needed', async () => {
    const { prober, settle, network, found } = setUp(1500);
    prober.set([PATH], [{ ...up(), state: 'connecting' }]);
    await settle();
    expect(network.asked).toEqual([]);
    prober.set([{ ...PATH, isPlain: true }], []);
    await settle();
    expect(found()).toBe(1438);
  });

  it('goes on with what it found when packets move to another endpoint of the region, until it knows better', async () => {
    const { clock, network, prober, settle } = setUp(1350);
    prober.set([PATH], [up()]);
    await settle();
    network.isDown = true;
    prober.set([{ ...PATH, peer: 'a2' }], [{ ...up(), peer: 'a2' }]);
    await settle();
    expect([...prober.found()]).toEqual([['a2', 1338]]);
    Object.assign(network, { isDown: false, limit: 1500 });
    clock.advance(30_000);
    await settle();
    expect([...prober.found()]).toEqual([['a2', 1438]]);
  });

  it('takes neither loss nor an outage for a small MTU', async () => {
    const lossy = setUp(1500);
    // Every second packet, large or small.
    lossy.network.lose = (nth) => nth % 4 < 2;
    lossy.prober.set([PATH], [up()]);
    await lossy.settle();
    expect(lossy.found()).toBe(1438);

    const down = setUp(1500);
    down.network.isDown = true;
    down.prober.set([PATH], [up()]);
    await down.settle();
    expect(down.found()).toBeUndefined();
    down.network.isDown = false;
    down.clock.advance(30_000);
    await down.settle();
    expect(down.found()).toBe(1438);
  });

  it('keeps what it knows of a path that goes down for a while', async () => {
    const { prober, settle, network, clock, found } = setUp(1350);
    prober.set([PATH], [up()]);
    await settle();
    network.isDown = true;
    prober.set([PATH], [{ ...up(), state: 'down' }]);
    clock.advance(30_000);
    await settle();
    expect(found()).toBe(1338);
  });

  it('notices within half a minute that less passes than before, and within ten that more does', async () => {
    const { prober, settle, network, clock, found, large } = setUp(1500);
    prober.set([PATH], [up()]);
    await settle();
    network.limit = 1300;
    clock.advance(30_000);
    await settle();
    expect(found()).toBe(1218);
    network.limit = 1500;
    network.asked.length = 0;
    for (let s = 0; s < 570; s += 30) {
      clock.advance(30_000);
      await settle();
    }
    expect([found(), new Set(large())]).toEqual([1218, new Set([1218])]);
    clock.advance(60_000);
    await settle();
    expect(found()).toBe(1438);
  });

  it('searches at once when asked, and when the peer is reached at another address or the links have changed', async () => {
    const { prober, settle, network, found } = setUp(1300);
    prober.set([PATH], [up()]);
    await settle();
    network.limit = 1400;
    prober.recheck();
    await settle();
    expect(found()).toBe(1398);
    network.limit = 1350;
    prober.set([PATH], [up(4501)]);
    expect(found()).toBe(1398);
    await settle();
    expect(found()).toBe(1338);
    prober.set([{ ...PATH, probeSizes: [1398, 1218] }], [up(4501)]);
    await settle();
    expect(found()).toBe(1218);
  });

  it('forgets peers that are gone, and asks nothing after its end', async () => {
    const { prober, settle, network, clock, found } = setUp(1500);
    prober.set([PATH], [up()]);
    await settle();
    prober.set([], []);
    expect(found()).toBeUndefined();
    prober.set([PATH], [up()]);
    await settle();
    prober.close();
    network.asked.length = 0;
    clock.advance(700_000);
    await settle();
    expect(network.asked).toEqual([]);
  });
});
