import { WIREGUARD_DEVICE } from '../api/names.ts';
import { compareText } from '../lib/compare.ts';
import { type Cidr, compareCidrs } from '../net/cidr.ts';
import { formatEndpoint, type IpEndpoint, isSameEndpoint } from '../net/endpoint.ts';
import type { WgDevice, WgPeer } from '../net/wg-dump.ts';
import type { WgKey } from '../net/wg-key.ts';
import type { WireguardPlan, WireguardTunnel } from './node-plan.ts';

/** A device that was just made. */
export const EMPTY_DEVICE: WgDevice = { publicKey: undefined, listenPort: 0, fwmark: 0, peers: [] };

/** What a device should be, apart from the plan. */
export interface WgGoal {
  readonly plan: WireguardPlan;
  /** Of the private key that the device should have; undefined: not known here, leave it. */
  readonly publicKey: WgKey | undefined;
  /** Pre-shared key by peer, none where there is no entry; undefined: not known here, leave them. */
  readonly presharedKeys: ReadonlyMap<string, WgKey> | undefined;
  /** By peer: where we last told the device to find it. What it learned since is better. */
  readonly endpointsSet: ReadonlyMap<string, IpEndpoint>;
  /** Peers that have been silent for so long that what the device learned is worth nothing any more. */
  readonly stuck: ReadonlySet<string>;
  /**
   * By peer: where it was heard, also by an earlier device. What this device does not know such a peer still takes for its session, and is told
   * otherwise by a call. The change that calls is not the last: the next one takes the keepalive back by which it does. Absent: nobody is called.
   */
  readonly heardAt?: ReadonlyMap<string, IpEndpoint>;
}

/** One `wg set`. */
export type WgChange =
  | { readonly type: 'device'; readonly privateKey: boolean; readonly listenPort?: number; readonly fwmark?: number }
  | {
      readonly type: 'peer';
      readonly peer: string;
      readonly publicKey: WgKey;
      readonly presharedKey?: WgKey | 'none';
      readonly endpoint?: IpEndpoint;
      readonly keepaliveS?: number;
      readonly allowedIps?: readonly Cidr[];
    }
  | { readonly type: 'remove'; readonly publicKey: WgKey };

/** A device sends at once when a keepalive is switched on: that begins a handshake. How often it would send again matters little. */
const CALL_KEEPALIVE_S = 25;

type PeerChange = Extract<WgChange, { type: 'peer' }>;

/** Files that hold the secrets of a change, for `wg set`, which takes none on its command line. */
export interface WgSecretFiles {
  readonly privateKey: string;
  readonly presharedKey: string;
}

/**
 * The writes that make the device as the plan wants it, in their order; none when nothing differs. Pure.
 *
 * `wg set` replaces the allowed IPs of the one peer that it names, and takes them away from whoever had them in the same step. So those that gain
 * come first, and keep what they have to give away until its new owner takes it: at no moment does a prefix belong to nobody.
 */
export function diffWireguard(device: WgDevice, goal: WgGoal): WgChange[] {
  const tunnels = goal.plan.tunnels.toSorted((a, b) => compareText(a.peer, b.peer));
  const known = new Map(device.peers.map((peer) => [peer.publicKey, peer]));
  const owners = new Map(device.peers.flatMap(({ publicKey, allowedIps }) => allowedIps.map((cidr) => [cidr, publicKey] as const)));
  const gains = gainingLists(tunnels, owners);
  const losses = losingLists(tunnels, owners);
  const wanted = new Set(tunnels.map(({ publicKey }) => publicKey));
  return [
    ...diffDevice(device, goal),
    ...tunnels.flatMap((tunnel) => diffPeer(tunnel, known.get(tunnel.publicKey), gains.get(tunnel.publicKey), goal)),
    ...tunnels.flatMap(({ peer, publicKey }) => {
      const allowedIps = losses.get(publicKey);
      return allowedIps === undefined ? [] : [{ type: 'peer' as const, peer, publicKey, allowedIps }];
    }),
    ...device.peers
      .filter(({ publicKey }) => !wanted.has(publicKey))
      .map(({ publicKey }): WgChange => ({ type: 'remove', publicKey }))
      .toSorted((a, b) => compareText(formatWgChange(a), formatWgChange(b))),
  ];
}

/** What stands behind `wg`; without `files`, for people to read. Never holds a secret. */
export function wgArguments(change: WgChange, files: WgSecretFiles): string[] {
  return ['set', WIREGUARD_DEVICE, ...wordsOf(change, files)];
}

const NAMES: WgSecretFiles = { privateKey: 'PRIVATE_KEY_FILE', presharedKey: 'PRESHARED_KEY_FILE' };

/** As an operator would type it, with placeholders for the secrets. */
export function formatWgChange(change: WgChange): string {
  return ['wg', ...wgArguments(change, NAMES)].map((word) => (word === '' ? "''" : word)).join(' ');
}

function wordsOf(change: WgChange, files: WgSecretFiles): string[] {
  switch (change.type) {
    case 'device':
      return [
        ...(change.listenPort === undefined ? [] : ['listen-port', String(change.listenPort)]),
        ...(change.fwmark === undefined ? [] : ['fwmark', String(change.fwmark)]),
        ...(change.privateKey ? ['private-key', files.privateKey] : []),
      ];
    case 'peer':
      return [
        'peer',
        change.publicKey,
        // An empty file takes the key away (wg(8)).
        ...(change.presharedKey === undefined ? [] : ['preshared-key', change.presharedKey === 'none' ? '/dev/null' : files.presharedKey]),
        ...(change.endpoint === undefined ? [] : ['endpoint', formatEndpoint(change.endpoint)]),
        ...(change.keepaliveS === undefined ? [] : ['persistent-keepalive', String(change.keepaliveS)]),
        ...(change.allowedIps === undefined ? [] : ['allowed-ips', change.allowedIps.join(',')]),
      ];
    case 'remove':
      return ['peer', change.publicKey, 'remove'];
  }
}

function diffDevice(device: WgDevice, { plan, publicKey }: WgGoal): WgChange[] {
  const privateKey = publicKey !== undefined && device.publicKey !== publicKey;
  const listenPort = device.listenPort === plan.localPort ? {} : { listenPort: plan.localPort };
  const fwmark = device.fwmark === 0 ? {} : { fwmark: 0 };
  const change = { type: 'device' as const, privateKey, ...listenPort, ...fwmark };
  return privateKey || 'listenPort' in change || 'fwmark' in change ? [change] : [];
}

function diffPeer(
  { peer, publicKey, remote, keepaliveS }: WireguardTunnel,
  known: WgPeer | undefined,
  allowedIps: readonly Cidr[] | undefined,
  { presharedKeys, endpointsSet, stuck, heardAt }: WgGoal,
): PeerChange[] {
  const psk = presharedKeys?.get(peer);
  const pskDiffers = presharedKeys !== undefined && known?.presharedKey !== psk;
  const heard = known?.endpoint === undefined ? heardAt?.get(peer) : undefined;
  const isRemoteDue = remote !== undefined && isDue(remote, known?.endpoint, endpointsSet.get(peer), stuck.has(peer));
  const endpoint = isRemoteDue ? remote : heard;
  const sendEveryS = heard !== undefined && keepaliveS === 0 ? CALL_KEEPALIVE_S : keepaliveS;
  const change: PeerChange = {
    type: 'peer',
    peer,
    publicKey,
    ...(pskDiffers && { presharedKey: psk ?? 'none' }),
    ...(endpoint !== undefined && { endpoint }),
    ...((known?.keepaliveS ?? 0) !== sendEveryS && { keepaliveS: sendEveryS }),
    ...(allowedIps !== undefined && { allowedIps }),
  };
  return known === undefined || Object.keys(change).length > 3 ? [change] : [];
}

/** The device follows a peer to wherever its packets come from; only when that cannot be right is it told again. */
function isDue(remote: IpEndpoint, current: IpEndpoint | undefined, lastSet: IpEndpoint | undefined, isStuck: boolean): boolean {
  if (current === undefined) return true;
  if (isSameEndpoint(current, remote)) return false;
  return isStuck || (lastSet !== undefined && !isSameEndpoint(lastSet, remote));
}

/** Lists to write for peers that lack something. Changes `owners` as the device will. */
function gainingLists(tunnels: readonly WireguardTunnel[], owners: Map<Cidr, WgKey>): ReadonlyMap<WgKey, readonly Cidr[]> {
  const wantedAnywhere = new Set(tunnels.flatMap(({ allowedIps }) => allowedIps));
  const lists = new Map<WgKey, readonly Cidr[]>();
  for (const { publicKey, allowedIps } of tunnels) {
    if (allowedIps.every((cidr) => owners.get(cidr) === publicKey)) continue;
    const kept = ownedBy(publicKey, owners).filter((cidr) => wantedAnywhere.has(cidr));
    lists.set(publicKey, give(publicKey, [...new Set([...allowedIps, ...kept])], owners));
  }
  return lists;
}

/** Lists to write for peers that have too much when all have got what they lacked. */
function losingLists(tunnels: readonly WireguardTunnel[], owners: Map<Cidr, WgKey>): ReadonlyMap<WgKey, readonly Cidr[]> {
  const lists = new Map<WgKey, readonly Cidr[]>();
  for (const { publicKey, allowedIps } of tunnels) {
    if (ownedBy(publicKey, owners).some((cidr) => !allowedIps.includes(cidr))) lists.set(publicKey, give(publicKey, allowedIps, owners));
  }
  return lists;
}

function give(publicKey: WgKey, list: readonly Cidr[], owners: Map<Cidr, WgKey>): readonly Cidr[] {
  for (const cidr of ownedBy(publicKey, owners)) owners.delete(cidr);
  for (const cidr of list) owners.set(cidr, publicKey);
  return list.toSorted(compareCidrs);
}

function ownedBy(publicKey: WgKey, owners: ReadonlyMap<Cidr, WgKey>): Cidr[] {
  return [...owners].filter(([, owner]) => owner === publicKey).map(([cidr]) => cidr);
}
