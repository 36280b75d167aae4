import type { Lease } from '../api/core.ts';
import { AGENT_LEASE_PREFIX, DRAINING_ANNOTATION } from '../api/names.ts';
import { AGENT_LEASE_RENEW_MS } from '../domain/agent-leases.ts';
import { type Clock, formatMicroTime, formatTime } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { type ClusterStore, ConflictError } from '../store/cluster-store.ts';

/** Renews the Lease of a node that may be a gateway, so that the controller knows that its agent lives. Nobody waits for it. */
export interface LeaseKeeper {
  /** Whether this node is an endpoint of its region. The Lease of one that no longer is is left to grow old: nobody looks at it. */
  set(isEndpoint: boolean): void;
  /** Says in the Lease that this agent is about to stop: now, and again until it is written. Holds until another agent starts. */
  announceStop(): void;
  /** When the Lease was last renewed (epoch milliseconds); undefined: never, or the node is no endpoint. */
  renewedMs(): number | undefined;
  /** Waits for the write in progress, if it ends soon, and writes no more. */
  close(): Promise<void>;
}

export interface LeaseKeeperParts {
  readonly node: string;
  readonly namespace: string;
  readonly store: ClusterStore;
  readonly clock: Clock;
  readonly log: Logger;
  /** Whether the agent does its work: one that hangs is to be taken for silent. Absent: it does. */
  readonly isWorking?: () => boolean;
  /** In [0, 1). */
  readonly random?: () => number;
}

const FIRST_RETRY_MS = 1_000;
/** At the end a write may hang in an API that is away; nothing depends on it. */
const CLOSE_MS = 1_000;

/** One write at a time, and the next one is planned when it is done: however long the API is away, there is never more than one to be sent. */
export function createLeaseKeeper({
  node,
  namespace,
  store,
  clock,
  log,
  isWorking = () => true,
  random = Math.random,
}: LeaseKeeperParts): LeaseKeeper {
  const name = `${AGENT_LEASE_PREFIX}${node}`;
  let isWanted = false;
  let drainingSince: string | undefined;
  /** What `drainingSince` was in the last write. */
  let announced: string | undefined;
  let known: Lease | undefined;
  let renewedMs: number | undefined;
  let running: Promise<void> | undefined;
  let cancelNext: (() => void) | undefined;
  let failures = 0;
  let closed = false;

  function renew(): void {
    if (closed || !isWanted || running !== undefined) return;
    cancelNext?.();
    cancelNext = undefined;
    if (!isWorking()) return plan(AGENT_LEASE_RENEW_MS);
    running = write().then(plan);
  }

  function plan(delayMs: number): void {
    running = undefined;
    if (closed || !isWanted) return;
    const isLate = announced !== drainingSince && failures === 0;
    cancelNext = clock.after(isLate ? 0 : delayMs, renew);
  }

  /** @returns when to write again */
  async function write(): Promise<number> {
    const draining = drainingSince;
    try {
      const current = known ?? (await store.get('Lease', name, namespace));
      known = await store.apply('Lease', renewed(current, draining));
      announced = draining;
      renewedMs = clock.now();
      if (failures > 0) log.info('the Lease is renewed again');
      failures = 0;
      return AGENT_LEASE_RENEW_MS;
    } catch (error) {
      known = undefined;
      failures++;
      if (failures === 1 && !(error instanceof ConflictError))
        log.warn({ error: messageOf(error) }, 'could not renew the Lease; trying again until it works');
      // Full jitter: a thousand agents do not come back all at once.
      return Math.max(FIRST_RETRY_MS, random() * Math.min(AGENT_LEASE_RENEW_MS, FIRST_RETRY_MS * 2 ** failures));
    }
  }

  function renewed(current: Lease | undefined, draining: string | undefined): Lease {
    const { [DRAINING_ANNOTATION]: _, ...annotations } = current?.metadata.annotations ?? {};
    return {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      ...current,
      metadata: {
        ...current?.metadata,
        name,
        namespace,
        annotations: { ...annotations, ...(draining !== undefined && { [DRAINING_ANNOTATION]: draining }) },
      },
      spec: { ...current?.spec, holderIdentity: node, leaseDurationSeconds: LEASE_SECONDS, renewTime: formatMicroTime(clock.now()) },
    };
  }

  async function close(): Promise<void> {
    closed = true;
    cancelNext?.();
    if (running === undefined) return;
    let cancel = (): void => undefined;
    await Promise.race([running, new Promise<void>((resolve) => (cancel = clock.after(CLOSE_MS, resolve)))]);
    cancel();
  }

  return {
    set: (isEndpoint) => {
      if (isEndpoint === isWanted) return;
      isWanted = isEndpoint;
      if (isEndpoint) renew();
      else cancelNext?.();
    },
    announceStop: () => {
      drainingSince ??= formatTime(clock.now());
      renew();
    },
    renewedMs: () => (isWanted ? renewedMs : undefined),
    close,
  };
}

/** For readers of the Lease; the controller counts by its own clock. */
const LEASE_SECONDS = (3 * AGENT_LEASE_RENEW_MS) / 1000;
