import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { gatewayCrd } from '../../src/api/crd.ts';
import { createTestClock, type TestClock } from '../../src/lib/test-clock.ts';
import type { KeyPair } from '../../src/net/certificate.ts';
import { KubeApiError, type KubeClient } from '../../src/store/kube/kube-client.ts';
import type { ReviewRecord } from '../../src/webhook/app.ts';
import { INJECTION_PATHS } from '../../src/webhook/ca-injection.ts';
import { createCertificateHolder } from '../../src/webhook/certificate-holder.ts';
import { runCertificateManager } from '../../src/webhook/certificate-manager.ts';
import { webhookConfigurations } from '../../src/webhook/configurations.ts';
import { startWebhookServer, type WebhookServer } from '../../src/webhook/server.ts';
import { type ApiServer, kubectl, startApiServer } from './api-server.ts';
import { openClient } from './clients.ts';

const { missing } = inject('kube');
const PATIENCE = { timeout: 60_000, interval: 20 };
const DAY_MS = 24 * 3_600_000;
const CHECK_MS = 30_000;
const log = pino({ level: 'silent' });
const SECRET_PATH = '/api/v1/namespaces/kube-system/secrets/raven-webhook-cert';
const GATEWAYS = '/apis/raven.openyurt.io/v1beta1/gateways';
const ALPHA_GATEWAYS = '/apis/raven.openyurt.io/v1alpha1/gateways';

interface Fields {
  readonly [key: string]: never;
}
type Read = Readonly<Record<string, unknown>> & { readonly metadata: { readonly [key: string]: unknown } };

/** Two replicas as in a cluster: each has a server and a certificate manager, and the API server speaks to the first. */
describe.skipIf(missing !== undefined)('the webhooks, on a real API server', () => {
  let server: ApiServer;
  let client: KubeClient;
  let webhooks: WebhookServer;
  let clock: TestClock;
  const reviews: ReviewRecord[] = [];
  const served: [KeyPair[], KeyPair[]] = [[], []];
  const stop = new AbortController();
  const managers: Promise<void>[] = [];

  beforeAll(async () => {
    server = await startApiServer();
    client = await openClient(server.adminKubeconfig);
    // Certificates are real: the clock stands so far back that they may age a good while before the API server's time is reached.
    clock = createTestClock(Date.now() - 4 * 365 * DAY_MS);
    const certificates = createCertificateHolder();
    webhooks = await startWebhookServer({
      address: '127.0.0.1',
      port: 0,
      certificates,
      log,
      onReview: (record) => void reviews.push(record),
    });
    const url = `https://127.0.0.1:${webhooks.port}`;
    const crd = gatewayCrd('webhook');
    const conversion = { strategy: 'Webhook', webhook: { clientConfig: { url: `${url}/convert` }, conversionReviewVersions: ['v1'] } };
    const objects = [{ ...crd, spec: { ...crd.spec, conversion } }, ...webhookConfigurations(url)];
    await kubectl(server.adminKubeconfig, ['create', '-f', '-'], objects.map((each) => JSON.stringify(each)).join('\n---\n'));
    await kubectl(server.adminKubeconfig, ['wait', '--for=condition=Established', '--timeout=60s', `crd/${crd.metadata.name}`]);
    const onCertificate = [(pair: KeyPair) => certificates.set(pair), () => undefined];
    for (const [index, each] of served.entries()) {
      managers.push(
        runCertificateManager({
          client,
          extraNames: { ipAddresses: ['127.0.0.1'] },
          clock,
          log,
          signal: stop.signal,
          onCertificate: (pair) => {
            each.push(pair);
            onCertificate[index]?.(pair);
          },
        }),
      );
    }
  });

  afterAll(async () => {
    stop.abort();
    await Promise.all(managers);
    await webhooks?.close();
    await client?.close();
    await server?.stop();
  });

  function get<T = Read>(path: string): Promise<T> {
    return client.request<T>({ method: 'GET', path });
  }

  async function secretTexts(): Promise<Readonly<Record<string, string>>> {
    const { data } = await get<{ data: Record<string, string> }>(SECRET_PATH);
    return Object.fromEntries(Object.entries(data).map(([key, text]) => [key, Buffer.from(text, 'base64').toString()]));
  }

  /** What the API server trusts for each webhook. */
  async function bundles(): Promise<string[]> {
    const objects = await Promise.all(INJECTION_PATHS.map((path) => get(path)));
    return objects.map((object) => Buffer.from(/"caBundle":"([^"]*)"/.exec(JSON.stringify(object))?.[1] ?? '', 'base64').toString());
  }

  /** Lets both managers check until what is wanted holds; `ms` is the time that each check is later than the one before. */
  async function checkUntil(wanted: () => Promise<void> | void, ms = CHECK_MS): Promise<void> {
    clock.advance(ms);
    await vi.waitFor(async () => {
      try {
        await wanted();
      } catch (error) {
        clock.advance(CHECK_MS);
        throw error;
      }
    }, PATIENCE);
  }

  it('have one certificate, whoever was first to make it, and the API server is told whom to trust', async () => {
    await vi.waitFor(() => expect(served.map(({ length }) => length)).toEqual([1, 1]), PATIENCE);
    expect(served[0]).toEqual(served[1]);
    const texts = await secretTexts();
    expect(texts['tls.crt']).toBe(served[0][0]!.certificate);
    expect(await bundles()).toEqual(Array(3).fill(`${texts['ca.crt']}\n`));
  });

  it('are given back their CA bundle, and nothing but it is touched', async () => {
    const [conversion, , validating] = INJECTION_PATHS;
    const before = await get<{ webhooks: Fields[]; metadata: Fields }>(validating!);
    const changes = [
      { op: 'remove', path: '/webhooks/0/clientConfig/caBundle' },
      { op: 'replace', path: '/webhooks/0/timeoutSeconds', value: 7 },
      { op: 'add', path: '/metadata/labels', value: { kept: 'yes' } },
    ];
    const contentType = 'application/json-patch+json';
    await client.request({ method: 'PATCH', path: validating!, body: changes, contentType });
    const removal = [{ op: 'remove', path: '/spec/conversion/webhook/clientConfig/caBundle' }];
    await client.request({ method: 'PATCH', path: conversion!, body: removal, contentType });
    const { 'ca.crt': ca } = await secretTexts();
    await checkUntil(async () => expect(await bundles()).toEqual(Array(3).fill(`${ca}\n`)));
    const after = await get(validating!);
    expect(after.metadata).toMatchObject({ labels: { kept: 'yes' } });
    expect({ ...before.webhooks[0], timeoutSeconds: 7 }).toEqual((after as unknown as typeof before).webhooks[0]);
  });

  it('renew what is old, and trust a new CA before it signs', async () => {
    const old = await secretTexts();
    clock.advance(Date.now() - clock.now() - DAY_MS);
    await checkUntil(async () => expect((await secretTexts())['next-ca.crt']).toContain('CERTIFICATE'));
    const texts = await secretTexts();
    const bundle = `${texts['ca.crt']}\n${texts['next-ca.crt']}\n`;
    await checkUntil(async () => expect(await bundles()).toEqual([bundle, bundle, bundle]));
    expect(texts['ca.crt']).toBe(old['ca.crt']);
    await checkUntil(() => expect(served[0].at(-1)?.certificate).toBe(texts['tls.crt']));
    expect(texts['tls.crt']).not.toBe(old['tls.crt']);
  });

  const tunnel = { nodeName: 'b1', type: 'tunnel' };

  it('default a Gateway of either version', async () => {
    await client.request({
      method: 'POST',
      path: GATEWAYS,
      body: {
        apiVersion: 'raven.openyurt.io/v1beta1',
        kind: 'Gateway',
        metadata: { name: 'wh-beta' },
        spec: {
          nodeSelector: { matchLabels: { site: 'b' } },
          proxyConfig: { Replicas: 1 },
          endpoints: [tunnel, { ...tunnel, type: 'proxy' }],
        },
      },
    });
    expect(await get(`${GATEWAYS}/wh-beta`)).toMatchObject({
      spec: {
        nodeSelector: { matchLabels: { site: 'b', 'raven.openyurt.io/gateway': 'wh-beta' } },
        endpoints: [{ port: 4500 }, { port: 10262 }],
      },
    });
    const alpha = {
      apiVersion: 'raven.openyurt.io/v1alpha1',
      kind: 'Gateway',
      metadata: { name: 'wh-alpha' },
      spec: { endpoints: [{ nodeName: 'a1', publicIP: '192.0.2.1', config: { mode: 'x' } }] },
    };
    await kubectl(server.adminKubeconfig, ['apply', '-f', '-'], JSON.stringify(alpha));
    const spec = { ...alpha.spec, nodeSelector: { matchLabels: { 'raven.openyurt.io/gateway': 'wh-alpha' } } };
    expect((await get(`${ALPHA_GATEWAYS}/wh-alpha`))['spec']).toEqual(spec);
    expect((await get(`${GATEWAYS}/wh-alpha`))['spec']).toEqual({
      ...spec,
      proxyConfig: { Replicas: 1 },
      tunnelConfig: { Replicas: 1 },
      endpoints: [{ ...alpha.spec.endpoints[0], type: 'tunnel', port: 4500 }],
    });
  });

  it('convert both ways without loss; a write in the older version changes the selector only', async () => {
    const before = await get(`${GATEWAYS}/wh-beta`);
    const alpha = await get(`${ALPHA_GATEWAYS}/wh-beta`);
    expect(alpha).toMatchObject({
      apiVersion: 'raven.openyurt.io/v1alpha1',
      spec: { nodeSelector: { matchLabels: { site: 'b' } }, endpoints: [{ nodeName: 'b1' }] },
    });
    expect((alpha['spec'] as { endpoints: unknown[] }).endpoints).toHaveLength(1);
    const labelled = { ...alpha, metadata: { ...alpha.metadata, labels: { seen: 'yes' } } };
    await client.request({ method: 'PUT', path: `${ALPHA_GATEWAYS}/wh-beta`, body: labelled });
    const after = await get(`${GATEWAYS}/wh-beta`);
    // Only the selector is another one, as the contract's defaulting of v1alpha1 wants: exactly the region's own label.
    const nodeSelector = { matchLabels: { 'raven.openyurt.io/gateway': 'wh-beta' } };
    expect(after['spec']).toEqual({ ...(before['spec'] as object), nodeSelector });
    expect(after.metadata).toMatchObject({ labels: { seen: 'yes' } });
    expect(after.metadata['annotations']).toBeUndefined();
  });

  it('let the controller write the status of an object that was written in the older version', async () => {
    const status = { nodes: [], activeEndpoints: [{ ...tunnel, nodeName: 'a1', port: 4500 }] };
    const body = { apiVersion: 'raven.openyurt.io/v1beta1', kind: 'Gateway', metadata: { name: 'wh-alpha' }, status };
    const query = { fieldManager: 'raven-controller', force: 'true' };
    await client.request({
      method: 'PATCH',
      path: `${GATEWAYS}/wh-alpha/status`,
      query,
      body,
      contentType: 'application/apply-patch+yaml',
    });
    expect((await get(`${GATEWAYS}/wh-alpha`))['status']).toEqual(status);
    expect((await get(`${ALPHA_GATEWAYS}/wh-alpha`))['status']).toMatchObject({ activeEndpoint: { nodeName: 'a1' } });
    const columns = await kubectl(server.adminKubeconfig, ['get', 'gateways.v1alpha1.raven.openyurt.io', 'wh-alpha']);
    expect(columns).toMatch(/ACTIVEENDPOINT[\s\S]*a1/);
  });

  it('refuse what breaks the contract, with all field paths, as kubectl prints them', async () => {
    const metadata = { name: 'wh-bad', annotations: { 'raven.openyurt.io/extra-allowed-source-cidrs': '192.0.2.0/24, 10.0.0.0/33' } };
    const bad = {
      apiVersion: 'raven.openyurt.io/v1alpha1',
      kind: 'Gateway',
      metadata,
      spec: { exposeType: 'LoadBalancer', endpoints: [{ nodeName: 'b1', publicIP: '192.0.2.1' }] },
    };
    const refused = await client.request({ method: 'POST', path: ALPHA_GATEWAYS, body: bad }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(KubeApiError);
    expect(refused).toMatchObject({ code: 422, reason: 'Invalid' });
    const printed = await kubectl(server.adminKubeconfig, ['create', '-f', '-'], JSON.stringify(bad)).catch(
      (error: Error) => error.message,
    );
    for (const path of ['spec.endpoints[0].publicIP: ', 'metadata.annotations[raven.openyurt.io/extra-allowed-source-cidrs]: '])
      expect(printed).toContain(path);
    expect(printed).toContain('The Gateway "wh-bad" is invalid');
    await expect(get(`${GATEWAYS}/wh-bad`)).rejects.toMatchObject({ code: 404 });
  });

  it('lose no request while certificate and CA are exchanged, and when the Secret is deleted', async () => {
    const codes = new Map<string, number>();
    let running = true;
    let sent = 0;
    const note = (word: string): void => void codes.set(word, (codes.get(word) ?? 0) + 1);
    /** Through conversion (no fallback) and validation (a refusal only the webhook can make). */
    async function load(): Promise<void> {
      while (running) {
        await get(`${ALPHA_GATEWAYS}/wh-beta`).then(
          () => note('converted'),
          (error: Error) => note(error.message),
        );
        const body = [{ op: 'add', path: '/metadata/annotations', value: { 'raven.openyurt.io/extra-allowed-source-cidrs': 'x' } }];
        const patch = { method: 'PATCH', path: `${GATEWAYS}/wh-beta`, body, contentType: 'application/json-patch+json' } as const;
        await client.request(patch).then(
          () => note('not validated'),
          (error: KubeApiError) => note(error.code === 422 ? 'refused' : error.message),
        );
        sent++;
      }
    }
    const start = await secretTexts();
    const workers = [load(), load()];
    const more = async (): Promise<void> => {
      const target = sent + 10;
      await vi.waitFor(() => expect(sent).toBeGreaterThan(target), PATIENCE);
    };
    await more();
    // The staged CA signs after an hour; then the old one goes.
    await checkUntil(async () => expect((await secretTexts())['ca.crt']).toBe(start['next-ca.crt']), DAY_MS / 24);
    await checkUntil(async () =>
      expect(served.map((each) => each.at(-1)?.certificate)).toEqual(Array(2).fill((await secretTexts())['tls.crt'])),
    );
    await more();
    await checkUntil(async () => expect(await bundles()).toEqual(Array(3).fill(`${start['next-ca.crt']}\n`)), DAY_MS / 24);
    await more();
    await client.request({ method: 'DELETE', path: SECRET_PATH });
    await checkUntil(async () => expect((await secretTexts())['ca.crt']).toBe(start['next-ca.crt']));
    const { 'next-ca.crt': forced } = await secretTexts();
    expect(forced).toContain('CERTIFICATE');
    await checkUntil(async () => expect((await secretTexts())['ca.crt']).toBe(forced), DAY_MS / 24);
    await more();
    running = false;
    await Promise.all(workers);
    expect([...codes.keys()].toSorted()).toEqual(['converted', 'refused']);
    expect(new Set(reviews.filter(({ path }) => path === '/convert').map(({ result }) => result))).toEqual(new Set(['ok']));
    process.stdout.write(
      `${sent} rounds during three changes of CA: ${[...codes].map(([word, count]) => `${count} ${word}`).join(', ')}\n`,
    );
  });

  it('leave Gateways editable when they are away, within the CEL rules', async () => {
    await webhooks.close();
    await kubectl(server.adminKubeconfig, ['label', 'gateway', 'wh-beta', 'site=b', '--overwrite']);
    const bad = { op: 'replace', path: '/spec/endpoints/0/type', value: 'relay' };
    const patch = { method: 'PATCH', path: `${GATEWAYS}/wh-beta`, body: [bad], contentType: 'application/json-patch+json' } as const;
    await expect(client.request(patch)).rejects.toMatchObject({ code: 422, message: expect.stringContaining('spec.endpoints[0].type') });
    await expect(get(`${ALPHA_GATEWAYS}/wh-beta`)).rejects.toThrow(/conversion webhook/);
    // `managedFields` of this one has an entry in v1alpha1.
    const status = { activeEndpoints: [{ ...tunnel, nodeName: 'a2' }] };
    const body = { apiVersion: 'raven.openyurt.io/v1beta1', kind: 'Gateway', metadata: { name: 'wh-alpha' }, status };
    const query = { fieldManager: 'raven-controller', force: 'true' };
    const apply = {
      method: 'PATCH',
      path: `${GATEWAYS}/wh-alpha/status`,
      query,
      body,
      contentType: 'application/apply-patch+yaml',
    } as const;
    await expect(client.request(apply)).rejects.toThrow(/conversion webhook/);
  });
});
