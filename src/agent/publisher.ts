import type { TunnelEndpoint } from '../api/tunnel-endpoint.ts';
import type { Clock } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { ConflictError, type ClusterStore } from '../store/cluster-store.ts';
import { isSameJson } from '../store/object.ts';

/** Keeps the node's TunnelEndpoint as the agent last described it. The agent never waits for it: the API may be away for days. */
export interface Publisher {
  /**
   * Takes the description that should stand in the cluster, undefined for none, and what stands there as far as is known.
   * Only the last one is kept; it is written at once, or as soon as the API can be reached again.
   */
  set(wanted: TunnelEndpoint | undefined, current: TunnelEndpoint | undefined): void;
  /** Waits for the write in progress, if it ends soon, and writes no more. */
  close(): Promise<void>;
}

export interface PublisherParts {
  readonly node: string;
  readonly store: ClusterStore;
  readonly clock: Clock;
  readonly log: Logger;
  /** In [0, 1). */
  readonly random?: () => number;
}

interface Task {
  readonly wanted: TunnelEndpoint | undefined;
  readonly current: TunnelEndpoint | undefined;
}

const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 30_000;
/** At the end a write may hang in an API that is away; nothing depends on it. */
const CLOSE_MS = 1_000;

export function createPublisher({ node, store, clock, log, random = Math.random }: PublisherParts): Publisher {
  let task: Task | undefined;
  let running: Promise<void> | undefined;
  let cancelRetry: (() => void) | undefined;
  let failures = 0;
  let closed = false;

  function set(wanted: TunnelEndpoint | undefined, current: TunnelEndpoint | undefined): void {
    task = isPublished({ wanted, current }) ? undefined : { wanted, current };
    next();
  }

  function next(): void {
    if (closed || task === undefined || running !== undefined || cancelRetry !== undefined) return;
    const { wanted, current } = task;
    task = undefined;
    running = write({ wanted, current }).finally(() => {
      running = undefined;
      next();
    });
  }

  async function write(now: Task): Promise<void> {
    try {
      if (now.wanted === undefined) await store.remove('TunnelEndpoint', node);
      else {
        const applied = await store.apply('TunnelEndpoint', now.wanted);
        await store.updateStatus('TunnelEndpoint', { ...now.wanted, metadata: applied.metadata });
      }
      if (failures > 0) log.info('the TunnelEndpoint is published again');
      failures = 0;
    } catch (error) {
      // Someone else wrote: the watch brings the new version, and with it the next description.
      if (error instanceof ConflictError) return;
      failures++;
      if (failures === 1) log.warn({ error: messageOf(error) }, 'could not publish the TunnelEndpoint; trying again until it works');
      task ??= now;
      // Full jitter: a thousand agents do not come back all at once.
      const delayMs = Math.max(FIRST_RETRY_MS, random() * Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** failures));
      cancelRetry = clock.after(delayMs, () => {
        cancelRetry = undefined;
        next();
      });
    }
  }

  async function close(): Promise<void> {
    closed = true;
    cancelRetry?.();
    if (running === undefined) return;
    let cancel = (): void => undefined;
    await Promise.race([running, new Promise<void>((resolve) => (cancel = clock.after(CLOSE_MS, resolve)))]);
    cancel();
  }

  return { set, close };
}

function isPublished({ wanted, current }: Task): boolean {
  if (wanted === undefined || current === undefined) return wanted === current;
  return isSameJson({ ...wanted, metadata: undefined }, { ...current, metadata: undefined });
}
