import { setTimeout as sleep } from 'node:timers/promises';
import type { Lease } from '../../api/core.ts';
import { formatMicroTime } from '../../lib/clock.ts';
import { messageOf } from '../../lib/errors.ts';
import type { ClusterStore } from '../../store/cluster-store.ts';
import { NODE_LEASE_NAMESPACE } from '../supervisor/readiness.ts';

/** A real kubelet renews every 10 s; faults in a lab should be seen sooner. */
const PERIOD_MS = 1000;
/** What it tells others: with three heartbeats missing and some grace, it is gone. */
const LEASE_SECONDS = 4;

/** Stands in for a kubelet: renews the Lease of its Node until `signal`. A failed write is reported and tried again with the next heartbeat. */
export async function runKubelet(store: ClusterStore, node: string, signal: AbortSignal): Promise<void> {
  let lease: Lease | undefined;
  while (!signal.aborted) {
    try {
      lease = await renew(store, node, lease);
    } catch (error) {
      process.stderr.write(`${new Date().toISOString()} heartbeat: ${messageOf(error)}\n`);
      lease = undefined;
    }
    await sleep(PERIOD_MS, undefined, { signal }).catch(() => undefined);
  }
}

async function renew(store: ClusterStore, node: string, known: Lease | undefined): Promise<Lease> {
  const current = known ?? (await store.get('Lease', node, NODE_LEASE_NAMESPACE));
  const renewTime = formatMicroTime(Date.now());
  return store.apply('Lease', {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    ...current,
    metadata: { ...current?.metadata, name: node, namespace: NODE_LEASE_NAMESPACE },
    spec: { ...current?.spec, holderIdentity: node, leaseDurationSeconds: LEASE_SECONDS, renewTime },
  });
}
