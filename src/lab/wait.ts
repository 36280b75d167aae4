import { setTimeout as sleep } from 'node:timers/promises';
import { isNodeReady } from '../api/core.ts';
import { openStore } from '../store/open-store.ts';
import { labPaths } from './paths.ts';
import { labReadiness, type Readiness } from './readiness.ts';

const POLL_MS = 100;

/** Follows a lab's objects until all regions are connected. @returns the last state seen, ready or not, when the time is over */
export async function waitUntilConnected(
  lab: string,
  { timeoutMs, signal, onProgress }: { timeoutMs: number; signal: AbortSignal; onProgress: (text: string) => void },
): Promise<Readiness> {
  const store = await openStore(`dir:${labPaths(lab).store}`);
  try {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const [gateways, endpoints] = await Promise.all([store.list('Gateway'), store.list('TunnelEndpoint')]);
      const readiness = labReadiness(gateways, endpoints);
      if (readiness.ready || Date.now() > deadline) return readiness;
      onProgress(readiness.progress);
      await sleep(POLL_MS, undefined, { signal });
    }
  } finally {
    await store.close();
  }
}

/** Waits until every Node is Ready. When the time is over it just ends: what follows says what is missing. */
export async function waitUntilNodesReady(
  lab: string,
  { root, timeoutMs, signal }: { root: string; timeoutMs: number; signal: AbortSignal },
): Promise<void> {
  const store = await openStore(`dir:${labPaths(lab, root).store}`);
  try {
    const deadline = Date.now() + timeoutMs;
    while (Date.now() < deadline && !(await store.list('Node')).every(isNodeReady)) await sleep(POLL_MS, undefined, { signal });
  } finally {
    await store.close();
  }
}
