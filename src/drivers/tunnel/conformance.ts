import { afterEach, beforeEach, expect, it } from 'vitest';
import type { TunnelPlan } from '../../domain/node-plan.ts';
import { poll } from './process.ts';
import type { TunnelDriver, TunnelState } from './tunnel-driver.ts';

type Counted = TunnelDriver & { writes(): number };

export interface PlannedPeer {
  readonly peer: string;
  /** Prefixes of the one side, and of the peer. */
  readonly local: string;
  readonly remote: string;
  /** Absent: it has to call. */
  readonly call?: { readonly ip: string; readonly port: number };
}

/** Two machines that reach each other: `a`, which can be called, and `b`, which calls. */
export interface Pair {
  /** A driver for this machine, taking over what an earlier one left running. */
  driver(name: 'a' | 'b', psk?: string): Counted;
  /** Where `a` is called. */
  readonly remote: { readonly ip: string; readonly port: number };
  /** A plan in the driver's own terms. */
  plan(name: 'a' | 'b', peers: readonly PlannedPeer[]): TunnelPlan;
  /** What `a`, which is called, and `b`, which calls, say when the secrets differ. */
  readonly secretsDiffer: { readonly a: RegExp; readonly b: RegExp };
  /** Whether a peer is told when the other side ends. */
  readonly saysGoodbye: boolean;
  /** Ends what the drivers left running. */
  close(): Promise<void>;
}

const SECRET = 'c0ffee0123456789abcdef9876543210';
const TIMEOUT_MS = 30_000;

/** Waits until the tunnel to `peer` is as wanted. */
export async function reaches(driver: TunnelDriver, peer: string, isWanted: (state: TunnelState) => boolean): Promise<TunnelState> {
  let seen: TunnelState | undefined;
  const found = await poll(async () => {
    seen = (await driver.list()).find((state) => state.peer === peer);
    return seen !== undefined && isWanted(seen) ? seen : undefined;
  }, TIMEOUT_MS);
  if (found === undefined) throw new Error(`${peer} did not get there; last seen: ${JSON.stringify(seen)}`);
  return found;
}

/** As `reaches`, for one who looks once and then only when told to. */
async function isTold(driver: TunnelDriver, peer: string, isWanted: (state: TunnelState) => boolean): Promise<void> {
  let isDue = true;
  driver.onChange(() => (isDue = true));
  const found = await poll(async () => {
    if (!isDue) return undefined;
    isDue = false;
    return (await driver.list()).some((state) => state.peer === peer && isWanted(state)) ? true : undefined;
  }, TIMEOUT_MS);
  if (found === undefined) throw new Error(`nobody was told of ${peer}; now: ${JSON.stringify(await driver.list())}`);
}

export const isUp = ({ state }: TunnelState): boolean => state === 'up';

/** What every TunnelDriver must do, packets aside. */
export function tunnelDriverConformance(makePair: () => Promise<Pair>): void {
  let pair: Pair;
  let opened: Counted[] = [];
  const toB: PlannedPeer = { peer: 'b', local: '10.1.0.0/24', remote: '10.2.0.0/24' };
  const planA = (others: readonly PlannedPeer[] = [toB]): TunnelPlan => pair.plan('a', others);
  const planB = (): TunnelPlan => pair.plan('b', [{ peer: 'a', local: '10.2.0.0/24', remote: '10.1.0.0/24', call: pair.remote }]);

  beforeEach(async () => {
    pair = await makePair();
    opened = [];
  });
  afterEach(async () => {
    for (const driver of opened) await driver.close();
    await pair.close();
  });

  async function open(name: 'a' | 'b', plan: TunnelPlan, psk = SECRET): Promise<Counted> {
    const driver = pair.driver(name, psk);
    opened.push(driver);
    driver.prepare(plan);
    await driver.start();
    await driver.set(plan);
    return driver;
  }

  it('brings a tunnel up, tells listeners, writes nothing when asked again, and lets a new driver take over', async () => {
    const a = await open('a', planA());
    let told = 0;
    a.onChange(() => told++);
    const b = await open('b', planB());
    await Promise.all([reaches(a, 'b', isUp), reaches(b, 'a', isUp)]);
    expect(await poll(async () => (told > 0 ? true : undefined), TIMEOUT_MS)).toBe(true);

    const before = [a.writes(), b.writes()];
    await Promise.all([a.set(planA()), b.set(planB())]);
    expect([a.writes(), b.writes()]).toEqual(before);

    await b.close();
    const next = await open('b', planB());
    expect(next.writes()).toBe(0);
    expect((await next.list()).map(({ peer, state }) => ({ peer, state }))).toEqual([{ peer: 'a', state: 'up' }]);
  });

  it('lists every planned tunnel in order of peer, also those that cannot come up, and forgets what left the plan', async () => {
    const a = await open('a', planA());
    const lonely = ['zoe', 'eve'].map((peer, i) => ({ peer, local: '10.1.0.0/24', remote: `10.9.${i}.0/24` }));
    await a.set(planA([...lonely, toB]));
    await open('b', planB());
    await reaches(a, 'b', isUp);
    const states = await a.list();
    expect(states.map(({ peer, state }) => `${peer} ${state}`)).toEqual(['b up', 'eve down', 'zoe down']);
    expect(states[1]?.message).toMatch(/no handshake.*eve/);
    await a.set(planA(lonely));
    expect((await a.list()).map(({ peer }) => peer)).toEqual(['eve', 'zoe']);
  });

  it('says that the secrets differ, and tells listeners', async () => {
    const a = await open('a', planA(), `${SECRET}-another`);
    const b = await open('b', planB());
    await Promise.all([
      isTold(a, 'b', ({ state, message = '' }) => state !== 'up' && pair.secretsDiffer.a.test(message)),
      isTold(b, 'a', ({ state, message = '' }) => state !== 'up' && pair.secretsDiffer.b.test(message)),
    ]);
  });

  it('says that a call gets no answer, and tells listeners', async () => {
    const b = await open('b', planB());
    await isTold(b, 'a', ({ state, message = '' }) => state === 'connecting' && message.startsWith('no handshake'));
  });

  it('cleans up completely, also twice, and can begin again', async () => {
    const a = await open('a', planA());
    const b = await open('b', planB());
    await reaches(a, 'b', isUp);
    await b.cleanup();
    await b.cleanup();
    expect(await b.list()).toEqual([]);
    if (pair.saysGoodbye) await reaches(a, 'b', ({ state }) => state !== 'up');
    await b.set(planB());
    await reaches(b, 'a', isUp);
  });
}
