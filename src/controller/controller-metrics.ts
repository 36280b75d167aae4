import type { Registry } from 'prom-client';
import { IMPAIRMENTS } from '../api/gateway.ts';
import { createMetrics, type MetricDefinition } from '../lib/metrics.ts';
import type { RequestRecord } from '../store/kube/kube-client.ts';
import type { Counts } from './cluster-view.ts';

export interface ControllerMetrics {
  readonly registry: Registry;
  setLeading(isLeading: boolean): void;
  /** After each look at a Gateway. */
  reconciled(result: ReconcileResult, durationMs: number): void;
  eventWritten(type: string, reason: string): void;
  readonly onRequest: (record: RequestRecord) => void;
  admitted(path: string, result: string): void;
  /** Says where the rest is to be had; until then those metrics are empty. */
  connect(sources: ControllerSources): void;
}

export type ReconcileResult = 'written' | 'unchanged' | 'failed';

/** What is asked when somebody reads the metrics. */
export interface ControllerSources {
  regions(): Counts;
  queued(): number;
  /** When the API server last answered a list or watch, epoch milliseconds. */
  lastContactMs(): number | undefined;
  readonly startedMs: number;
  now(): number;
}

/** Every metric of the controller, for the reference in the documentation too. */
export const CONTROLLER_METRICS = {
  leader: { name: 'raven_controller_leader', type: 'gauge', help: '1 on the replica that leads, 0 on the others.', labelNames: [] },
  gateways: { name: 'raven_controller_gateways', type: 'gauge', help: 'Gateways there are; the leader knows.', labelNames: [] },
  withoutEndpoint: {
    name: 'raven_controller_gateways_without_endpoint',
    type: 'gauge',
    help: 'Gateways in which no node carries the tunnels.',
    labelNames: [],
  },
  impaired: {
    name: 'raven_controller_impaired_endpoints',
    type: 'gauge',
    help: 'Endpoint nodes that are not fit, or lately were not, by state as in `status.impaired`.',
    labelNames: ['state'],
  },
  nodes: { name: 'raven_controller_nodes', type: 'gauge', help: 'Nodes that belong to a region.', labelNames: [] },
  queued: { name: 'raven_controller_queue_depth', type: 'gauge', help: 'Gateways that wait to be looked at.', labelNames: [] },
  reconciles: {
    name: 'raven_controller_reconciles_total',
    type: 'counter',
    help: 'Looks at a Gateway, by result (written, unchanged, failed).',
    labelNames: ['result'],
  },
  reconcileDuration: {
    name: 'raven_controller_reconcile_duration_seconds',
    type: 'histogram',
    help: 'How long a look took, with the write.',
    labelNames: [],
  },
  events: {
    name: 'raven_controller_events_total',
    type: 'counter',
    help: 'Events written, by type and reason.',
    labelNames: ['type', 'reason'],
  },
  admissions: {
    name: 'raven_controller_webhook_requests_total',
    type: 'counter',
    help: 'Questions of the API server, by path and result.',
    labelNames: ['path', 'result'],
  },
  apiRequests: {
    name: 'raven_controller_api_requests_total',
    type: 'counter',
    help: 'Requests to the API server by answer; code 0 is none.',
    labelNames: ['verb', 'resource', 'code'],
  },
  apiBytes: {
    name: 'raven_controller_api_bytes_total',
    type: 'counter',
    help: 'Bytes of request and answer bodies, by direction (sent, received).',
    labelNames: ['direction'],
  },
  apiContact: {
    name: 'raven_controller_api_last_contact_seconds',
    type: 'gauge',
    help: 'Time since the API server last answered a list or watch.',
    labelNames: [],
  },
} as const satisfies Readonly<Record<string, MetricDefinition>>;

/** A look that writes nothing takes microseconds; a write waits for the API server. */
const BUCKETS = [0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10];

export function createControllerMetrics(): ControllerMetrics {
  const { registry, counter, gauge, histogram } = createMetrics();
  let sources: ControllerSources | undefined;
  const leader = gauge(CONTROLLER_METRICS.leader);
  const reconciles = counter(CONTROLLER_METRICS.reconciles);
  const reconcileDuration = histogram(CONTROLLER_METRICS.reconcileDuration, BUCKETS);
  const events = counter(CONTROLLER_METRICS.events);
  const admissions = counter(CONTROLLER_METRICS.admissions);
  const apiRequests = counter(CONTROLLER_METRICS.apiRequests);
  const apiBytes = counter(CONTROLLER_METRICS.apiBytes);
  gauge(CONTROLLER_METRICS.gateways, (self) => self.set(sources?.regions().gateways ?? 0));
  gauge(CONTROLLER_METRICS.withoutEndpoint, (self) => self.set(sources?.regions().withoutEndpoint ?? 0));
  gauge(CONTROLLER_METRICS.impaired, (self) => {
    for (const state of IMPAIRMENTS) self.set({ state }, sources?.regions().impaired.get(state) ?? 0);
  });
  gauge(CONTROLLER_METRICS.nodes, (self) => self.set(sources?.regions().nodes ?? 0));
  gauge(CONTROLLER_METRICS.queued, (self) => self.set(sources?.queued() ?? 0));
  gauge(CONTROLLER_METRICS.apiContact, (self) => {
    if (sources !== undefined) self.set(Math.max(0, sources.now() - (sources.lastContactMs() ?? sources.startedMs)) / 1000);
  });

  return {
    registry,
    setLeading: (isLeading) => leader.set(isLeading ? 1 : 0),
    reconciled: (result, durationMs) => {
      reconciles.inc({ result });
      reconcileDuration.observe(durationMs / 1000);
    },
    eventWritten: (type, reason) => events.inc({ type, reason }),
    admitted: (path, result) => admissions.inc({ path, result }),
    onRequest: ({ verb, resource, code, sentBytes, receivedBytes }) => {
      apiRequests.inc({ verb, resource, code: code ?? 0 });
      apiBytes.inc({ direction: 'sent' }, sentBytes);
      apiBytes.inc({ direction: 'received' }, receivedBytes);
    },
    connect: (given) => void (sources = given),
  };
}
