import { setTimeout as sleep } from 'node:timers/promises';
import type { Lease, Node } from '../../api/core.ts';
import { messageOf } from '../../lib/errors.ts';
import { type ClusterStore, ConflictError } from '../../store/cluster-store.ts';
import { NODE_LEASE_NAMESPACE, readyCondition, withCondition } from './readiness.ts';

/** How exactly the grace period is kept. */
const PERIOD_MS = 200;

/**
 * Stands in for Kubernetes' node lifecycle controller: turns heartbeats into the Ready condition of each Node until `signal`.
 * A node cannot say itself that it is gone, so this runs outside of all of them.
 */
export async function runSupervisor(store: ClusterStore, signal: AbortSignal): Promise<void> {
  const nodes = new Map<string, Node>();
  const leases = new Map<string, Lease>();
  const since = Date.now();
  const watches = [
    store.watch('Node', (event) => {
      if (event.type === 'set') nodes.set(event.object.metadata.name, event.object);
      else if (event.type === 'delete') nodes.delete(event.name);
    }),
    store.watch('Lease', (event) => {
      if (event.type === 'set' && event.object.metadata.namespace === NODE_LEASE_NAMESPACE)
        leases.set(event.object.metadata.name, event.object);
      else if (event.type === 'delete' && event.namespace === NODE_LEASE_NAMESPACE) leases.delete(event.name);
    }),
  ];
  while (!signal.aborted) {
    for (const [name, node] of nodes) await judge(store, node, leases.get(name), since);
    await sleep(PERIOD_MS, undefined, { signal }).catch(() => undefined);
  }
  for (const watch of watches) watch.close();
}

async function judge(store: ClusterStore, node: Node, lease: Lease | undefined, since: number): Promise<void> {
  const condition = readyCondition(node, lease, Date.now(), since);
  if (condition === undefined) return;
  try {
    await store.updateStatus('Node', withCondition(node, condition));
    process.stderr.write(`${new Date().toISOString()} node ${node.metadata.name}: Ready is ${condition.status} (${condition.reason})\n`);
  } catch (error) {
    // The watch brings the newer object, and the next round judges that.
    if (!(error instanceof ConflictError))
      process.stderr.write(`${new Date().toISOString()} node ${node.metadata.name}: ${messageOf(error)}\n`);
  }
}
