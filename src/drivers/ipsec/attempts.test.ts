import { describe, expect, it } from 'vitest';
import { createAttemptBook } from './attempts.ts';
import { planConnections } from './connection.ts';
import type { ChildSa, IkeSa } from './sas.ts';
import { tunnel, tunnelPlan } from './test-plans.ts';

const NOW_MS = 1_000_000;
const connectionFor = (localTs: string): ReturnType<typeof planConnections>[number] =>
  planConnections(tunnelPlan('b', [tunnel('a', [localTs], ['10.1.0.0/24'], { ip: '203.0.113.1', port: 4500 })]))[0]!;

/** With an SA that was made for `localTs`. */
function ikeSa(localTs: string): IkeSa {
  const [name] = connectionFor(localTs).children;
  const counters = { bytesIn: 0, bytesOut: 0, installedS: 60, spiIn: 'a1', spiOut: 'b1' };
  const child: ChildSa = { name, id: 1, state: 'INSTALLED', localTs: [localTs], remoteTs: ['10.1.0.0/24'], ...counters };
  const state = { state: 'ESTABLISHED', establishedS: 60, initiator: true, busy: false };
  return { name: 'raven-a', id: 1, remote: undefined, ...state, children: [child] };
}

describe('the pause after a call', () => {
  const pauseMs = (ikeSas: readonly IkeSa[]): number =>
    createAttemptBook(() => 0.99).add(connectionFor('10.2.0.0/24'), ikeSas, NOW_MS) - NOW_MS;

  it('is short while an SA of an earlier plan is up: the peer gets its new plan a moment later', () => {
    expect(pauseMs([ikeSa('10.9.0.0/24')])).toBeLessThanOrEqual(200);
  });

  it('is a second to a peer that does not answer', () => {
    expect(pauseMs([])).toBeGreaterThan(900);
  });
});
