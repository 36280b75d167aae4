import { pino } from 'pino';
import { describe, expect, it, vi } from 'vitest';
import { createTestClock } from '../lib/test-clock.ts';
import type { KeyPair } from '../net/certificate.ts';
import { KubeApiError, type KubeClient, type KubeRequest } from '../store/kube/kube-client.ts';
import { runCertificateManager } from './certificate-manager.ts';

const PATIENCE = { timeout: 30_000, interval: 2 };
const CHECK_MS = 30_000;
const START = Date.UTC(2026, 0, 1);

/** An API server that holds just the Secret, and fails when told to. The real one is in test/kube. */
function createFakeApi() {
  let secret: Record<string, unknown> | undefined;
  let version = 0;
  let error: Error | undefined;
  const asked: string[] = [];

  function answer({ method, path, body }: KubeRequest): unknown {
    asked.push(`${method} ${path.replace(/.*\//, '')}`);
    if (error !== undefined) throw error;
    if (!path.includes('/secrets')) throw new KubeApiError(404, 'NotFound', 'not installed');
    const given = body as { metadata: Record<string, unknown> } | undefined;
    const { resourceVersion } = (secret?.['metadata'] ?? {}) as { resourceVersion?: string };
    if (method === 'POST' && secret !== undefined) throw new KubeApiError(409, 'AlreadyExists', 'exists');
    if (method !== 'POST' && secret === undefined) throw new KubeApiError(404, 'NotFound', 'is not there');
    if (method === 'PUT' && given?.metadata['resourceVersion'] !== resourceVersion) throw new KubeApiError(409, 'Conflict', 'changed');
    if (given !== undefined) secret = { ...given, metadata: { ...given.metadata, resourceVersion: `${++version}` } };
    return structuredClone(secret);
  }

  const client: KubeClient = {
    request: async <T>(request: KubeRequest) => answer(request) as T,
    watch: () => {
      throw new Error('nothing watches');
    },
    close: async () => undefined,
  };
  return {
    client,
    asked,
    fail: (given: Error | undefined) => void (error = given),
    get secret() {
      return secret;
    },
    set secret(given) {
      secret = given;
    },
  };
}

function start(api = createFakeApi()) {
  const clock = createTestClock(START);
  const lines: string[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) });
  const stop = new AbortController();
  const served: KeyPair[] = [];
  const done = runCertificateManager({
    client: api.client,
    clock,
    log,
    signal: stop.signal,
    onCertificate: (pair) => void served.push(pair),
  });
  return {
    api,
    clock,
    lines,
    served,
    stop: async () => {
      stop.abort();
      await done;
    },
    /** Lets checks fall due until what is wanted holds. */
    until: (wanted: () => void) =>
      vi.waitFor(() => {
        clock.advance(CHECK_MS);
        wanted();
      }, PATIENCE),
  };
}

describe('the certificate manager', () => {
  it('serves what it has written, and checks twice a minute without writing again', async () => {
    const { api, served, until, stop } = start();
    await until(() => expect(api.asked.filter((each) => each === 'GET raven-webhook-cert').length).toBeGreaterThan(4));
    await stop();
    expect(served).toHaveLength(1);
    expect(api.secret).toMatchObject({ type: 'kubernetes.io/tls', metadata: { name: 'raven-webhook-cert', namespace: 'kube-system' } });
    expect(api.asked.filter((each) => !each.startsWith('GET'))).toEqual(['POST secrets']);
  });

  it('agrees with other replicas on one certificate', async () => {
    const api = createFakeApi();
    const replicas = [start(api), start(api), start(api)];
    await vi.waitFor(() => expect(replicas.map(({ served }) => served.length)).toEqual([1, 1, 1]), PATIENCE);
    for (const { stop } of replicas) await stop();
    expect(new Set(replicas.map(({ served }) => served[0]?.certificate)).size).toBe(1);
  });

  it('renews in good time, and leaves what others put on the Secret', async () => {
    const { api, clock, served, until, stop } = start();
    await vi.waitFor(() => expect(served).toHaveLength(1), PATIENCE);
    api.secret = { ...api.secret, metadata: { ...(api.secret!['metadata'] as object), labels: { kept: 'yes' } } };
    clock.advance(61 * 24 * 3_600_000);
    await until(() => expect(served).toHaveLength(2));
    await stop();
    expect(api.secret).toMatchObject({ metadata: { labels: { kept: 'yes' } } });
  });

  it('says once that the API is away, serves on, and says when it is back', async () => {
    const { api, lines, served, until, stop } = start();
    await vi.waitFor(() => expect(served).toHaveLength(1), PATIENCE);
    api.fail(new Error('connection refused'));
    const before = api.asked.length;
    await until(() => expect(api.asked.length).toBeGreaterThan(before + 4));
    api.fail(undefined);
    await until(() => expect(lines.join('')).toContain('in order again'));
    await stop();
    expect(served).toHaveLength(1);
    expect(lines.filter((line) => line.includes('connection refused'))).toHaveLength(1);
  });

  it('ends at once when it is told to, also while it waits', async () => {
    const { served, stop } = start();
    await vi.waitFor(() => expect(served).toHaveLength(1), PATIENCE);
    await stop();
  });

  it('puts a Secret that was deleted or spoilt back with the CA that others serve from, and a new one for later', async () => {
    for (const spoilt of [undefined, { metadata: { resourceVersion: 'x' }, data: { 'ca.crt': 'bm9uZQ==' } }]) {
      const { api, served, until, stop } = start();
      await vi.waitFor(() => expect(served).toHaveLength(1), PATIENCE);
      const { data } = api.secret as { data: Record<string, string> };
      api.secret = spoilt;
      await until(() => expect(api.secret?.['data']).toHaveProperty('next-ca.crt'));
      await stop();
      expect(api.secret).toMatchObject({ data });
      expect(served).toHaveLength(1);
    }
  });

  it('never logs a private key', async () => {
    const { api, lines, served, until, stop } = start();
    await vi.waitFor(() => expect(served).toHaveLength(1), PATIENCE);
    api.secret = undefined;
    await until(() => expect(lines.join('')).toContain('stage-ca'));
    await stop();
    expect(lines.join('')).not.toMatch(/PRIVATE|LS0t/);
  });
});
