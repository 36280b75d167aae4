import type { Gateway } from '../api/gateway.ts';
import type { GatewayEvent } from '../domain/election-events.ts';
import { type Clock, formatTime } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { type ClusterStore, ConflictError } from '../store/cluster-store.ts';
import type { ClusterView } from './cluster-view.ts';
import type { EventRecorder } from './event-recorder.ts';

export interface ReconcileDeps {
  readonly store: ClusterStore;
  readonly view: ClusterView;
  readonly clock: Clock;
  readonly log: Logger;
  readonly recordEvent: EventRecorder;
}

export interface Reconciled {
  /** As it was written. */
  readonly gateway: Gateway;
  readonly events: readonly GatewayEvent[];
}

/** Somebody else writes Gateways seldom, and not five times in a row while one is being decided. */
const ATTEMPTS = 5;

/**
 * Makes one Gateway's status what the view says it should be. A conflict means that the view was behind: the Gateway is read again.
 *
 * @returns undefined when there was nothing to write
 * @throws when the store refuses; nothing is half-written then
 */
export async function reconcileGateway(deps: ReconcileDeps, name: string): Promise<Reconciled | undefined> {
  const { store, view, clock } = deps;
  for (let attempt = 1; ; attempt++) {
    const decided = view.decide(name, formatTime(clock.now()));
    if (decided === undefined || !decided.verdict.isChanged) return undefined;
    const { status, events } = decided.verdict;
    try {
      const gateway = await store.updateStatus('Gateway', { ...decided.gateway, status });
      view.setGateway(gateway);
      await tell(deps, gateway, events);
      return { gateway, events };
    } catch (error) {
      if (!(error instanceof ConflictError) || attempt === ATTEMPTS) throw error;
      await readAgain(deps, name);
    }
  }
}

async function readAgain({ store, view }: ReconcileDeps, name: string): Promise<void> {
  const gateway = await store.get('Gateway', name);
  if (gateway === undefined) view.deleteGateway(name);
  else view.setGateway(gateway);
}

/** Events are for people: one that cannot be written stops nothing. */
async function tell({ recordEvent, log }: ReconcileDeps, gateway: Gateway, events: readonly GatewayEvent[]): Promise<void> {
  for (const event of events) {
    log[event.type === 'Warning' ? 'warn' : 'info']({ gateway: gateway.metadata.name, reason: event.reason }, event.message);
    await recordEvent(gateway, event).catch((error: unknown) =>
      log.error({ gateway: gateway.metadata.name, reason: event.reason, error: messageOf(error) }, 'event not written'),
    );
  }
}
