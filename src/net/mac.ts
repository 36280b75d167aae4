import { createHash } from 'node:crypto';

/**
 * A node's MAC address on `raven0`: locally administered, 40 bits of a hash of the node's name.
 * Every node computes every other node's address the same way, so none is ever learned or flooded. Names are unique in
 * the cluster; machine ids and addresses need not be.
 */
export function nodeMac(nodeName: string): string {
  const digest = createHash('sha256').update(`raven0/${nodeName}`).digest();
  return [0x02, ...digest.subarray(0, 5)].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}
