import { fc, test } from '@fast-check/vitest';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { createWebhookApp, type ReviewRecord } from './app.ts';
import type { AdmissionAnswer, ConversionAnswer } from './reviews.ts';

const records: ReviewRecord[] = [];
const app = createWebhookApp({ log: pino({ level: 'silent' }), onReview: (record) => void records.push(record) });

async function post(path: string, body: unknown): Promise<Response> {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return app.request(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: text });
}

function beta(spec: unknown, name = 'b'): Record<string, unknown> {
  return { apiVersion: 'raven.openyurt.io/v1beta1', kind: 'Gateway', metadata: { name }, spec };
}

async function admit(path: '/validate' | '/mutate', request: Record<string, unknown>): Promise<AdmissionAnswer['response']> {
  const review = { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', request: { uid: 'u1', operation: 'CREATE', ...request } };
  const answer = await post(path, review);
  expect(answer.status).toBe(200);
  const { response, ...rest } = (await answer.json()) as AdmissionAnswer;
  expect(rest).toEqual({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview' });
  expect(response.uid).toBe('u1');
  return response;
}

async function convert(desired: string, objects: readonly unknown[]): Promise<ConversionAnswer['response']> {
  const request = { uid: 'u2', desiredAPIVersion: `raven.openyurt.io/${desired}`, objects };
  const answer = await post('/convert', { apiVersion: 'apiextensions.k8s.io/v1', kind: 'ConversionReview', request });
  expect(answer.status).toBe(200);
  return ((await answer.json()) as ConversionAnswer).response;
}

const complete = {
  nodeSelector: { matchLabels: { 'raven.openyurt.io/gateway': 'b' } },
  endpoints: [{ nodeName: 'b1', type: 'tunnel', port: 4500 }],
};

describe('/validate', () => {
  it('allows what keeps the contract', async () => {
    expect(await admit('/validate', { object: beta(complete) })).toEqual({ uid: 'u1', allowed: true });
  });

  it('refuses with every violation and its field path', async () => {
    const endpoints = [{ nodeName: '', type: 'relay', publicIP: 'x', port: 70_000 }];
    const { allowed, status } = await admit('/validate', { object: beta({ exposeType: 'NodePort', endpoints }) });
    expect(allowed).toBe(false);
    expect(status).toMatchObject({ status: 'Failure', code: 422, reason: 'Invalid' });
    expect(status?.details).toMatchObject({ name: 'b', group: 'raven.openyurt.io', kind: 'Gateway' });
    expect(status?.details.causes.map(({ reason, field }) => `${reason} ${field}`)).toEqual(
      expect.arrayContaining([
        'FieldValueInvalid spec.exposeType',
        'FieldValueInvalid spec.endpoints[0].nodeName',
        'FieldValueInvalid spec.endpoints[0].type',
        'FieldValueInvalid spec.endpoints[0].publicIP',
        'FieldValueInvalid spec.endpoints[0].port',
      ]),
    );
    for (const { field, message } of status!.details.causes) expect(status!.message).toContain(`${field}: ${message}`);
  });

  it('says 400 for a kind that is not ours, and for another name than before', async () => {
    const node = await admit('/validate', { object: { apiVersion: 'v1', kind: 'Node', metadata: { name: 'b1' } } });
    expect(node).toMatchObject({ allowed: false, status: { code: 400, reason: 'BadRequest' } });
    const renamed = await admit('/validate', { operation: 'UPDATE', object: beta(complete), oldObject: beta(complete, 'a') });
    expect(renamed).toMatchObject({ allowed: false, status: { code: 400, details: { causes: [{ field: 'metadata.name' }] } } });
  });

  it('never stands in the way of a deletion', async () => {
    expect(await admit('/validate', { operation: 'DELETE', object: null, oldObject: beta('nonsense') })).toEqual({
      uid: 'u1',
      allowed: true,
    });
  });
});

describe('/mutate', () => {
  it('fills defaults by a JSON Patch', async () => {
    const { patchType, patch } = await admit('/mutate', { object: beta({ endpoints: [{ nodeName: 'b1', type: 'proxy' }] }) });
    expect(patchType).toBe('JSONPatch');
    expect(JSON.parse(Buffer.from(patch!, 'base64').toString())).toEqual([
      { op: 'add', path: '/spec/endpoints/0/port', value: 10262 },
      { op: 'add', path: '/spec/nodeSelector', value: { matchLabels: { 'raven.openyurt.io/gateway': 'b' } } },
    ]);
  });

  it('sends no patch when nothing is missing, nor for a deletion', async () => {
    expect(await admit('/mutate', { object: beta(complete) })).toEqual({ uid: 'u1', allowed: true });
    expect(await admit('/mutate', { operation: 'DELETE', object: null, oldObject: beta({}) })).toEqual({ uid: 'u1', allowed: true });
  });
});

describe('/convert', () => {
  it('converts all objects, in order', async () => {
    const { uid, result, convertedObjects } = await convert('v1alpha1', [beta(complete, 'x'), beta(complete, 'y')]);
    expect(uid).toBe('u2');
    expect(result).toEqual({ status: 'Success' });
    expect(convertedObjects).toMatchObject([
      { apiVersion: 'raven.openyurt.io/v1alpha1', metadata: { name: 'x' }, spec: { endpoints: [{ nodeName: 'b1' }] } },
      { apiVersion: 'raven.openyurt.io/v1alpha1', metadata: { name: 'y' } },
    ]);
    expect((await convert('v1beta1', convertedObjects)).convertedObjects).toEqual([beta(complete, 'x'), beta(complete, 'y')]);
  });

  it('says what it cannot convert, and converts nothing then', async () => {
    expect(await convert('v2', [beta(complete)])).toEqual({
      uid: 'u2',
      result: { status: 'Failure', message: 'raven.openyurt.io/v2 is not served' },
      convertedObjects: [],
    });
    expect(await convert('v1alpha1', [beta(complete), { kind: 'Node' }])).toMatchObject({
      result: { status: 'Failure' },
      convertedObjects: [],
    });
  });
});

describe('the webhooks', () => {
  it.each(['', 'no JSON', '[]', '{"kind":"AdmissionReview"}'])('answer 400 to %j, which is no review', async (body) => {
    for (const path of ['/validate', '/mutate', '/convert']) {
      const answer = await post(path, body);
      expect(answer.status).toBe(400);
      expect(await answer.json()).toMatchObject({ kind: 'Status', status: 'Failure', code: 400 });
    }
  });

  it('answer 413 to what no API server would send', async () => {
    expect((await post('/validate', 'x'.repeat(8 * 1024 * 1024))).status).toBe(413);
  });

  it('answer 404 elsewhere', async () => {
    expect((await app.request('/')).status).toBe(404);
    expect((await app.request('/validate')).status).toBe(404);
  });

  it('tell how each review ended', async () => {
    records.length = 0;
    await admit('/validate', { object: beta(complete) });
    await admit('/validate', { object: {} });
    await post('/convert', '{}');
    expect(records.map(({ path, result }) => `${path} ${result}`)).toEqual(['/validate ok', '/validate refused', '/convert malformed']);
  });

  const object = fc.oneof(
    fc.json().map((text) => JSON.parse(text) as unknown),
    fc
      .json()
      .map((text) => JSON.parse(text) as unknown)
      .map((spec) => beta(spec)),
  );
  test.prop([fc.constantFrom('/validate' as const, '/mutate' as const), object, object], { numRuns: 50 })(
    'have an answer to any object',
    async (path, given, oldObject) => {
      await admit(path, { operation: 'UPDATE', object: given, oldObject });
      await convert('v1alpha1', [given, oldObject]);
    },
  );
});
