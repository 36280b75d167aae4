import { describe, expect, it, vi } from 'vitest';
import { UserError } from '../../lib/errors.ts';
import { createTestClock, type TestClock } from '../../lib/test-clock.ts';
import { ConflictError } from '../cluster-store.ts';
import { lease, tunnelEndpoint } from '../conformance.ts';
import { KubeApiError } from './kube-client.ts';
import { createRetried } from './retry.ts';
import { createScriptedClient, type ScriptedClient } from './scripted-client.ts';
import { createWriter, type Writer } from './write.ts';

const PATIENCE = { timeout: 30_000, interval: 2 };
const NOT_FOUND = new KubeApiError(404, 'NotFound', 'tunnelendpoints "a1" not found');
const stored = {
  ...tunnelEndpoint,
  metadata: { name: 'a1', uid: 'u1', resourceVersion: '7', generation: 3, creationTimestamp: '2024-01-01T00:00:00Z' },
};

function start(): { readonly client: ScriptedClient; readonly clock: TestClock; readonly writer: Writer } {
  const [client, clock] = [createScriptedClient(), createTestClock()];
  return { client, clock, writer: createWriter({ client, fieldManager: 'raven-agent', retried: createRetried(clock, () => 0.5) }) };
}

describe('writing to a Kubernetes API', () => {
  it('creates by server-side apply what is not there, as one field manager, without a status', async () => {
    const { client, writer } = start();
    const done = writer.create({ ...tunnelEndpoint, status: { links: [], conditions: [] } });
    (await client.nextRequest()).fail(NOT_FOUND);
    const { request, answer } = await client.nextRequest();
    answer(stored);
    expect(await done).toBe(stored);
    expect(request).toMatchObject({ contentType: 'application/apply-patch+yaml', query: { fieldManager: 'raven-agent', force: 'true' } });
    expect(request.body).toEqual(tunnelEndpoint);
    expect(client.asked).toEqual([
      'GET /apis/raven.openyurt.io/v1beta1/tunnelendpoints/a1',
      'PATCH /apis/raven.openyurt.io/v1beta1/tunnelendpoints/a1?fieldManager=raven-agent&force=true',
    ]);
  });

  it('creates a Lease by POST, which only one of two can', async () => {
    const { client, writer } = start();
    const done = writer.create(lease);
    (await client.nextRequest()).fail(new KubeApiError(409, 'AlreadyExists', 'leases "a1" already exists'));
    await expect(done).rejects.toBeInstanceOf(ConflictError);
    expect(client.asked).toEqual(['POST /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases?fieldManager=raven-agent']);
  });

  it('replaces exactly the version that was read, and sends nothing that the API server keeps itself', async () => {
    const { client, writer } = start();
    const done = writer.replace(stored);
    const { request, fail } = await client.nextRequest();
    expect(request.body).toEqual({ ...tunnelEndpoint, metadata: { name: 'a1', uid: 'u1', resourceVersion: '7' } });
    fail(new KubeApiError(409, 'Conflict', 'the object has been modified'));
    await expect(done).rejects.toEqual(new ConflictError('the object has been modified'));
  });

  it('writes a status of exactly the version that was read, and nothing else', async () => {
    const { client, writer } = start();
    const status = { links: [], conditions: [] };
    const done = writer.replaceStatus({ ...stored, status });
    const { request, answer } = await client.nextRequest();
    answer({});
    await done;
    expect(request.path).toBe('/apis/raven.openyurt.io/v1beta1/tunnelendpoints/a1/status');
    const { apiVersion, kind } = tunnelEndpoint;
    expect(request.body).toEqual({ apiVersion, kind, metadata: { name: 'a1', uid: 'u1', resourceVersion: '7' }, status });
  });

  it('tells a conflict when the object is gone, but not when there is no place to create it in', async () => {
    const { client, writer } = start();
    const replaced = writer.replace(stored);
    (await client.nextRequest()).fail(NOT_FOUND);
    await expect(replaced).rejects.toBeInstanceOf(ConflictError);
    const noNamespace = new KubeApiError(404, 'NotFound', 'namespaces "kube-node-lease" not found');
    const created = writer.create(lease);
    (await client.nextRequest()).fail(noNamespace);
    await expect(created).rejects.toBe(noNamespace);
  });

  it('does not mind deleting what is gone', async () => {
    const { client, writer } = start();
    const done = writer.remove('Lease', 'a1', 'kube-node-lease');
    (await client.nextRequest()).fail(NOT_FOUND);
    await done;
    expect(client.asked).toEqual(['DELETE /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/a1']);
  });

  it.each([
    ['does not answer', new Error('connect ECONNREFUSED')],
    ['has too much to do', new KubeApiError(429, 'TooManyRequests', 'too many requests')],
    ['has trouble of its own', new KubeApiError(503, 'ServiceUnavailable', 'etcdserver: leader changed')],
  ])('tries again, ever more slowly, while the API server %s', async (_, error) => {
    const { client, clock, writer } = start();
    const done = writer.replace(stored);
    const begin = clock.now();
    for (const delayMs of [75, 150, 300]) {
      (await client.nextRequest()).fail(error);
      const { length } = client.asked;
      await vi.waitFor(() => {
        clock.advance(5);
        expect(client.asked.length).toBe(length + 1);
      }, PATIENCE);
      expect(clock.now() - begin).toBeGreaterThanOrEqual(delayMs);
    }
    (await client.nextRequest()).answer(stored);
    expect(await done).toBe(stored);
  });

  it('throws after 15 s, and at once for what another try does not change', async () => {
    const { client, clock, writer } = start();
    const refused = new Error('connect ECONNREFUSED');
    const late = writer.replace(stored);
    const first = await client.nextRequest();
    clock.advance(14_990);
    first.fail(refused);
    await expect(late).rejects.toBe(refused);
    for (const error of [
      new KubeApiError(403, 'Forbidden', 'no'),
      new KubeApiError(422, 'Invalid', 'spec.port'),
      new UserError('no token'),
    ]) {
      const done = writer.replace(stored);
      (await client.nextRequest()).fail(error);
      await expect(done).rejects.toBe(error);
    }
  });
});
