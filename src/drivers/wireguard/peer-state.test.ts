import { describe, expect, it } from 'vitest';
import type { Cidr } from '../../net/cidr.ts';
import type { Ip } from '../../net/ip.ts';
import type { WgPeer } from '../../net/wg-dump.ts';
import type { WgKey } from '../../net/wg-key.ts';
import { describePeers, type PeerMemory } from './peer-state.ts';
import type { WireguardPlan, WireguardTunnel } from '../../domain/node-plan.ts';

const KEY = 'KEY' as WgKey;
const START_MS = 1_700_000_000_000;
const CALLED: WireguardTunnel = {
  peer: 'a1',
  gateway: 'a',
  publicKey: KEY,
  remote: { ip: '192.0.2.1' as Ip, port: 4500 },
  allowedIps: ['10.1.0.0/24' as Cidr],
  keepaliveS: 25,
  peerKeepsAlive: false,
};
const CALLER: WireguardTunnel = { ...CALLED, peer: 'b1', keepaliveS: 0, peerKeepsAlive: true };
const { remote: _, ...WAITED_FOR } = CALLER;

type Look = { readonly atS: number; readonly rx?: number; readonly tx?: number; readonly handshakeAtS?: number };

/** What is said of the peer after each look. */
function watch(tunnel: WireguardTunnel, looks: readonly Look[]): string[] {
  const plan: WireguardPlan = { driver: 'wireguard', dataPath: 'kernel', localName: 'x', localPort: 4511, tunnels: [tunnel] };
  let memory: ReadonlyMap<string, PeerMemory> = new Map();
  return looks.map(({ atS, rx = 0, tx = 0, handshakeAtS }) => {
    const peer: WgPeer = {
      publicKey: KEY,
      presharedKey: undefined,
      endpoint: tunnel.remote,
      allowedIps: [],
      latestHandshakeS: handshakeAtS === undefined ? 0 : START_MS / 1000 + handshakeAtS,
      rxBytes: rx,
      txBytes: tx,
      keepaliveS: tunnel.keepaliveS,
    };
    const view = describePeers(plan, { publicKey: KEY, listenPort: 4511, fwmark: 0, peers: [peer] }, memory, START_MS + atS * 1000);
    memory = view.memory;
    const [state] = view.states;
    return [state?.state, view.stuck.size > 0 ? 'stuck' : '', state?.message ?? ''].filter((word) => word !== '').join(' ');
  });
}

const last = (tunnel: WireguardTunnel, looks: readonly Look[]): string | undefined => watch(tunnel, looks).at(-1);

describe('the state of a peer', () => {
  it('is up with the first handshake', () => {
    expect(watch(CALLED, [{ atS: 0 }, { atS: 1, tx: 148 }, { atS: 2, tx: 180, rx: 92, handshakeAtS: 2 }])).toEqual([
      'connecting no handshake yet: nothing has been sent to a1 at 192.0.2.1:4500/udp',
      'connecting calling 192.0.2.1:4500/udp',
      'up',
    ]);
  });

  it('says who does not answer, and where', () => {
    expect(
      last(CALLED, [
        { atS: 0, tx: 148 },
        { atS: 20, tx: 700 },
      ]),
    ).toBe(
      'connecting stuck no handshake: no answer from 192.0.2.1:4500/udp; is that port open there, and on the way? A wrong pre-shared key (--psk-file) on one side would look the same',
    );
    expect(last(WAITED_FOR, [{ atS: 0 }, { atS: 31 }])).toBe(
      'down stuck no handshake: b1 has to call, and nothing from it is seen on UDP port 4511; is that port open here, and on the way?',
    );
  });

  it('does not speak of keys when there was a handshake once', () => {
    const looks = [0, 5, 10, 20, 50].map((atS) => ({ atS, rx: 1000, tx: 1000 + atS * 100, handshakeAtS: 0 }));
    expect(last(CALLED, looks)).toBe('connecting stuck no answer from 192.0.2.1:4500/udp');
  });

  it('tells a peer whose handshakes come in and are never completed: its pre-shared key differs', () => {
    const looks = [0, 148, 296, 444].map((rx, i) => ({ atS: i * 5, rx, tx: i * 92 }));
    expect(last(WAITED_FOR, looks)).toMatch(
      /^down no handshake: b1 calls and none is completed: the pre-shared key \(--psk-file\) differs/,
    );
    expect(last(WAITED_FOR, [...looks, { atS: 60, rx: 444, tx: 276 }])).toMatch(/b1 has to call/);
  });

  it('stays up while it is idle and nobody has to keep it alive, and while packets go one way only', () => {
    const both = { ...CALLED, keepaliveS: 0 };
    expect(
      last(both, [
        { atS: 0, rx: 500, tx: 500, handshakeAtS: 0 },
        { atS: 4000, rx: 500, tx: 500, handshakeAtS: 0 },
      ]),
    ).toBe('up');
    // Answered by an empty packet each 10 s.
    const looks = Array.from({ length: 20 }, (__, i) => ({ atS: i * 5, tx: i * 50_000, rx: 92 + 32 * Math.floor(i / 2), handshakeAtS: 0 }));
    expect(new Set(watch(CALLED, looks))).toEqual(new Set(['up']));
  });

  it('goes down when what is sent is not answered', () => {
    const looks = [0, 5, 10, 15, 20].map((atS) => ({ atS, rx: 1000, tx: 1000 + atS * 100, handshakeAtS: 0 }));
    expect(watch(CALLED, looks).map((text) => text.split(' ')[0])).toEqual(['up', 'up', 'up', 'up', 'connecting']);
  });

  it('goes down although keepalives still come in, and comes up by contents or a new handshake only', () => {
    const down = [0, 5, 10, 15, 20].map((atS) => ({ atS, rx: 1000, tx: 1000 + atS * 100, handshakeAtS: 0 }));
    const states = (more: readonly Look[]) =>
      watch(CALLED, [...down, ...more])
        .slice(down.length)
        .map((text) => text.split(' ')[0]);
    expect(
      states([
        { atS: 25, rx: 1032, tx: 3600, handshakeAtS: 0 },
        { atS: 30, rx: 1180, tx: 3700, handshakeAtS: 0 },
      ]),
    ).toEqual(['connecting', 'connecting']);
    expect(states([{ atS: 25, rx: 1128, tx: 3600, handshakeAtS: 0 }])).toEqual(['up']);
    expect(states([{ atS: 25, rx: 1092, tx: 3600, handshakeAtS: 24 }])).toEqual(['up']);
  });

  it('goes down when a peer that keeps itself alive is not heard any more', () => {
    expect(
      last(WAITED_FOR, [
        { atS: 0, rx: 500, tx: 92, handshakeAtS: 0 },
        { atS: 61, rx: 500, tx: 92, handshakeAtS: 0 },
      ]),
    ).toMatch(/^down no handshake: b1 has to call/);
  });

  it('is told also when there is no device', () => {
    const plan: WireguardPlan = { driver: 'wireguard', dataPath: 'kernel', localName: 'x', localPort: 1, tunnels: [CALLED] };
    expect(describePeers(plan, undefined, new Map(), START_MS).states[0]).toMatchObject({
      state: 'connecting',
      message: 'the WireGuard device is missing',
    });
  });
});
