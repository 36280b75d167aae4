import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UserError } from '../lib/errors.ts';
import { testGateway, testNode } from '../domain/test-objects.ts';
import { openStore } from '../store/open-store.ts';
import { runController } from './run.ts';

describe('runController', () => {
  let dir = '';
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'raven-controller-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));
  const once = (overrides: object = {}) => runController({ store: `dir:${dir}`, once: true, logLevel: 'info', ...overrides }, {});

  it('writes every status once, beside manifests that stay as they are', async () => {
    const manifest = [testNode('b1', { region: 'b', podCIDR: '10.1.0.0/24' }), testGateway('b', { endpoints: ['b1'] })]
      .map((each) => JSON.stringify(each))
      .join('\n---\n');
    await writeFile(join(dir, 'b.yaml'), manifest);
    await once();
    await once();
    const store = await openStore(`dir:${dir}`);
    const gateway = await store.get('Gateway', 'b');
    const events = await store.list('Event');
    await store.close();
    expect(gateway?.status?.activeEndpoints).toMatchObject([{ nodeName: 'b1', type: 'tunnel' }]);
    expect(events.map(({ reason, count }) => `${reason} ${count ?? 0}`)).toEqual(['ActiveEndpointElected 1']);
  });

  it('names a broken manifest with its line, and writes nothing', async () => {
    await writeFile(join(dir, 'good.yaml'), JSON.stringify(testGateway('b')));
    await writeFile(
      join(dir, 'bad.yaml'),
      'kind: Gateway\napiVersion: raven.openyurt.io/v1beta1\nmetadata: {name: c}\nspec: {endpoints: 3}\n',
    );
    await expect(once()).rejects.toThrow(/bad\.yaml:4: spec\.endpoints/);
    expect(await readdir(dir)).toEqual(['bad.yaml', 'good.yaml']);
  });

  it.each([
    [{ logLevel: 'loud' }, /^--log-level: /],
    [{ store: 'etcd:x' }, /^--store: /],
  ])('refuses %o', async (overrides, message) => {
    const error = await once(overrides).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(UserError);
    expect((error as UserError).message).toMatch(message);
  });
});
