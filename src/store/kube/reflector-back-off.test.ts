import { afterEach, describe, expect, it, vi } from 'vitest';
import { bookmark, errorLine, FORBIDDEN, GONE, list, PATIENCE, passTime, start, stopReflectors, synced } from './reflector-rig.ts';

afterEach(stopReflectors);

describe('the back-off of the reflector', () => {
  it('pauses longer and longer when the version of each new list is gone at once', async () => {
    const rig = start();
    await synced(rig);
    (await rig.client.nextWatch()).fail(GONE);
    await passTime(rig, 250);
    (await rig.client.nextRequest()).answer(list(90, { a1: 3, b1: 4 }));
    (await rig.client.nextWatch()).fail(GONE);
    const before = rig.clock.now();
    await passTime(rig, 50);
    expect(rig.clock.now() - before).toBeGreaterThanOrEqual(500);
  });

  it('begins with short pauses again once the API server has answered', async () => {
    const rig = start();
    await synced(rig);
    (await rig.client.nextWatch()).fail(new Error('refused'));
    await passTime(rig, 30_000);
    (await rig.client.nextWatch()).fail(new Error('refused'));
    await passTime(rig, 30_000);
    const watch = await rig.client.nextWatch();
    watch.send(bookmark(6));
    watch.fail(new Error('refused'));
    await vi.waitFor(() => expect(rig.failures).toEqual([250, 500, 250].map((ms) => `refused in ${ms} ms`)), PATIENCE);
  });

  it('begins with short pauses again after two minutes without a failure', async () => {
    const rig = start();
    await synced(rig);
    (await rig.client.nextWatch()).fail(new Error('refused'));
    await passTime(rig, 250);
    const quiet = await rig.client.nextWatch();
    rig.clock.advance(120_001);
    quiet.fail(new Error('cut'));
    await vi.waitFor(() => expect(rig.failures).toEqual(['refused in 250 ms', 'cut in 250 ms']), PATIENCE);
  });

  it('does not ask in a circle when something between ends each watch at once', async () => {
    const rig = start();
    await synced(rig);
    (await rig.client.nextWatch()).end();
    await vi.waitFor(() => expect(rig.failures).toEqual(['watch /api/v1/nodes: ended at once, without a line in 250 ms']), PATIENCE);
    await passTime(rig, 250);
    const quiet = await rig.client.nextWatch();
    rig.clock.advance(300_000);
    quiet.end();
    await rig.client.nextWatch();
    expect(rig.failures).toHaveLength(1);
  });

  it('goes on with its version after an error that says nothing of it', async () => {
    const rig = start();
    await synced(rig);
    (await rig.client.nextWatch()).send(errorLine(500, 'InternalError'));
    await passTime(rig, 250);
    await rig.client.nextWatch();
    expect(rig.client.asked.at(-1)).toBe('WATCH /api/v1/nodes from 5');
    expect(rig.failures).toEqual(['InternalError in 250 ms']);
  });

  it('tells who may not do what, and goes on once it may', async () => {
    const rig = start();
    (await rig.client.nextRequest()).fail(FORBIDDEN);
    await passTime(rig, 250);
    expect(rig.failures).toEqual([`${FORBIDDEN.message} in 250 ms`]);
    expect(rig.words).toEqual([]);
    expect(rig.reflector.isSynced()).toBe(false);
    await synced(rig);
  });
});
