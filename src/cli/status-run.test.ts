import { describe, expect, it } from 'vitest';
import type { Lease } from '../api/core.ts';
import { clusterStatus } from '../domain/cluster-status.ts';
import { testGateway } from '../domain/test-objects.ts';
import { tunnelEndpoint } from '../store/conformance.ts';
import { formatStatus } from './status-run.ts';

const NOW = Date.UTC(2026, 0, 1);
const lease = (node: string, ageMs: number): Lease => ({
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
  metadata: { name: `raven-agent-${node}`, namespace: 'kube-system' },
  spec: { renewTime: new Date(NOW - ageMs).toISOString() },
});

describe('raven status', () => {
  it('shows beside each endpoint what stands against it, and how long ago its agent was heard', () => {
    const gateway = testGateway('b', { endpoints: ['b1', 'b3', 'b4'], active: ['b3'] });
    const impaired = [
      { nodeName: 'b1', state: 'Draining' as const, message: '', since: '' },
      { nodeName: 'b4', state: 'Recovered' as const, message: '', since: '', falls: 1, lastFall: '' },
    ];
    const withStatus = { ...gateway, status: { ...gateway.status!, impaired } };
    const endpoint = { ...tunnelEndpoint, metadata: { name: 'b3' }, spec: { ...tunnelEndpoint.spec, nodeName: 'b3', gateway: 'b' } };
    const leases = [lease('b1', 1_000), lease('b3', 7_000), { ...lease('b3', 0), metadata: { name: 'b3', namespace: 'kube-node-lease' } }];
    const status = clusterStatus([withStatus], [endpoint], leases);
    const [line = ''] = formatStatus(status, NOW).split('\n').slice(1);
    expect(line).toMatch(/^b +b3 +b1 \(Draining\), b4 +.* 7s$/);
    expect(status.gateways[0]).toMatchObject({ impaired, heard: { b1: '2025-12-31T23:59:59.000Z', b3: '2025-12-31T23:59:53.000Z' } });
  });

  it('shows nothing of it where agents write no Lease', () => {
    const text = formatStatus(clusterStatus([testGateway('b', { endpoints: ['b1'], active: ['b1'] })], []), NOW);
    expect(text.split('\n')[1]).toMatch(/^b +b1 .* -$/);
  });
});
