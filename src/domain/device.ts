import { TUNNEL_DEVICE_PREFIX } from '../api/names.ts';
import { compareText } from '../lib/compare.ts';
import { fnv1a } from '../lib/hash.ts';

/** IFNAMSIZ is 16 with the final zero (`netdevice(7)`). */
const NAME_LENGTH_MAX = 15;

/** The XFRM device towards a peer: `rvn-<node>` when that is a fit device name, else with a hash of the node's name. */
export function peerDevice(peer: string): string {
  const plain = `${TUNNEL_DEVICE_PREFIX}${peer}`;
  // A dot would be read as a directory in sysctl names; `rvn-ipsec` is the user-space device.
  if (plain.length <= NAME_LENGTH_MAX && /^[a-z0-9-]+$/.test(peer) && peer !== 'ipsec') return plain;
  return `${TUNNEL_DEVICE_PREFIX}${fnv1a(peer).toString(16).padStart(8, '0')}`;
}

/**
 * Gives every name a number in `first..first+size-1`, the same at each call with the same names, and almost always the
 * same when names are added: a hash, and on a collision the next free one in order of name.
 */
export function assignIds(names: readonly string[], first: number, size: number): ReadonlyMap<string, number> {
  const ids = new Map<string, number>();
  const taken = new Set<number>();
  for (const name of [...new Set(names)].toSorted(compareText)) {
    let id = first + (fnv1a(name) % size);
    while (taken.has(id)) id = id + 1 < first + size ? id + 1 : first;
    taken.add(id);
    ids.set(name, id);
  }
  return ids;
}
