import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import type { Gateway } from '../api/gateway.ts';
import { type Election, electEndpoints } from './election.ts';
import { type EndpointSigns, plainSigns } from './endpoint-fitness.ts';
import { testGateway } from './test-objects.ts';

const T0 = Date.UTC(2026, 0, 1);
const MINUTE_MS = 60_000;
const SWITCHES = { tunnel: true, proxy: true };
const FIT = plainSigns(true);
const DOWN = plainSigns(false);
const failed = (reason = 'ForwardDropped'): EndpointSigns => ({ ...FIT, forwarding: { state: 'Failed', reason, since: '' } });
const drained: EndpointSigns = { ...FIT, drain: 'it is cordoned' };
const silent: EndpointSigns = { ...FIT, silence: 'its agent has not renewed its Lease' };

/** A region whose status goes on from election to election, as the controller writes it. */
function region(...endpoints: string[]) {
  let gateway: Gateway = testGateway('b', { endpoints, proxies: 1 });
  let now = T0;
  const elect = (signs: Readonly<Record<string, EndpointSigns>>, returnedAtMs?: number): Election => {
    const election = electEndpoints({ gateway, signs: new Map(Object.entries(signs)), switches: SWITCHES, nowMs: now, returnedAtMs });
    gateway = { ...gateway, status: { nodes: [], activeEndpoints: [...election.active], impaired: [...election.impaired] } };
    return election;
  };
  const active = (...args: Parameters<typeof elect>): string =>
    elect(...args)
      .active.filter(({ type }) => type === 'tunnel')
      .map(({ nodeName }) => nodeName)
      .join(' ');
  return { elect, active, pass: (minutes: number) => (now += minutes * MINUTE_MS), now: () => now };
}

describe('who is elected, by what is known of the nodes', () => {
  it.each<[what: string, b1: EndpointSigns]>([
    ['is drained (R23)', drained],
    ['has an agent that is silent', silent],
    ['says that it does not forward (R20)', failed()],
    ['is not Ready', DOWN],
  ])('leaves a node that %s, and does not come back to it by itself', (_, b1) => {
    const { active } = region('b1', 'b3');
    expect(active({ b1: FIT, b3: FIT })).toBe('b1');
    expect(active({ b1, b3: FIT })).toBe('b3');
    expect(active({ b1: FIT, b3: FIT })).toBe('b3');
  });

  it.each<[what: string, b1: EndpointSigns]>([
    ['is drained', drained],
    ['is silent', silent],
    ['does not forward', failed()],
  ])('stays with a node that %s while nobody else is better', (_, b1) => {
    expect(region('b1').active({ b1 })).toBe('b1');
    expect(region('b1', 'b3').active({ b1, b3: DOWN })).toBe('b1');
    const both = region('b1', 'b3');
    both.active({ b1: FIT, b3: b1 });
    expect(both.active({ b1, b3: b1 })).toBe('b1');
  });

  it('takes the least bad: drained, then silent, then what does not forward', () => {
    const { active } = region('b1', 'b2', 'b3', 'b4');
    expect(active({ b1: failed(), b2: silent, b3: drained, b4: DOWN })).toBe('b3');
    expect(active({ b1: failed(), b2: silent, b3: DOWN, b4: DOWN })).toBe('b2');
    expect(active({ b1: failed(), b2: DOWN, b3: DOWN, b4: DOWN })).toBe('b1');
  });

  it('leaves a proxy where it is when packets do not get across its node', () => {
    const { elect } = region('b1 proxy', 'b3 proxy');
    elect({ b1: FIT, b3: FIT });
    expect(elect({ b1: failed(), b3: FIT }).active).toMatchObject([{ nodeName: 'b1', type: 'proxy' }]);
  });

  it('believes a node that did not forward for five minutes after it fell silent about it, then for ten: two such are not elected in turns', () => {
    const { active, pass } = region('b1', 'b3');
    active({ b1: FIT, b3: FIT });
    expect(active({ b1: failed(), b3: FIT })).toBe('b3');
    // b1 is no gateway now and says nothing.
    expect(active({ b1: FIT, b3: failed() })).toBe('b3');
    pass(4.9);
    expect(active({ b1: FIT, b3: failed() })).toBe('b3');
    pass(0.2);
    expect(active({ b1: FIT, b3: failed() })).toBe('b1');
    expect(active({ b1: failed(), b3: FIT })).toBe('b3');
    pass(9.9);
    expect(active({ b1: FIT, b3: failed() })).toBe('b3');
  });

  it('believes it at once when it says that it forwards again', () => {
    const { active } = region('b1', 'b3');
    active({ b1: failed(), b3: FIT });
    expect(active({ b1: { ...FIT, forwarding: { state: 'Ok', since: '' } }, b3: failed() })).toBe('b1');
  });

  it.each<[falls: number, minutes: number]>([
    [1, 0],
    [2, 10],
    [3, 20],
    [4, 40],
    [5, 60],
  ])('elects who fell %i times within an hour after all others for %i minutes', (falls, minutes) => {
    const all = { b1: FIT, b2: FIT, b3: FIT };
    const electedAfter = (passed: number): string => {
      const { elect, active, pass } = region('b1', 'b2', 'b3');
      for (let i = 0; i < falls; i++) {
        elect({ ...all, b1: DOWN });
        elect(all);
      }
      pass(passed);
      // b2 carries and is left: b1 comes before b3 in the spec.
      return active({ ...all, b2: drained });
    };
    if (minutes > 0) expect(electedAfter(minutes - 0.1)).toBe('b3');
    expect(electedAfter(minutes)).toBe('b1');
  });

  it('keeps who falls often while it is active and fit, and takes it where all others are worse', () => {
    const { elect, active } = region('b1', 'b2');
    for (let i = 0; i < 3; i++) {
      elect({ b1: DOWN, b2: FIT });
      elect({ b1: FIT, b2: FIT });
    }
    expect(active({ b1: FIT, b2: drained })).toBe('b1');
    expect(active({ b1: FIT, b2: FIT })).toBe('b1');
  });

  it('forgets a fall after an hour, and says when to look again', () => {
    const { elect, pass, now } = region('b1', 'b3');
    elect({ b1: FIT, b3: FIT });
    elect({ b1: DOWN, b3: FIT });
    const { impaired, recheckAtMs } = elect({ b1: FIT, b3: FIT });
    expect(impaired).toMatchObject([{ nodeName: 'b1', state: 'Recovered', falls: 1 }]);
    expect(recheckAtMs).toBe(now() + 60 * MINUTE_MS);
    pass(60);
    expect(elect({ b1: FIT, b3: FIT })).toMatchObject({ impaired: [], recheckAtMs: undefined });
  });

  it('does not count what happens to a region that is cut off as a whole, nor a drain', () => {
    const { elect } = region('b1', 'b3');
    elect({ b1: FIT, b3: FIT });
    elect({ b1: DOWN, b3: DOWN });
    expect(elect({ b1: FIT, b3: FIT }).impaired).toEqual([]);
    elect({ b1: drained, b3: FIT });
    expect(elect({ b1: FIT, b3: FIT }).impaired).toEqual([]);
  });

  it('takes a region for cut off when one node is NotReady and no agent was heard of late (R22)', () => {
    const { active, elect } = region('b1', 'b3');
    active({ b1: FIT, b3: FIT });
    const { isCutOff } = elect({ b1: DOWN, b3: { ...FIT, isStale: true } });
    expect(isCutOff).toBe(true);
    expect(active({ b1: DOWN, b3: { ...FIT, isStale: true } })).toBe('b1');
  });

  it('gives a node half a minute to report again when its region comes back, and no longer', () => {
    const { active, elect, pass, now } = region('b1', 'b3');
    active({ b1: FIT, b3: FIT });
    active({ b1: DOWN, b3: DOWN });
    pass(10);
    const returned = now();
    expect(active({ b1: DOWN, b3: FIT }, returned)).toBe('b1');
    expect(elect({ b1: DOWN, b3: FIT }, returned).recheckAtMs).toBe(returned + 30_000);
    pass(0.4);
    expect(active({ b1: DOWN, b3: FIT }, returned)).toBe('b1');
    pass(0.2);
    expect(active({ b1: DOWN, b3: FIT }, returned)).toBe('b3');
  });

  it('expects the nodes of a region that was cut off for as long, so that the standby stays one (simulation 8318)', () => {
    const { elect, pass, now } = region('b1', 'b2', 'b3');
    const expected = (...args: Parameters<typeof elect>): string[] =>
      elect(...args).impaired.flatMap((each) => (each.expected === true ? [each.nodeName] : []));
    expect(expected({ b1: FIT, b2: DOWN, b3: FIT })).toEqual([]);
    expect(expected({ b1: DOWN, b2: DOWN, b3: DOWN })).toEqual(['b1', 'b2', 'b3']);
    pass(10);
    const returned = now();
    expect(expected({ b1: DOWN, b2: DOWN, b3: FIT }, returned)).toEqual(['b1', 'b2']);
    pass(0.6);
    expect(expected({ b1: DOWN, b2: DOWN, b3: FIT }, returned)).toEqual([]);
  });

  const step = fc.record({
    b1: fc.constantFrom(FIT, DOWN, drained, silent, failed()),
    b2: fc.constantFrom(FIT, DOWN, drained, silent, failed()),
    b3: fc.constantFrom(FIT, DOWN, drained, silent, failed()),
    minutes: fc.constantFrom(0, 0.5, 3, 20, 70),
  });

  test.prop([fc.array(step, { maxLength: 30 })])('moves only away from a node that something stands against, whatever happens', (steps) => {
    const { elect, pass } = region('b1', 'b2', 'b3');
    let before = elect({ b1: FIT, b2: FIT, b3: FIT });
    for (const { minutes, ...signs } of steps) {
      pass(minutes);
      const next = elect(signs);
      const [old] = before.active;
      const state = next.impaired.find(({ nodeName }) => nodeName === old?.nodeName)?.state;
      if (old !== undefined && next.active[0]?.nodeName !== old.nodeName)
        expect(state).toMatch(/^(Draining|AgentSilent|NotForwarding|NodeNotReady)$/);
      const fit = Object.entries(signs)
        .filter(([, each]) => each === FIT)
        .map(([name]) => name);
      const remembered = next.impaired.filter((each) => each.state === 'NotForwarding').map(({ nodeName }) => nodeName);
      if (fit.some((name) => !remembered.includes(name))) expect(fit).toContain(next.active[0]?.nodeName);
      before = next;
    }
  });
});
