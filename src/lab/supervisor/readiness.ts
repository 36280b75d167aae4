import type { Lease, Node } from '../../api/core.ts';
import type { Condition } from '../../api/meta.ts';
import { formatTime } from '../../lib/clock.ts';

/** Where kubelets keep their leases. */
export const NODE_LEASE_NAMESPACE = 'kube-node-lease';
/** A node without a heartbeat for so long is not Ready; Kubernetes waits 40 s. */
export const GRACE_MS = 4000;

/**
 * The Ready condition that a node should have now, as Kubernetes' node lifecycle controller words it; undefined when it has it already.
 * Pure.
 *
 * @param sinceMs when we began to look: a node that has not reported yet gets its grace from then on
 */
export function readyCondition(node: Node, lease: Lease | undefined, nowMs: number, sinceMs: number): Condition | undefined {
  const current = node.status?.conditions?.find(({ type }) => type === 'Ready');
  const renewed = Date.parse(lease?.spec.renewTime ?? '');
  const wanted = judge(Number.isNaN(renewed) ? undefined : renewed, nowMs, sinceMs);
  if (wanted === undefined || (current?.status === wanted.status && current.reason === wanted.reason)) return undefined;
  const lastTransitionTime =
    current?.status === wanted.status && current.lastTransitionTime ? current.lastTransitionTime : formatTime(nowMs);
  return { type: 'Ready', ...wanted, lastTransitionTime };
}

/** A node with another Ready condition; all other conditions stay. */
export function withCondition(node: Node, condition: Condition): Node {
  const others = (node.status?.conditions ?? []).filter(({ type }) => type !== condition.type);
  return { ...node, status: { ...node.status, conditions: [...others, condition] } };
}

function judge(
  renewedMs: number | undefined,
  nowMs: number,
  sinceMs: number,
): Pick<Condition, 'status' | 'reason' | 'message'> | undefined {
  if (nowMs - (renewedMs ?? sinceMs) <= GRACE_MS) {
    return renewedMs === undefined ? undefined : { status: 'True', reason: 'KubeletReady', message: 'kubelet is posting ready status' };
  }
  return renewedMs === undefined
    ? { status: 'Unknown', reason: 'NodeStatusNeverUpdated', message: 'Kubelet never posted node status.' }
    : { status: 'Unknown', reason: 'NodeStatusUnknown', message: 'Kubelet stopped posting node status.' };
}
