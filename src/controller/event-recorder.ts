import type { Event } from '../api/core.ts';
import type { Gateway } from '../api/gateway.ts';
import type { GatewayEvent } from '../domain/gateway-status.ts';
import { type Clock, formatTime } from '../lib/clock.ts';
import { fnv1a } from '../lib/hash.ts';
import { type ClusterStore, ConflictError } from '../store/cluster-store.ts';

/** Where events about cluster-scoped objects stand. */
const NAMESPACE = 'default';
const ATTEMPTS = 3;

/**
 * Writes an event about a Gateway. The same event again raises the count of the one object that it has, so that a region which flaps for a
 * week leaves as many objects as one that flapped once.
 */
export async function recordEvent(store: ClusterStore, clock: Clock, gateway: Gateway, event: GatewayEvent): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const name = eventName(gateway.metadata.name, event);
    const known = await store.get('Event', name, NAMESPACE);
    const now = formatTime(clock.now());
    try {
      await store.apply(
        'Event',
        known === undefined ? newEvent(name, gateway, event, now) : { ...known, count: (known.count ?? 1) + 1, lastTimestamp: now },
      );
      return;
    } catch (error) {
      if (!(error instanceof ConflictError) || attempt === ATTEMPTS) throw error;
    }
  }
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
