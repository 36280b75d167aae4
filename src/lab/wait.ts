import { setTimeout as sleep } from 'node:timers/promises';
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
