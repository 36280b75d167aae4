import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { awaitDrained, markDraining, unmarkDraining } from './drain-marker.ts';

describe('the marker of a draining agent', () => {
  let dir = '';
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'raven-drain-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  it('holds charon until it is taken away, also when it comes a moment later', async () => {
    let isDone = false;
    const waiting = awaitDrained(dir, 60_000).then(() => (isDone = true));
    await markDraining(dir);
    await expect.poll(() => isDone, { timeout: 300 }).toBe(false);
    await unmarkDraining(dir);
    await waiting;
    expect(isDone).toBe(true);
  });

  it('does not hold it for ever, nor where no agent drains', async () => {
    await markDraining(dir);
    await awaitDrained(dir, 100);
    await unmarkDraining(dir);
    await awaitDrained(dir, 100);
  });
});
