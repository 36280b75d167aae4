import { UserError } from '../../lib/errors.ts';
import { type Family, familyOf } from '../../net/ip.ts';
import type { MatrixLab, MatrixPod } from './types.ts';

export interface Pair {
  readonly from: MatrixPod;
  readonly to: MatrixPod;
  readonly family: Family;
  /** Address of `to` in this family. */
  readonly ip: string;
}

export interface PairSelection {
  readonly pairs: readonly Pair[];
  /** Pods that are on a killed node. */
  readonly leftOut: readonly MatrixPod[];
}

/** Pod, node or region; all when absent. */
export interface PairFilter {
  readonly from?: string | undefined;
  readonly to?: string | undefined;
}

/**
 * Every ordered pair of living pods, in each family that both have, in the lab's order.
 *
 * @throws {UserError} when the filter names nothing, or nothing is left to measure
 */
export function selectPairs(lab: MatrixLab, { from, to }: PairFilter = {}): PairSelection {
  const senders = choosePods(lab, from, '--from');
  const receivers = choosePods(lab, to, '--to');
  const pairs = senders.flatMap((sender) => receivers.flatMap((receiver) => pairsOf(sender, receiver)));
  const leftOut = lab.pods.filter((pod) => !pod.alive && (senders.includes(pod) || receivers.includes(pod)));
  if (pairs.length === 0) {
    const dead = leftOut.length === 0 ? '' : ` (${leftOut.map(({ name, node }) => `${name} is on ${node}, which is down`).join(', ')})`;
    throw new UserError(`lab ${lab.name} has no pair of pods to measure here${dead}`);
  }
  return { pairs, leftOut };
}

function pairsOf(from: MatrixPod, to: MatrixPod): Pair[] {
  if (from.name === to.name || !from.alive || !to.alive) return [];
  const families = new Set(from.ips.map(familyOf));
  return to.ips.filter((ip) => families.has(familyOf(ip))).map((ip) => ({ from, to, ip, family: familyOf(ip) }));
}

function choosePods({ pods, nodes }: MatrixLab, name: string | undefined, source: string): readonly MatrixPod[] {
  if (name === undefined) return pods;
  const chosen = pods.filter((pod) => pod.name === name || pod.node === name || pod.region === name);
  if (chosen.length > 0) return chosen;
  const known = [...new Set([...nodes.map(({ region }) => region), ...nodes.map((node) => node.name), ...pods.map((pod) => pod.name)])];
  throw new UserError([{ source, message: `no pod, node or region with pods is named ${name}; there are ${known.join(', ')}` }]);
}
