import { afterEach, describe, expect, it, vi } from 'vitest';
import { KubeApiError } from './kube-client.ts';
import {
  added,
  bookmark,
  deleted,
  errorLine,
  GONE,
  list,
  modified,
  PATIENCE,
  passTime,
  start,
  stopReflectors,
  synced,
} from './reflector-rig.ts';

afterEach(stopReflectors);

describe('the reflector', () => {
  it('lists page by page, and watches from the version of the list', async () => {
    const { client, words, contacts, reflector } = start();
    (await client.nextRequest()).answer(list(5, { a1: 1 }, 'page-2'));
    const second = await client.nextRequest();
    expect(reflector.isSynced()).toBe(false);
    second.answer(list(5, { b1: 2 }, 'page-3'));
    (await client.nextRequest()).answer(list(5, { c1: 3 }));
    await client.nextWatch();
    expect(client.asked).toEqual([
      'GET /api/v1/nodes?limit=500',
      'GET /api/v1/nodes?limit=500&continue=page-2',
      'GET /api/v1/nodes?limit=500&continue=page-3',
      'WATCH /api/v1/nodes from 5',
    ]);
    expect(words).toEqual(['set a1@1', 'set b1@2', 'set c1@3', 'synced']);
    expect(contacts).toHaveLength(3);
    expect(reflector.isSynced()).toBe(true);
  });

  it('lists in one piece when the first pages have expired before the last came', async () => {
    const { client, words, failures } = start();
    (await client.nextRequest()).answer(list(5, { a1: 1, gone: 1 }, 'page-2'));
    (await client.nextRequest()).fail(GONE);
    (await client.nextRequest()).answer(list(9, { a1: 1, b1: 8 }));
    await client.nextWatch();
    expect(client.asked.slice(2)).toEqual(['GET /api/v1/nodes', 'WATCH /api/v1/nodes from 9']);
    expect(words).toEqual(['set a1@1', 'set b1@8', 'synced']);
    expect(failures).toEqual([]);
  });

  it('asks for bookmarks, and for a watch of 5 to 10 minutes', async () => {
    const lives = [];
    for (const random of [0, 0.5, 0.999]) {
      const rig = start({ random: () => random });
      await synced(rig);
      const { request } = await rig.client.nextWatch();
      expect(request.query).toMatchObject({ watch: '1', allowWatchBookmarks: 'true', resourceVersion: '5' });
      lives.push(Number(request.query?.['timeoutSeconds']));
    }
    expect(lives).toEqual([300, 450, 600]);
  });

  it('delivers what changes, in order, and each version once', async () => {
    const rig = start();
    await synced(rig);
    const watch = await rig.client.nextWatch();
    watch.send(modified('a1', 6), added('c1', 7), deleted('b1', 8), modified('a1', 9), modified('a1', 9));
    await vi.waitFor(() => expect(rig.words).toEqual(['set a1@6', 'set c1@7', 'delete b1', 'set a1@9']), PATIENCE);
  });

  it('goes on from the last version when the server ends the watch, without a list and without a pause', async () => {
    const rig = start();
    await synced(rig);
    const watch = await rig.client.nextWatch();
    watch.send(modified('a1', 6));
    watch.end();
    (await rig.client.nextWatch()).send(modified('a1', 7));
    await vi.waitFor(() => expect(rig.words).toEqual(['set a1@6', 'set a1@7']), PATIENCE);
    expect(rig.client.asked.slice(1)).toEqual(['WATCH /api/v1/nodes from 5', 'WATCH /api/v1/nodes from 6']);
    expect(rig.failures).toEqual([]);
  });

  it('goes on from the last bookmark', async () => {
    const rig = start();
    await synced(rig);
    const watch = await rig.client.nextWatch();
    watch.send(bookmark(40));
    watch.end();
    await rig.client.nextWatch();
    expect(rig.client.asked.at(-1)).toBe('WATCH /api/v1/nodes from 40');
    expect(rig.words).toEqual([]);
  });

  it('goes on from the last version when the connection breaks, so that nothing is delivered again or older than before', async () => {
    const rig = start();
    await synced(rig);
    const watch = await rig.client.nextWatch();
    watch.send(modified('a1', 6), modified('a1', 7));
    watch.fail(new Error('socket hang up'));
    await vi.waitFor(() => expect(rig.failures).toEqual(['socket hang up in 250 ms']), PATIENCE);
    await passTime(rig, 250);
    await rig.client.nextWatch();
    expect(rig.client.asked.at(-1)).toBe('WATCH /api/v1/nodes from 7');
    expect(rig.words).toEqual(['set a1@6', 'set a1@7']);
  });

  it.each([
    ['an answer', (watch: { fail(error: Error): void }) => watch.fail(GONE)],
    ['a line of the watch', (watch: { send(line: unknown): void }) => watch.send(errorLine(410, 'Expired'))],
    ['a line of the watch that has a reason only', (watch: { send(line: unknown): void }) => watch.send(errorLine(0, 'Expired'))],
  ])('lists anew when its version is gone, told by %s, and delivers the difference only', async (_, tell) => {
    const rig = start();
    await synced(rig);
    tell(await rig.client.nextWatch());
    await passTime(rig, 250);
    (await rig.client.nextRequest()).answer(list(90, { a1: 3, c1: 80 }));
    await rig.client.nextWatch();
    expect(rig.words).toEqual(['set c1@80', 'delete b1']);
    expect(rig.client.asked.at(-1)).toBe('WATCH /api/v1/nodes from 90');
    expect(rig.failures).toEqual([]);
  });

  it.each([
    [0.5, [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000]],
    [0.1, [50, 100, 200, 400, 800, 1600, 3000, 3000]],
    [0, [0, 0, 0, 0, 0, 0, 0, 0]],
  ])('doubles its pause up to 30 s while the API server is away, with full jitter (%d), and keeps what it has', async (share, delaysMs) => {
    const rig = start({ random: () => share });
    await synced(rig);
    (await rig.client.nextWatch()).fail(new Error('refused'));
    for (let i = 1; i < delaysMs.length; i++) {
      await passTime(rig, 15_000);
      (await rig.client.nextWatch()).fail(new Error('refused'));
    }
    await vi.waitFor(() => expect(rig.failures).toEqual(delaysMs.map((ms) => `refused in ${ms} ms`)), PATIENCE);
    expect(rig.client.asked.filter((line) => line.startsWith('GET'))).toHaveLength(1);
    expect(rig.words).toEqual([]);
  });
});

describe('objects that are not valid', () => {
  const gateway = (version: number, endpoints: unknown): object => ({
    apiVersion: 'raven.openyurt.io/v1beta1',
    kind: 'Gateway',
    metadata: { name: 'edge', resourceVersion: String(version) },
    spec: { endpoints },
  });

  it('are named with their field, keep their last good form, and do not stop the others', async () => {
    const rig = start({ kind: 'Gateway' });
    (await rig.client.nextRequest()).answer({ metadata: { resourceVersion: '5' }, items: [gateway(5, [])] });
    const watch = await rig.client.nextWatch();
    watch.send({ type: 'MODIFIED', object: gateway(6, [{ nodeName: 'b1', type: 'tunnel', port: 'x' }]) });
    watch.send({ type: 'ADDED', object: { ...gateway(7, []), metadata: { name: 'cloud', resourceVersion: '7' } } });
    await vi.waitFor(() => expect(rig.words).toEqual(['set edge@5', 'synced', 'set cloud@7']), PATIENCE);
    expect(rig.problems).toEqual([['Gateway//edge spec.endpoints[0].port: expected number, received string']]);
    watch.send({ type: 'MODIFIED', object: gateway(8, []) });
    await vi.waitFor(() => expect(rig.words.at(-1)).toBe('set edge@8'), PATIENCE);
    expect(rig.problems.at(-1)).toEqual([]);
  });

  it('are no problem any more when they are deleted, also while nobody looks', async () => {
    const rig = start({ kind: 'Gateway' });
    (await rig.client.nextRequest()).answer({ metadata: { resourceVersion: '5' }, items: [gateway(5, 'none')] });
    const watch = await rig.client.nextWatch();
    expect(rig.reflector.problems()).toHaveLength(1);
    watch.fail(GONE);
    await passTime(rig, 250);
    (await rig.client.nextRequest()).answer({ metadata: { resourceVersion: '9' }, items: [] });
    await rig.client.nextWatch();
    expect(rig.reflector.problems()).toEqual([]);
    expect(rig.words).toEqual(['synced']);
  });
});

describe('a kind that is not served', () => {
  const NOT_FOUND = new KubeApiError(404, 'NotFound', 'the server could not find the requested resource');

  it('is empty at once, and looked at again each half minute', async () => {
    const rig = start({ kind: 'BlockAffinity' });
    (await rig.client.nextRequest()).fail(NOT_FOUND);
    await vi.waitFor(() => expect(rig.words).toEqual(['synced']), PATIENCE);
    const before = rig.clock.now();
    await passTime(rig, 1_000);
    expect(rig.clock.now() - before).toBeGreaterThanOrEqual(30_000);
    (await rig.client.nextRequest()).answer({
      metadata: { resourceVersion: '5' },
      items: [
        {
          apiVersion: 'crd.projectcalico.org/v1',
          kind: 'BlockAffinity',
          metadata: { name: 'a1-10-1-1-0-26', resourceVersion: '4' },
          spec: { cidr: '10.1.1.0/26', node: 'a1', state: 'confirmed' },
        },
      ],
    });
    await vi.waitFor(() => expect(rig.words).toEqual(['synced', 'set a1-10-1-1-0-26@4']), PATIENCE);
    expect(rig.failures).toEqual([]);
  });

  it('keeps its objects over a moment of such answers', async () => {
    const rig = start();
    await synced(rig);
    (await rig.client.nextWatch()).fail(NOT_FOUND);
    await passTime(rig, 250);
    (await rig.client.nextRequest()).fail(NOT_FOUND);
    await passTime(rig, 500);
    (await rig.client.nextRequest()).answer(list(9, { a1: 3, b1: 4 }));
    await rig.client.nextWatch();
    expect(rig.words).toEqual([]);
    expect(rig.failures).toHaveLength(2);
  });

  it('loses them after half a minute: the kind was uninstalled', async () => {
    const rig = start();
    await synced(rig);
    (await rig.client.nextWatch()).fail(NOT_FOUND);
    for (let i = 0; i < 100 && rig.words.length === 0; i++) {
      await passTime(rig, 5_000);
      (await rig.client.nextRequest()).fail(NOT_FOUND);
      await vi.waitFor(() => expect(rig.failures.length + rig.words.length).toBeGreaterThan(i), PATIENCE);
    }
    expect(rig.words).toEqual(['delete a1', 'delete b1']);
    expect(rig.reflector.isSynced()).toBe(true);
  });
});

describe('a reflector that was stopped', () => {
  it('asks and delivers no more', async () => {
    const rig = start();
    await synced(rig);
    const watch = await rig.client.nextWatch();
    rig.reflector.stop();
    watch.send(modified('a1', 6));
    rig.clock.advance(600_000);
    await new Promise((resolve) => setImmediate(resolve));
    expect(rig.client.asked).toHaveLength(2);
    expect(rig.words).toEqual([]);
  });
});
