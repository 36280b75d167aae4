import { describe, expect, it } from 'vitest';
import type { Lease, Node } from '../../api/core.ts';
import { GRACE_MS, readyCondition, withCondition } from './readiness.ts';

const START = Date.parse('2030-01-01T00:00:00Z');
const node: Node = {
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'b1' },
  spec: {},
  status: { addresses: [{ type: 'InternalIP', address: '192.0.2.7' }] },
};
const leaseAt = (ms: number): Lease => ({
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
  metadata: { name: 'b1', namespace: 'kube-node-lease' },
  spec: { renewTime: new Date(ms).toISOString().replace('Z', '000Z') },
});
const ready = withCondition(node, readyCondition(node, leaseAt(START), START, START)!);

describe('the Ready condition', () => {
  it('turns True with the first heartbeat, and keeps the rest of the status', () => {
    expect(ready.status).toMatchObject({
      addresses: node.status!.addresses,
      conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady' }],
    });
  });

  it('is not written again while heartbeats come', () =>
    expect(readyCondition(ready, leaseAt(START + 9000), START + 9500, START)).toBeUndefined());

  it('turns Unknown only after the grace period', () => {
    expect(readyCondition(ready, leaseAt(START), START + GRACE_MS, START)).toBeUndefined();
    expect(readyCondition(ready, leaseAt(START), START + GRACE_MS + 1, START)).toMatchObject({
      status: 'Unknown',
      reason: 'NodeStatusUnknown',
      lastTransitionTime: '2030-01-01T00:00:04Z',
    });
  });

  it('gives a node that never reported the same grace', () => {
    expect(readyCondition(node, undefined, START + GRACE_MS, START)).toBeUndefined();
    expect(readyCondition(node, undefined, START + GRACE_MS + 1, START)).toMatchObject({
      status: 'Unknown',
      reason: 'NodeStatusNeverUpdated',
    });
  });
});
