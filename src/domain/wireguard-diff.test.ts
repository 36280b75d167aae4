import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { type Cidr, compareCidrs } from '../net/cidr.ts';
import type { IpEndpoint } from '../net/endpoint.ts';
import type { Ip } from '../net/ip.ts';
import type { WgDevice, WgPeer } from '../net/wg-dump.ts';
import type { WgKey } from '../net/wg-key.ts';
import type { WireguardTunnel } from './node-plan.ts';
import { diffWireguard, EMPTY_DEVICE, formatWgChange, type WgChange, type WgGoal } from './wireguard-diff.ts';

const OWN = 'OWNKEY' as WgKey;
const at = (ip: string, port = 4500): IpEndpoint => ({ ip: ip as Ip, port });

function tunnel(peer: string, allowedIps: readonly string[], more: Partial<WireguardTunnel> = {}): WireguardTunnel {
  return {
    peer,
    gateway: peer,
    publicKey: `${peer}=` as WgKey,
    allowedIps: allowedIps as readonly Cidr[],
    keepaliveS: 0,
    peerKeepsAlive: true,
    ...more,
  };
}

function goal(tunnels: readonly WireguardTunnel[], more: Partial<WgGoal> = {}): WgGoal {
  const plan = { driver: 'wireguard', dataPath: 'kernel', localName: 'a1', localPort: 4500, tunnels } as const;
  return { plan, publicKey: OWN, presharedKeys: new Map(), endpointsSet: new Map(), stuck: new Set(), ...more };
}

/** What `wg set` does. */
function applyTo(device: WgDevice, change: WgChange): WgDevice {
  if (change.type === 'device') {
    const { listenPort = device.listenPort, fwmark = device.fwmark } = change;
    return { ...device, listenPort, fwmark, publicKey: change.privateKey ? OWN : device.publicKey };
  }
  if (change.type === 'remove') return { ...device, peers: device.peers.filter(({ publicKey }) => publicKey !== change.publicKey) };
  const fresh: WgPeer = {
    publicKey: change.publicKey,
    presharedKey: undefined,
    endpoint: undefined,
    allowedIps: [],
    latestHandshakeS: 0,
    rxBytes: 0,
    txBytes: 0,
    keepaliveS: 0,
  };
  const old = device.peers.find(({ publicKey }) => publicKey === change.publicKey) ?? fresh;
  const { presharedKey = old.presharedKey, endpoint = old.endpoint, keepaliveS = old.keepaliveS, allowedIps = old.allowedIps } = change;
  const next: WgPeer = { ...old, presharedKey: presharedKey === 'none' ? undefined : presharedKey, endpoint, keepaliveS, allowedIps };
  const others = device.peers
    .filter(({ publicKey }) => publicKey !== change.publicKey)
    .map((peer) => ({ ...peer, allowedIps: peer.allowedIps.filter((cidr) => !change.allowedIps?.includes(cidr)) }));
  return { ...device, peers: [...others, next] };
}

const applied = (device: WgDevice, wanted: WgGoal): WgDevice => diffWireguard(device, wanted).reduce(applyTo, device);
const printed = (device: WgDevice, wanted: WgGoal): string[] => diffWireguard(device, wanted).map(formatWgChange);

describe('diffWireguard', () => {
  it('configures a new device and adds peers in order, each in one command without secrets in it', () => {
    const psk = 'SECRET' as WgKey;
    const tunnels = [
      tunnel('c1', []),
      tunnel('b1', ['10.2.0.0/24', '10.3.0.0/24'], { remote: { ip: '192.0.2.7' as Ip, port: 4501 }, keepaliveS: 25 }),
    ];
    const lines = printed(EMPTY_DEVICE, goal(tunnels, { presharedKeys: new Map([['b1', psk]]) }));
    expect(lines).toEqual([
      'wg set raven-wg0 listen-port 4500 private-key PRIVATE_KEY_FILE',
      'wg set raven-wg0 peer b1= preshared-key PRESHARED_KEY_FILE endpoint 192.0.2.7:4501 persistent-keepalive 25 allowed-ips 10.2.0.0/24,10.3.0.0/24',
      'wg set raven-wg0 peer c1=',
    ]);
    expect(lines.join()).not.toContain(psk);
  });

  it('moves a region from the relay to the direct peer, and back, by one command to whoever gets it', () => {
    const relayed = goal([tunnel('a1', ['10.1.0.0/24', '10.3.0.0/24']), tunnel('c1', [])]);
    const direct = goal([tunnel('a1', ['10.1.0.0/24']), tunnel('c1', ['10.3.0.0/24'])]);
    const there = applied(EMPTY_DEVICE, relayed);
    expect(printed(there, direct)).toEqual(['wg set raven-wg0 peer c1= allowed-ips 10.3.0.0/24']);
    expect(printed(applied(there, direct), relayed)).toEqual(['wg set raven-wg0 peer a1= allowed-ips 10.1.0.0/24,10.3.0.0/24']);
  });

  it('gives prefixes to the new gateway before the old one goes', () => {
    const device = applied(EMPTY_DEVICE, goal([tunnel('b1', ['10.2.0.0/24'])]));
    expect(printed(device, goal([tunnel('b3', ['10.2.0.0/24'])]))).toEqual([
      'wg set raven-wg0 peer b3= allowed-ips 10.2.0.0/24',
      'wg set raven-wg0 peer b1= remove',
    ]);
  });

  it('takes away what nobody should have, also the last prefix', () => {
    const device = applied(EMPTY_DEVICE, goal([tunnel('b1', ['10.2.0.0/24'])]));
    expect(printed(device, goal([tunnel('b1', [])]))).toEqual(["wg set raven-wg0 peer b1= allowed-ips ''"]);
  });

  it('takes a pre-shared key away, changes port and mark in place, and leaves keys alone that it does not know', () => {
    const device = {
      ...applied(EMPTY_DEVICE, goal([tunnel('b1', [])], { presharedKeys: new Map([['b1', 'P' as WgKey]]) })),
      fwmark: 7,
      listenPort: 1,
    };
    expect(printed(device, goal([tunnel('b1', [])]))).toEqual([
      'wg set raven-wg0 listen-port 4500 fwmark 0',
      'wg set raven-wg0 peer b1= preshared-key /dev/null',
    ]);
    const unknown = { publicKey: undefined, presharedKeys: undefined };
    expect(printed({ ...device, fwmark: 0, listenPort: 4500 }, goal([tunnel('b1', [])], unknown))).toEqual([]);
  });

  describe('sets an endpoint', () => {
    const remote = at('192.0.2.1');
    const learned = at('198.51.100.9', 8741);
    const wanted = (more: Partial<WgGoal> = {}): WgGoal => goal([tunnel('b1', [], { remote })], more);
    const device = (endpoint: IpEndpoint | undefined): WgDevice => {
      const { peers, ...rest } = applied(EMPTY_DEVICE, wanted());
      return { ...rest, peers: peers.map((peer) => ({ ...peer, endpoint })) };
    };
    const set = ['wg set raven-wg0 peer b1= endpoint 192.0.2.1:4500'];

    it.each<[string, IpEndpoint | undefined, Partial<WgGoal>, string[]]>([
      ['when there is none', undefined, {}, set],
      ['not when it is right', remote, {}, []],
      ['not over one that was learned', learned, {}, []],
      ['not over one that was learned, though it was set before', learned, { endpointsSet: new Map([['b1', remote]]) }, []],
      ['when the plan has another than was set', learned, { endpointsSet: new Map([['b1', at('192.0.2.99')]]) }, set],
      ['when the peer is stuck', learned, { stuck: new Set(['b1']) }, set],
    ])('%s', (_, endpoint, more, lines) => {
      expect(printed(device(endpoint), wanted(more))).toEqual(lines);
    });

    it('never for a peer that has to call', () => {
      expect(printed(device(learned), goal([tunnel('b1', [])], { stuck: new Set(['b1']) }))).toEqual([]);
    });
  });

  describe('calls a peer that was heard by an earlier device, and no other', () => {
    const heardAt = new Map([['b1', at('198.51.100.9', 8741)]]);
    const steps = (tunnels: readonly WireguardTunnel[]): string[][] => {
      const wanted = goal(tunnels, { heardAt });
      const first = applied(EMPTY_DEVICE, wanted);
      return [printed(EMPTY_DEVICE, wanted).slice(1), printed(first, wanted), printed(applied(first, wanted), wanted)];
    };

    it('where it was, by a keepalive that is taken back at the next look', () =>
      expect(steps([tunnel('b1', []), tunnel('c1', [])])).toEqual([
        ['wg set raven-wg0 peer b1= endpoint 198.51.100.9:8741 persistent-keepalive 25', 'wg set raven-wg0 peer c1='],
        ['wg set raven-wg0 peer b1= persistent-keepalive 0'],
        [],
      ]));

    it('where the plan has it, if it has', () =>
      expect(steps([tunnel('b1', [], { remote: at('192.0.2.1') })])).toEqual([
        ['wg set raven-wg0 peer b1= endpoint 192.0.2.1:4500 persistent-keepalive 25'],
        ['wg set raven-wg0 peer b1= persistent-keepalive 0'],
        [],
      ]));

    it('by the keepalive that the plan has for it', () =>
      expect(steps([tunnel('b1', [], { remote: at('192.0.2.1'), keepaliveS: 20 })])).toEqual([
        ['wg set raven-wg0 peer b1= endpoint 192.0.2.1:4500 persistent-keepalive 20'],
        [],
        [],
      ]));
  });
});

const CIDRS = ['10.1.0.0/24', '10.2.0.0/24', '10.3.0.0/24', '10.4.0.0/16', 'fd00:1::/64'] as readonly string[] as Cidr[];

/** Each prefix goes to one of some peers, or to none. */
const arbitraryGoal = fc
  .record({
    peers: fc.subarray(['a1', 'b1', 'c1', 'd1']),
    owners: fc.array(fc.nat({ max: 4 }), { minLength: CIDRS.length, maxLength: CIDRS.length }),
    keepaliveS: fc.constantFrom(0, 25),
    port: fc.constantFrom(undefined, 4500, 4501),
  })
  .map(({ peers, owners, keepaliveS, port }) =>
    goal(
      peers.map((peer, i) =>
        tunnel(peer, CIDRS.filter((_, at_) => owners[at_] === i).toSorted(compareCidrs), {
          keepaliveS,
          ...(port !== undefined && { remote: { ip: '192.0.2.1' as Ip, port } }),
        }),
      ),
    ),
  );

const owner = (device: WgDevice, cidr: Cidr) => device.peers.find(({ allowedIps }) => allowedIps.includes(cidr))?.publicKey;

describe('diffWireguard, from any state to any other', () => {
  test.prop([arbitraryGoal, arbitraryGoal])('makes the device as wanted, after which nothing is left to do', (first, second) => {
    const device = applied(applied(EMPTY_DEVICE, first), second);
    expect(diffWireguard(device, second)).toEqual([]);
    const byKey = (a: { publicKey: string }, b: { publicKey: string }) => (a.publicKey < b.publicKey ? -1 : 1);
    expect(device.peers.toSorted(byKey).map(({ publicKey, allowedIps, keepaliveS }) => ({ publicKey, allowedIps, keepaliveS }))).toEqual(
      second.plan.tunnels.toSorted(byKey).map(({ publicKey, allowedIps, keepaliveS }) => ({ publicKey, allowedIps, keepaliveS })),
    );
  });

  test.prop([arbitraryGoal, arbitraryGoal])('leaves no prefix without owner that had one and shall have one', (first, second) => {
    let device = applied(EMPTY_DEVICE, first);
    const kept = CIDRS.filter((cidr) => owner(device, cidr) !== undefined && owner(applied(device, second), cidr) !== undefined);
    for (const change of diffWireguard(device, second)) {
      device = applyTo(device, change);
      for (const cidr of kept) expect(owner(device, cidr), `${cidr} after ${formatWgChange(change)}`).toBeDefined();
    }
  });

  test.prop([arbitraryGoal, fc.boolean()])('does not depend on the order of peers', (wanted, reverse) => {
    const { tunnels } = wanted.plan;
    const other = { ...wanted, plan: { ...wanted.plan, tunnels: reverse ? tunnels.toReversed() : tunnels } };
    expect(printed(EMPTY_DEVICE, other)).toEqual(printed(EMPTY_DEVICE, wanted));
  });
});
