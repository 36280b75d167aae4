import type { Registry } from 'prom-client';
import type { NodePlan } from '../domain/node-plan.ts';
import type { TunnelState } from '../drivers/tunnel/tunnel-driver.ts';
import { createMetrics, type MetricDefinition } from '../lib/metrics.ts';
import type { RequestRecord } from '../store/kube/kube-client.ts';
import type { AgentObserver } from './observer.ts';

/** What is asked when somebody reads the metrics. */
export interface MetricSources {
  readonly startedMs: number;
  /** When the API server last answered, epoch milliseconds; undefined before the first answer and where there is no API. */
  lastContactMs(): number | undefined;
  /** The copies on disk. */
  mirrored(): readonly { readonly kind: string; readonly source: string; readonly savedMs: number | undefined }[];
  now(): number;
}

export interface AgentMetrics {
  readonly registry: Registry;
  readonly observer: AgentObserver;
  onRequest(record: RequestRecord): void;
  /** Says where the rest is to be had; until then those metrics are empty. */
  connect(sources: MetricSources): void;
  /** When the node's Lease was last renewed, and the time now (epoch milliseconds). */
  connectLease(lease: { renewedMs(): number | undefined; now(): number }): void;
}

/** Every metric of the agent, for the reference in the documentation too. */
export const AGENT_METRICS = {
  role: { name: 'raven_agent_role', type: 'gauge', help: 'What the node is now: 1 for its role.', labelNames: ['role'] },
  ticks: {
    name: 'raven_agent_ticks_total',
    type: 'counter',
    help: 'Times that the agent looked, planned and set, by result (ok, failed).',
    labelNames: ['result'],
  },
  tickDuration: { name: 'raven_agent_tick_duration_seconds', type: 'histogram', help: 'How long that took.', labelNames: [] },
  planDuration: { name: 'raven_agent_plan_duration_seconds', type: 'histogram', help: 'How long planning alone took.', labelNames: [] },
  resyncs: {
    name: 'raven_agent_resyncs_total',
    type: 'counter',
    help: 'Times that the kernel was read and compared with the plan.',
    labelNames: [],
  },
  kernelWrites: {
    name: 'raven_agent_kernel_writes_total',
    type: 'counter',
    help: 'Changes made to the kernel, by result (ok, failed).',
    labelNames: ['result'],
  },
  findings: {
    name: 'raven_agent_findings',
    type: 'gauge',
    help: 'What is wrong with the plan now, as in the condition PlanComplete.',
    labelNames: ['reason'],
  },
  tunnels: { name: 'raven_agent_tunnels', type: 'gauge', help: 'Planned tunnels by state (up, connecting, down).', labelNames: ['state'] },
  peerUp: { name: 'raven_agent_peer_up', type: 'gauge', help: 'Whether the tunnel to a peer is up.', labelNames: ['peer'] },
  peerRtt: {
    name: 'raven_agent_peer_rtt_seconds',
    type: 'gauge',
    help: 'Smoothed round trip to a peer through the tunnels.',
    labelNames: ['peer'],
  },
  peerBytes: {
    name: 'raven_agent_peer_sa_bytes',
    type: 'gauge',
    help: 'Bytes through the current SA with a peer, by direction (in, out); starts at 0 with each rekeying.',
    labelNames: ['peer', 'direction'],
  },
  reroutes: {
    name: 'raven_agent_reroutes_total',
    type: 'counter',
    help: 'Times that this node moved packets to another live endpoint by itself, by kind: exit (of its own region), entry (of another).',
    labelNames: ['kind'],
  },
  apiRequests: {
    name: 'raven_agent_api_requests_total',
    type: 'counter',
    help: 'Requests to the API server by answer; code 0 is none.',
    labelNames: ['verb', 'resource', 'code'],
  },
  apiBytes: {
    name: 'raven_agent_api_bytes_total',
    type: 'counter',
    help: 'Bytes of request and answer bodies, by direction (sent, received).',
    labelNames: ['direction'],
  },
  apiContact: {
    name: 'raven_agent_api_last_contact_seconds',
    type: 'gauge',
    help: 'Time since the API server last answered a list or watch; before its first answer, since the agent started.',
    labelNames: [],
  },
  leaseAge: {
    name: 'raven_agent_lease_age_seconds',
    type: 'gauge',
    help: "Time since the agent renewed its Lease; absent on nodes that are no gateway's endpoint.",
    labelNames: [],
  },
  mirrorAge: {
    name: 'raven_agent_mirror_age_seconds',
    type: 'gauge',
    help: 'Time since the copy on disk, for life without the API server, was written.',
    labelNames: ['kind'],
  },
  mirrorUsed: {
    name: 'raven_agent_mirror_used',
    type: 'gauge',
    help: '1 while the agent works with the copy on disk because the API server has not answered since it started.',
    labelNames: ['kind'],
  },
} as const satisfies Readonly<Record<string, MetricDefinition>>;

/** A tick with nothing to do takes some 10 ms; one that starts charon takes seconds. */
const BUCKETS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30];

export function createAgentMetrics(): AgentMetrics {
  const { registry, counter, gauge, histogram } = createMetrics();
  let sources: MetricSources | undefined;
  let lease: Parameters<AgentMetrics['connectLease']>[0] | undefined;
  const role = gauge(AGENT_METRICS.role);
  const ticks = counter(AGENT_METRICS.ticks);
  const tickDuration = histogram(AGENT_METRICS.tickDuration, BUCKETS);
  const planDuration = histogram(AGENT_METRICS.planDuration, BUCKETS);
  const resyncs = counter(AGENT_METRICS.resyncs);
  const kernelWrites = counter(AGENT_METRICS.kernelWrites);
  const findings = gauge(AGENT_METRICS.findings);
  const tunnels = gauge(AGENT_METRICS.tunnels);
  const peerUp = gauge(AGENT_METRICS.peerUp);
  const peerRtt = gauge(AGENT_METRICS.peerRtt);
  const peerBytes = gauge(AGENT_METRICS.peerBytes);
  const reroutes = counter(AGENT_METRICS.reroutes);
  const apiRequests = counter(AGENT_METRICS.apiRequests);
  const apiBytes = counter(AGENT_METRICS.apiBytes);
  gauge(AGENT_METRICS.apiContact, (self) => {
    if (sources !== undefined) self.set(secondsSince(sources.lastContactMs() ?? sources.startedMs));
  });
  gauge(AGENT_METRICS.leaseAge, (self) => {
    const renewedMs = lease?.renewedMs();
    if (lease === undefined || renewedMs === undefined) self.remove();
    else self.set(Math.max(0, (lease.now() - renewedMs) / 1000));
  });
  gauge(AGENT_METRICS.mirrorAge, (self) => {
    self.reset();
    for (const { kind, savedMs } of sources?.mirrored() ?? []) if (savedMs !== undefined) self.set({ kind }, secondsSince(savedMs));
  });
  gauge(AGENT_METRICS.mirrorUsed, (self) => {
    self.reset();
    for (const { kind, source } of sources?.mirrored() ?? []) self.set({ kind }, source === 'copy' ? 1 : 0);
  });

  function secondsSince(thenMs: number): number {
    return Math.max(0, ((sources?.now() ?? thenMs) - thenMs) / 1000);
  }

  function setPlan(plan: NodePlan): void {
    role.reset();
    role.set({ role: plan.role }, 1);
    findings.reset();
    for (const { reason } of plan.findings) findings.inc({ reason });
  }

  function setTunnels(states: readonly TunnelState[], rtts: ReadonlyMap<string, number>): void {
    for (const each of [peerUp, peerRtt, peerBytes]) each.reset();
    for (const state of ['up', 'connecting', 'down']) tunnels.set({ state }, states.filter((each) => each.state === state).length);
    for (const { peer, state, bytesIn, bytesOut } of states) {
      peerUp.set({ peer }, state === 'up' ? 1 : 0);
      if (bytesIn !== undefined) peerBytes.set({ peer, direction: 'in' }, bytesIn);
      if (bytesOut !== undefined) peerBytes.set({ peer, direction: 'out' }, bytesOut);
    }
    for (const [peer, rttMs] of rtts) peerRtt.set({ peer }, rttMs / 1000);
  }

  return {
    registry,
    observer: {
      planned: (plan, durationMs) => {
        planDuration.observe(durationMs / 1000);
        setPlan(plan);
      },
      rerouted: ({ kind }) => reroutes.inc({ kind }),
      compared: ({ writes, failed }) => {
        resyncs.inc();
        kernelWrites.inc({ result: 'ok' }, writes - failed);
        kernelWrites.inc({ result: 'failed' }, failed);
      },
      ticked: ({ ok, durationMs, tunnels: states, rtts }) => {
        ticks.inc({ result: ok ? 'ok' : 'failed' });
        tickDuration.observe(durationMs / 1000);
        setTunnels(states, rtts);
      },
    },
    onRequest: ({ verb, resource, code, sentBytes, receivedBytes }) => {
      apiRequests.inc({ verb, resource, code: code ?? 0 });
      apiBytes.inc({ direction: 'sent' }, sentBytes);
      apiBytes.inc({ direction: 'received' }, receivedBytes);
    },
    connect: (given) => void (sources = given),
    connectLease: (given) => void (lease = given),
  };
}
