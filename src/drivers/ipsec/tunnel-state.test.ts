import { describe, expect, it } from 'vitest';
import { planConnections } from './connection.ts';
import { reasonOf } from './reasons.ts';
import type { IkeSa } from './sas.ts';
import { describeTunnels, remember, type TunnelMemory } from './tunnel-state.ts';
import { tunnel, tunnelPlan } from './test-plans.ts';

const REMOTE = { ip: '203.0.113.1', port: 4500 };
const connections = planConnections(tunnelPlan('b', [tunnel('a', ['10.2.0.0/24'], ['10.1.0.0/24'], REMOTE)]));
const waiting = planConnections(tunnelPlan('a', [tunnel('b', ['10.1.0.0/24'], ['10.2.0.0/24'])]));
const START_MS = 1_000_000;

const up: IkeSa = {
  name: 'raven-a',
  id: 3,
  state: 'ESTABLISHED',
  remote: { ip: '198.51.100.9', port: 61_000 },
  establishedS: 600,
  initiator: true,
  busy: false,
  children: [
    {
      name: 'raven-0',
      id: 1,
      state: 'INSTALLED',
      spiIn: '1',
      spiOut: '2',
      bytesIn: 10,
      bytesOut: 20,
      installedS: 5,
      localTs: [],
      remoteTs: [],
    },
  ],
};

/** Feeds lines of charon's log, one second apart. */
function hear(...lines: readonly string[]): Map<string, TunnelMemory> {
  const memory = new Map<string, TunnelMemory>();
  for (const [i, msg] of lines.entries()) {
    const reason = reasonOf({ 'ikesa-name': 'raven-a', msg });
    if (reason !== undefined) memory.set('a', remember(memory.get('a'), reason, START_MS + i * 1000));
  }
  return memory;
}

function messageAfter(seconds: number, ...lines: readonly string[]): string | undefined {
  return describeTunnels({ connections, localPort: 4500 }, [], hear(...lines), START_MS + seconds * 1000).states[0]?.message;
}

describe('the state of a tunnel', () => {
  it('is up with the address that was heard, since as long as charon knows it', () => {
    const { states } = describeTunnels({ connections, localPort: 4500 }, [up], new Map(), START_MS);
    expect(states).toEqual([
      { peer: 'a', state: 'up', sinceMs: START_MS - 600_000, remote: { ip: '198.51.100.9', port: 61_000 }, bytesIn: 10, bytesOut: 20 },
    ]);
  });

  it('keeps its time while it stays, also when the SA is renewed', () => {
    const first = describeTunnels({ connections, localPort: 4500 }, [up], new Map(), START_MS);
    const renewed = { ...up, id: 4, establishedS: 0 };
    const second = describeTunnels({ connections, localPort: 4500 }, [renewed], first.memory, START_MS + 5000);
    expect(second.states[0]?.sinceMs).toBe(first.states[0]?.sinceMs);
    const down = describeTunnels({ connections, localPort: 4500 }, [], second.memory, START_MS + 9000);
    expect(down.states[0]).toMatchObject({ state: 'connecting', sinceMs: START_MS + 9000 });
  });

  it('says when the next words are due: a call that is not answered is no event', () => {
    const memory = hear('initiating IKE_SA raven-a[1] to 203.0.113.1');
    const due = (seconds: number): number | undefined =>
      describeTunnels({ connections, localPort: 4500 }, [], memory, START_MS + seconds * 1000).againAtMs;
    expect(due(1)).toBe(START_MS + 3000);
    expect(due(3)).toBeUndefined();
  });

  it('counts from the first call, also when the end of the old SA was seen after it', () => {
    const first = describeTunnels({ connections, localPort: 4500 }, [up], new Map(), START_MS).memory;
    const calling = reasonOf({ 'ikesa-name': 'raven-a', msg: 'initiating IKE_SA raven-a[2] to 203.0.113.1' })!;
    const memory = new Map([['a', remember(first.get('a'), calling, START_MS + 1000)]]);
    expect(describeTunnels({ connections, localPort: 4500 }, [], memory, START_MS + 2000).againAtMs).toBe(START_MS + 4000);
  });

  it.each([
    [1, 'calling 203.0.113.1:4500/udp', ['initiating IKE_SA raven-a[1] to 203.0.113.1']],
    [
      14,
      'no handshake: no answer from 203.0.113.1:4500/udp; is that port open there, and on the way?',
      ['initiating IKE_SA raven-a[1] to 203.0.113.1', 'retransmit 1 of request with message ID 0'],
    ],
    [
      70,
      'no handshake: no answer from 203.0.113.1:4500/udp; is that port open there, and on the way?',
      ['initiating IKE_SA raven-a[1] to 203.0.113.1', 'giving up after 4 retransmits', 'initiating IKE_SA raven-a[1] to 203.0.113.1'],
    ],
    [
      2,
      'authentication failed: the secret differs from that of the peer, or the peer does not expect this node',
      ['initiating IKE_SA raven-a[1] to 203.0.113.1', 'received AUTHENTICATION_FAILED notify error'],
    ],
    [
      2,
      'authentication failed: the secret differs from that of the peer',
      ["tried 1 shared key for 'b.raven' - 'a.raven', but MAC mismatched"],
    ],
    [
      2,
      'refused by the peer: its plan has other address ranges (TS_UNACCEPTABLE)',
      ['IKE_SA raven-a[1] established between x...y', 'received TS_UNACCEPTABLE notify, no CHILD_SA built'],
    ],
  ])('says after %i s: %s', (seconds, message, lines) => {
    expect(messageAfter(seconds, ...lines)).toBe(message);
  });

  it('says that nobody has called, with the port to look at', () => {
    const { memory } = describeTunnels({ connections: waiting, localPort: 51820 }, [], new Map(), START_MS);
    const { states } = describeTunnels({ connections: waiting, localPort: 51820 }, [], memory, START_MS + 25_000);
    expect(states[0]).toMatchObject({
      state: 'down',
      message: 'no handshake: b has to call, and nothing from it is seen on UDP port 51820; is that port open here, and on the way?',
    });
  });

  it('does not listen to what charon says about others', () => {
    expect(reasonOf({ 'ikesa-name': 'office', msg: 'received AUTHENTICATION_FAILED notify error' })).toBeUndefined();
    expect(reasonOf({ msg: 'received AUTHENTICATION_FAILED notify error' })).toBeUndefined();
    expect(reasonOf({ 'ikesa-name': 'raven-a', msg: 'sending DPD request' })).toBeUndefined();
  });
});
