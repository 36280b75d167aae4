import { describe, expect, it } from 'vitest';
import type { TunnelLink } from '../api/tunnel-endpoint.ts';
import { describeForwarding, type ForwardingInput, isOwnFault } from './forwarding.ts';

const T0 = Date.UTC(2026, 0, 1);
const SINCE = '2026-01-01T00:00:00Z';
const link = (peer: string, state: TunnelLink['state']): TunnelLink => ({
  peer,
  gateway: peer.slice(0, 1),
  state,
  path: 'direct',
  since: SINCE,
});
const describeAt = (afterMs: number, input: Partial<ForwardingInput>) =>
  describeForwarding({ links: [], findings: [], measured: undefined, previous: undefined, nowMs: T0 + afterMs, ...input });

describe('describeForwarding', () => {
  it('says Ok with a tunnel that is up, Unknown before, and keeps the time at which that began', () => {
    expect(describeAt(0, {})).toEqual({ state: 'Unknown', since: SINCE });
    const ok = describeAt(5_000, { links: [link('a1', 'Up'), link('c1', 'Down')] });
    expect(ok).toEqual({ state: 'Ok', since: '2026-01-01T00:00:05Z' });
    expect(describeAt(9_000, { links: [link('a1', 'Up')], previous: ok })).toEqual(ok);
  });

  it('says why it fails: a closed firewall, a machine that lacks something, what the agent measured', () => {
    const links = [link('a1', 'Up')];
    for (const reason of ['ForwardDropped', 'HostUnfit'])
      expect(
        describeAt(0, {
          links,
          findings: [
            { reason: 'Other', message: '' },
            { reason, message: 'm' },
          ],
        }),
      ).toMatchObject({ state: 'Failed', reason, message: 'm' });
    const measured = { reason: 'NothingGetsAcross', message: 'of 3 nodes' };
    expect(describeAt(0, { links, measured })).toMatchObject({ state: 'Failed', ...measured });
  });

  it('says so when all tunnels are down, once the other ends must have noticed too', () => {
    const links = [link('a1', 'Down'), link('c1', 'Connecting')];
    expect(describeAt(29_000, { links }).state).toBe('Unknown');
    expect(describeAt(30_000, { links })).toMatchObject({ state: 'Failed', reason: 'AllTunnelsDown' });
  });
});

describe('isOwnFault', () => {
  const verdict = { state: 'Failed', reason: 'AllTunnelsDown', since: SINCE } as const;
  const world = (links: Readonly<Record<string, readonly TunnelLink[]>>) => (node: string) => links[node];
  const b1 = [link('a1', 'Down'), link('c1', 'Down')];

  it('is found when two peers have a tunnel with each other', () => {
    expect(isOwnFault('b1', verdict, world({ b1, a1: [link('c1', 'Up')], c1: [link('a1', 'Up')] }))).toBe(true);
  });

  it.each<[string, Readonly<Record<string, readonly TunnelLink[]>>]>([
    ['there is one peer only', { b1: [link('a1', 'Down')], a1: [link('c1', 'Up')], c1: [link('a1', 'Up')] }],
    [
      'the peer that relays died, whose last word is that all is well',
      { b1, a1: [link('c1', 'Up'), link('b1', 'Up')], c1: [link('a1', 'Down')] },
    ],
    ['nobody else says anything', { b1 }],
  ])('is not when %s', (_, links) => {
    expect(isOwnFault('b1', verdict, world(links))).toBe(false);
  });

  it('is in whatever a node knows of itself', () => {
    expect(isOwnFault('b1', { ...verdict, reason: 'ForwardDropped' }, world({}))).toBe(true);
  });
});
