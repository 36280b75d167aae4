import type { Event } from '../api/core.ts';
import type { Gateway } from '../api/gateway.ts';
import type { GatewayEvent } from '../domain/election-events.ts';
import { type Clock, formatTime } from '../lib/clock.ts';
import { fnv1a } from '../lib/hash.ts';
import { createRateLimit } from '../lib/rate-limit.ts';
import { type ClusterStore, ConflictError } from '../store/cluster-store.ts';
import type { ControllerMetrics } from './controller-metrics.ts';

/** Where events about cluster-scoped objects stand. */
const NAMESPACE = 'default';
const ATTEMPTS = 3;
/** As client-go's event correlator: so many at once, and then one in five minutes, for each object. */
const BURST = 25;
const REFILL_MS = 300_000;

/**
 * Writes an event about a Gateway. The same event again raises the count of the one object that it has, so that a region which flaps for a
 * week leaves as many objects as one that flapped once; and one that flaps all the time costs the API server little: what is too much is not written.
 */
export type EventRecorder = (gateway: Gateway, event: GatewayEvent) => Promise<void>;

export interface EventRecorderOptions {
  readonly store: ClusterStore;
  readonly clock: Clock;
  readonly metrics?: Pick<ControllerMetrics, 'eventWritten'>;
}

export function createEventRecorder({ store, clock, metrics }: EventRecorderOptions): EventRecorder {
  const limit = createRateLimit({ burst: BURST, refillMs: REFILL_MS, clock });
  return async (gateway, event) => {
    if (!limit.take(gateway.metadata.name)) return;
    for (let attempt = 1; ; attempt++) {
      const name = eventName(gateway.metadata.name, event);
      const known = await store.get('Event', name, NAMESPACE);
      const now = formatTime(clock.now());
      try {
        await store.apply(
          'Event',
          known === undefined ? newEvent(name, gateway, event, now) : { ...known, count: (known.count ?? 1) + 1, lastTimestamp: now },
        );
        metrics?.eventWritten(event.type, event.reason);
        return;
      } catch (error) {
        if (!(error instanceof ConflictError) || attempt === ATTEMPTS) throw error;
      }
    }
  };
}

function eventName(gateway: string, { type, reason, message }: GatewayEvent): string {
  return `${gateway}.${fnv1a(`${type} ${reason} ${message}`).toString(16).padStart(8, '0')}`;
}

function newEvent(name: string, { apiVersion, kind, metadata }: Gateway, { type, reason, message }: GatewayEvent, now: string): Event {
  return {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name, namespace: NAMESPACE },
    involvedObject: { apiVersion, kind, name: metadata.name, ...(metadata.uid !== undefined && { uid: metadata.uid }) },
    type,
    reason,
    message,
    count: 1,
    firstTimestamp: now,
    lastTimestamp: now,
    source: { component: 'raven-controller' },
  };
}
