import { setTimeout as sleep } from 'node:timers/promises';
import { isNodeReady } from '../api/core.ts';
import type { Exec } from '../drivers/exec/exec.ts';
import { readObjects } from './objects.ts';
import { labReadiness, type Readiness } from './readiness.ts';
import type { LabState } from './state.ts';

const POLL_MS = 100;

/** Follows a lab's objects until all regions are connected. @returns the last state seen, ready or not, when the time is over */
export async function waitUntilConnected(
  lab: LabState,
  { timeoutMs, signal, onProgress }: { timeoutMs: number; signal: AbortSignal; onProgress: (text: string) => void },
): Promise<Readiness> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const [gateways, endpoints] = [await readObjects(lab, 'Gateway'), await readObjects(lab, 'TunnelEndpoint')];
    const readiness = labReadiness(gateways, endpoints);
    if (readiness.ready || Date.now() > deadline) return readiness;
    onProgress(readiness.progress);
    await sleep(POLL_MS, undefined, { signal });
  }
}

/** Waits until every Node is Ready. When the time is over it just ends: what follows says what is missing. */
export async function waitUntilNodesReady(
  lab: LabState,
  { root, exec, timeoutMs, signal }: { root: string; exec: Exec; timeoutMs: number; signal: AbortSignal },
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (Date.now() < deadline && !(await readObjects(lab, 'Node', { root, exec })).every(isNodeReady)) {
    await sleep(POLL_MS, undefined, { signal });
  }
}
