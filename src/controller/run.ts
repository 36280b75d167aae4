import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { CONTROLLER_FIELD_MANAGER, LEADER_LEASE } from '../api/names.ts';
import { startObservabilityServer } from '../drivers/observability/server.ts';
import { systemClock } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import { createLogger, type Logger } from '../lib/logger.ts';
import type { ClusterStore } from '../store/cluster-store.ts';
import { isKube, openKube, openStore, type KubeOptions } from '../store/open-store.ts';
import { type Controller, formatReconciled, reconcileOnce, startController } from './controller.ts';
import { type ControllerMetrics, createControllerMetrics } from './controller-metrics.ts';
import { runLeadership } from './leadership.ts';
import { type ControllerRunOptions, parseControllerOptions } from './options.ts';
import { startWebhooks, type Webhooks } from './webhooks.ts';

/** `raven controller`: works until SIGTERM or SIGINT, or with `once` until everything is written. */
export async function runController(input: unknown, env: NodeJS.ProcessEnv): Promise<void> {
  const options = parseControllerOptions(input);
  const log = createLogger('controller', options.once ? 'error' : options.logLevel);
  const metrics = createControllerMetrics();
  const kube: KubeOptions = {
    env,
    userAgent: 'raven-controller',
    fieldManager: CONTROLLER_FIELD_MANAGER,
    onRequest: metrics.onRequest,
    namespaces: { ConfigMap: options.namespace, Service: options.namespace, EndpointSlice: options.namespace, Lease: options.namespace },
    onFailure: (kind, error, retryInMs) => log.warn({ kind, error: messageOf(error), retryInMs }, 'the API server cannot be followed'),
  };
  const { store, lastContactMs } = await openCluster(options.store, kube);
  try {
    if (options.once) await printOnce(store, options, log);
    else await serve({ store, lastContactMs, options, kube, metrics, log });
  } finally {
    await store.close();
  }
}

async function openCluster(text: string, kube: KubeOptions): Promise<{ store: ClusterStore; lastContactMs: () => number | undefined }> {
  if (!isKube(text)) return { store: await openStore(text), lastContactMs: () => Date.now() };
  const store = await openKube(text, kube);
  return { store, lastContactMs: () => store.lastContactMs() };
}

async function printOnce(store: ClusterStore, { namespace }: ControllerRunOptions, log: Logger): Promise<void> {
  const changed = await reconcileOnce({ store, log, namespace });
  for (const each of changed) process.stdout.write(`${formatReconciled(each)}\n`);
  if (changed.length === 0) process.stderr.write('raven: every Gateway is up to date, nothing was written\n');
}

interface Running {
  readonly store: ClusterStore;
  readonly lastContactMs: () => number | undefined;
  readonly options: ControllerRunOptions;
  readonly kube: KubeOptions;
  readonly metrics: ControllerMetrics;
  readonly log: Logger;
}

/** A process that cannot end its work in order ends all the same: the lease runs out by itself. */
const STOP_DEADLINE_MS = 8_000;

async function serve({ store, lastContactMs, options, kube, metrics, log }: Running): Promise<void> {
  const stopping = stopSignal();
  let controller: Controller | undefined;
  let webhooks: Webhooks | undefined;
  metrics.connect({
    regions: () => controller?.count() ?? NOTHING,
    queued: () => controller?.count().queued ?? 0,
    lastContactMs,
    startedMs: Date.now(),
    now: () => Date.now(),
  });
  const { registry } = metrics;
  const server = await startObservabilityServer({
    ...(options.metrics !== 'off' && { metrics: { ...options.metrics, registry } }),
    ...(options.health !== 'off' && {
      health: {
        ...options.health,
        live: () => undefined,
        ready: () => (options.webhookPort === undefined ? undefined : notReady(webhooks)),
      },
    }),
    log,
  });
  try {
    if (options.webhookPort !== undefined)
      webhooks = await startWebhooks({ ...options, port: options.webhookPort, kube, metrics, log, signal: stopping });
    store.onProblems((problems) => log.warn({ problems }, 'objects in the store are wrong'));
    log.info({ store: options.store, leaderElect: options.leaderElect }, 'started');
    const working = options.leaderElect
      ? runLeadership({
          store,
          clock: systemClock,
          log,
          identity: `${hostname()}_${randomUUID()}`,
          name: LEADER_LEASE,
          namespace: options.namespace,
          lead,
          signal: stopping,
        })
      : lead(stopping);
    await withDeadline(working, stopping, log);
  } finally {
    await webhooks?.close();
    await server.close();
  }

  async function lead(signal: AbortSignal): Promise<void> {
    metrics.setLeading(true);
    const started = startController({ store, log, namespace: options.namespace, metrics });
    controller = started;
    void started.settled().then(() => {
      if (!signal.aborted) log.info({ problems: store.problems() }, 'all Gateways are up to date');
    });
    await aborted(signal);
    log.info('stopping');
    controller = undefined;
    metrics.setLeading(false);
    await started.stop();
  }
}

const NOTHING = { gateways: 0, withoutEndpoint: 0, nodes: 0, impaired: new Map<never, number>() };

function notReady(webhooks: Webhooks | undefined): string | undefined {
  return webhooks?.isServing() === true ? undefined : 'the webhooks have no certificate yet';
}

/** Waits for work to end; after `stopping` only so long. */
async function withDeadline(work: Promise<void>, stopping: AbortSignal, log: Logger): Promise<void> {
  const late = Promise.withResolvers<void>();
  let timer: NodeJS.Timeout | undefined;
  void aborted(stopping).then(() => {
    timer = setTimeout(() => {
      log.warn('could not stop in order: the API server does not answer');
      late.resolve();
    }, STOP_DEADLINE_MS);
  });
  try {
    await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

function stopSignal(): AbortSignal {
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort());
  return stop.signal;
}
