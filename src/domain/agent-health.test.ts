import { describe, expect, it } from 'vitest';
import { judgeLiveness, judgeReadiness, type LoopProgress } from './agent-health.ts';

const NOW = 1_000_000;
const working: LoopProgress = { isSynced: true, isApplied: true, tickSinceMs: undefined, lastTickMs: NOW - 10_000, obstacle: undefined };

describe('liveness', () => {
  it.each<[string, Partial<LoopProgress>, string | undefined]>([
    ['an agent that works', {}, undefined],
    ['one that waits for the API server', { isSynced: false, isApplied: false, lastTickMs: NOW - 3_600_000 }, undefined],
    ['one that fails at every tick', { isApplied: false, obstacle: 'charon' }, undefined],
    ['one whose tick takes long', { tickSinceMs: NOW - 60_000, lastTickMs: NOW - 70_000 }, undefined],
    ['one that hangs in a tick', { tickSinceMs: NOW - 121_000 }, 'the loop hangs for 121 s'],
    ['one that ticks no more', { lastTickMs: NOW - 61_000 }, 'the loop has not worked for 61 s'],
  ])('of %s', (_what, progress, expected) => {
    expect(judgeLiveness({ ...working, ...progress }, NOW)).toBe(expected);
  });
});

describe('readiness', () => {
  it.each<[string, Partial<LoopProgress>, string | undefined]>([
    ['is there once a plan was applied, whatever comes later', { isSynced: false, obstacle: 'no API' }, undefined],
    ['waits for the objects', { isSynced: false, isApplied: false }, 'waiting for the API server; this node has no copy of its objects'],
    ['waits for the first plan', { isApplied: false }, 'the first plan is not applied yet'],
    ['says what is in the way', { isApplied: false, obstacle: 'no charon' }, 'the first plan is not applied yet: no charon'],
  ])('%s', (_what, progress, expected) => {
    expect(judgeReadiness({ ...working, ...progress })).toBe(expected);
  });
});
