import type { ConfigMap } from '../api/core.ts';
import type { Gateway } from '../api/gateway.ts';
import type { Kind } from '../api/kinds.ts';
import { DEFAULT_NAMESPACE, SWITCHES_CONFIG_MAP } from '../api/names.ts';
import { parseSwitches } from '../domain/election.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { messageOf, UserError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { createWorkQueue } from '../lib/work-queue.ts';
import type { ClusterStore, Watch } from '../store/cluster-store.ts';
import { createClusterView, type ClusterView } from './cluster-view.ts';
import type { ControllerMetrics } from './controller-metrics.ts';
import { createEventRecorder } from './event-recorder.ts';
import { startExposure } from './exposure.ts';
import { type Reconciled, reconcileGateway } from './reconcile.ts';

export interface ControllerOptions {
  readonly store: ClusterStore;
  readonly log: Logger;
  readonly clock?: Clock;
  /** How many Gateways may be written at once: hides the latency of a store over the network. */
  readonly concurrency?: number;
  /** Where the ConfigMap with the switches is. */
  readonly namespace?: string;
  readonly metrics?: Pick<ControllerMetrics, 'reconciled' | 'eventWritten'>;
}

export interface Controller {
  /** How many of what there are, for metrics. */
  count(): ReturnType<ClusterView['count']> & { readonly queued: number };
  /** Resolves when the picture of the cluster is complete and everything seen so far is written. */
  settled(): Promise<void>;
  /** Ends the watches and waits for writes in progress. */
  stop(): Promise<void>;
}

/** A status that is about tunnels only may be so old. */
const TUNNELS_DELAY_MS = 2_000;

/** Not more often. */
const RECHECK_MS = 1_000;

/** Keeps the status of all Gateways what it should be, from now on. */
export function startController(options: ControllerOptions): Controller {
  const { store, log, clock = systemClock, concurrency = 8, namespace = DEFAULT_NAMESPACE, metrics } = options;
  const view = createClusterView(clock);
  const deps = { store, view, clock, log, recordEvent: createEventRecorder({ store, clock, ...(metrics && { metrics }) }) };
  const queue = createWorkQueue({ work, concurrency, clock, onError: sayFailure });
  const synced = Promise.withResolvers<void>();
  const exposure = startExposure({ store, namespace, recordEvent: deps.recordEvent, log, clock });
  const behind = new Set<Kind>(NEEDED);
  let isScheduled = false;
  let cancelTunnels: (() => void) | undefined;
  let cancelRecheck = (): void => undefined;
  let stopped = false;

  async function work(name: string): Promise<void> {
    const startedAt = performance.now();
    const done = await reconcileGateway(deps, name).catch((error: unknown) => {
      metrics?.reconciled('failed', performance.now() - startedAt);
      throw error;
    });
    metrics?.reconciled(done === undefined ? 'unchanged' : 'written', performance.now() - startedAt);
    if (done === undefined) return;
    log.info({ gateway: name, active: activeNames(done.gateway) }, 'status written');
    schedule();
  }

  function sayFailure(gateway: string, error: unknown, retryInMs: number): void {
    log.error({ gateway, error: messageOf(error), retryInMs }, 'status not written');
  }

  /** A burst of events that arrives in one turn of the event loop costs one look. */
  function schedule(): void {
    if (isScheduled || behind.size > 0) return;
    isScheduled = true;
    setImmediate(() => {
      isScheduled = false;
      for (const name of view.takeAffected()) queue.add(name);
      synced.resolve();
      scheduleRecheck();
    });
  }

  /** Some verdicts hold for a time only. */
  function scheduleRecheck(): void {
    cancelRecheck();
    const atMs = view.recheckAtMs();
    if (atMs === undefined || stopped) return;
    cancelRecheck = clock.after(Math.max(RECHECK_MS, atMs - clock.now()), () => {
      view.affectByTime();
      schedule();
    });
  }

  /** Tunnels come up one after the other: what `kubectl get` shows of them is written once for all. */
  function scheduleTunnels(): void {
    cancelTunnels ??= clock.after(TUNNELS_DELAY_MS, () => {
      cancelTunnels = undefined;
      view.affectByTunnels();
      schedule();
    });
  }

  const watches = watchInto(store, view, namespace, (kind) => {
    if (kind === 'TunnelEndpoint') return scheduleTunnels();
    if (kind !== undefined) behind.delete(kind);
    schedule();
  });

  return {
    count: () => ({ ...view.count(), queued: queue.size() }),
    settled: async () => {
      await synced.promise;
      do {
        await new Promise(setImmediate);
        await queue.idle();
      } while (isScheduled);
      await exposure.settled();
    },
    stop: async () => {
      stopped = true;
      for (const watch of watches) watch.close();
      cancelTunnels?.();
      cancelRecheck();
      await Promise.all([queue.stop(), exposure.stop()]);
    },
  };
}

/** What nothing may be decided without: an answer that is half known would be written, and taken back a moment later. */
const NEEDED = ['Node', 'Gateway', 'Service', 'ConfigMap', 'BlockAffinity', 'Lease'] as const;

/** @param onEvent called after each change, with the kind when that kind is complete, and for each change of a TunnelEndpoint */
function watchInto(store: ClusterStore, view: ClusterView, namespace: string, onEvent: (kind?: Kind) => void): Watch[] {
  return [
    store.watch('ConfigMap', (event) => {
      if (event.type === 'set') takeSwitches(view, namespace, event.object);
      else if (event.type === 'delete' && event.name === SWITCHES_CONFIG_MAP && event.namespace === namespace)
        view.setSwitches(parseSwitches(undefined));
      onEvent(event.type === 'synced' ? 'ConfigMap' : undefined);
    }),
    store.watch('Service', (event) => {
      const of = event.type === 'set' ? event.object.metadata.namespace : event.type === 'delete' ? event.namespace : undefined;
      if (event.type === 'set' && of === namespace) view.setService(event.object);
      else if (event.type === 'delete' && of === namespace) view.deleteService(event.name);
      onEvent(event.type === 'synced' ? 'Service' : undefined);
    }),
    store.watch('BlockAffinity', (event) => {
      if (event.type === 'set') view.setBlock(event.object);
      else if (event.type === 'delete') view.deleteBlock(event.name);
      onEvent(event.type === 'synced' ? 'BlockAffinity' : undefined);
    }),
    store.watch('TunnelEndpoint', (event) => {
      const isUrgent = event.type === 'set' && view.setEndpoint(event.object);
      if (event.type === 'delete') view.deleteEndpoint(event.name);
      onEvent('TunnelEndpoint');
      if (isUrgent) onEvent();
    }),
    store.watch('Lease', (event) => {
      const of = event.type === 'set' ? event.object.metadata.namespace : event.type === 'delete' ? event.namespace : undefined;
      if (event.type === 'set' && of === namespace) view.setLease(event.object);
      else if (event.type === 'delete' && of === namespace) view.deleteLease(event.name);
      onEvent(event.type === 'synced' ? 'Lease' : undefined);
    }),
    store.watch('Node', (event) => {
      if (event.type === 'set') view.setNode(event.object);
      else if (event.type === 'delete') view.deleteNode(event.name);
      onEvent(event.type === 'synced' ? 'Node' : undefined);
    }),
    store.watch('Gateway', (event) => {
      if (event.type === 'set') view.setGateway(event.object);
      else if (event.type === 'delete') view.deleteGateway(event.name);
      onEvent(event.type === 'synced' ? 'Gateway' : undefined);
    }),
  ];
}

/** Other ConfigMaps may stand in the same store. An absent `data` is one without keys: everything off. */
function takeSwitches(view: ClusterView, namespace: string, { metadata, data = {} }: ConfigMap): void {
  if (metadata.name === SWITCHES_CONFIG_MAP && metadata.namespace === namespace) view.setSwitches(parseSwitches(data));
}

/**
 * Writes the status of all Gateways once.
 *
 * @returns the Gateways that were changed, in the order of the store
 * @throws {UserError} when the store holds something that cannot be read: nothing is written then
 */
export async function reconcileOnce({
  store,
  log,
  clock = systemClock,
  namespace = DEFAULT_NAMESPACE,
}: ControllerOptions): Promise<Reconciled[]> {
  const view = createClusterView(clock);
  const [nodes, gateways, endpoints] = await Promise.all([store.list('Node'), store.list('Gateway'), store.list('TunnelEndpoint')]);
  const [blocks, configMaps, services] = await Promise.all([store.list('BlockAffinity'), store.list('ConfigMap'), store.list('Service')]);
  const leases = await store.list('Lease');
  if (store.problems().length > 0) throw new UserError(store.problems());
  for (const configMap of configMaps) takeSwitches(view, namespace, configMap);
  for (const block of blocks) view.setBlock(block);
  for (const service of services) if (service.metadata.namespace === namespace) view.setService(service);
  for (const node of nodes) view.setNode(node);
  for (const gateway of gateways) view.setGateway(gateway);
  for (const endpoint of endpoints) view.setEndpoint(endpoint);
  for (const lease of leases) if (lease.metadata.namespace === namespace) view.setLease(lease);
  const deps = { store, view, clock, log, recordEvent: createEventRecorder({ store, clock }) };
  const changed: Reconciled[] = [];
  const failed: string[] = [];
  for (const name of view.takeAffected()) {
    try {
      const done = await reconcileGateway(deps, name);
      if (done !== undefined) changed.push(done);
    } catch (error) {
      failed.push(`${name}: ${messageOf(error)}`);
    }
  }
  if (failed.length > 0) throw new Error(`status not written: ${failed.join('; ')}`);
  return changed;
}

/** `B: active b1 (tunnel); 3 nodes; not SubnetsUsable: 10.2.0.0/24 also claimed by region C, …` */
export function formatReconciled({ gateway }: Reconciled): string {
  const bad = (gateway.status?.conditions ?? [])
    .filter(({ status }) => status !== 'True')
    .map(({ type, message }) => `not ${type}: ${message}`);
  const active = activeNames(gateway);
  const nodes = gateway.status?.nodes.length ?? 0;
  const parts = [active === '' ? 'nothing active' : `active ${active}`, `${nodes} ${nodes === 1 ? 'node' : 'nodes'}`, ...bad];
  return `${gateway.metadata.name}: ${parts.join('; ')}`;
}

/** `b1 (tunnel), b3 (tunnel)` */
function activeNames({ status }: Gateway): string {
  return (status?.activeEndpoints ?? []).map(({ nodeName, type }) => `${nodeName} (${type})`).join(', ');
}
