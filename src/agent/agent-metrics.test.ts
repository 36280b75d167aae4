import { expect, it } from 'vitest';
import type { NodePlan } from '../domain/node-plan.ts';
import { AGENT_METRICS, createAgentMetrics } from './agent-metrics.ts';

it('tells the last tick, what was done so far, and how old the copy and the last answer are', async () => {
  const metrics = createAgentMetrics();
  const { observer } = metrics;
  observer.planned({ role: 'gateway', findings: [{ reason: 'Overlap', message: '' }] } as unknown as NodePlan, 2);
  observer.compared({ writes: 5, failed: 1 });
  observer.rerouted({ kind: 'exit', region: 'b', from: 'b1', to: 'b3', why: '' });
  const tunnel = { peer: 'b1', sinceMs: 0, bytesIn: 10, bytesOut: 20 };
  observer.ticked({ ok: true, durationMs: 12, tunnels: [{ ...tunnel, state: 'down' }], rtts: new Map() });
  observer.ticked({ ok: true, durationMs: 12, tunnels: [{ ...tunnel, state: 'up' }], rtts: new Map([['b1', 25]]) });
  metrics.onRequest({ verb: 'WATCH', resource: 'gateways', code: undefined, sentBytes: 0, receivedBytes: 512, durationMs: 1 });
  metrics.connect({
    startedMs: 0,
    lastContactMs: () => 98_000,
    mirrored: () => [{ kind: 'Gateway', source: 'copy', savedMs: 40_000 }],
    now: () => 100_000,
  });
  const lines = (await metrics.registry.metrics()).split('\n');
  for (const line of [
    'raven_agent_role{role="gateway"} 1',
    'raven_agent_ticks_total{result="ok"} 2',
    'raven_agent_plan_duration_seconds_count 1',
    'raven_agent_resyncs_total 1',
    'raven_agent_kernel_writes_total{result="ok"} 4',
    'raven_agent_kernel_writes_total{result="failed"} 1',
    'raven_agent_findings{reason="Overlap"} 1',
    'raven_agent_tunnels{state="up"} 1',
    'raven_agent_tunnels{state="down"} 0',
    'raven_agent_peer_up{peer="b1"} 1',
    'raven_agent_peer_rtt_seconds{peer="b1"} 0.025',
    'raven_agent_peer_sa_bytes{peer="b1",direction="out"} 20',
    'raven_agent_reroutes_total{kind="exit"} 1',
    'raven_agent_api_requests_total{verb="WATCH",resource="gateways",code="0"} 1',
    'raven_agent_api_bytes_total{direction="received"} 512',
    'raven_agent_api_last_contact_seconds 2',
    'raven_agent_mirror_age_seconds{kind="Gateway"} 60',
    'raven_agent_mirror_used{kind="Gateway"} 1',
  ])
    expect(lines).toContain(line);
  for (const { name } of Object.values(AGENT_METRICS)) expect(lines.some((line) => line.startsWith(`# HELP ${name} `))).toBe(true);
});
