import { describe, expect, it } from 'vitest';
import { createTestClock } from '../lib/test-clock.ts';
import { createNameResolver } from './name-resolver.ts';

function setUp(answers: Record<string, readonly string[] | undefined>) {
  const clock = createTestClock();
  const asked: string[] = [];
  const lookup = async (name: string): Promise<readonly string[]> => {
    asked.push(name);
    const found = answers[name];
    if (found === undefined) throw new Error('ENOTFOUND');
    return found;
  };
  const warnings: string[] = [];
  const resolver = createNameResolver({
    lookup,
    clock,
    log: { warn: (_: unknown, message: string) => void warnings.push(message) } as never,
  });
  let changes = 0;
  resolver.onChange(() => changes++);
  const pass = async (ms: number): Promise<void> => {
    clock.advance(ms);
    for (let i = 0; i < 5; i++) await new Promise(setImmediate);
  };
  return { answers, asked, resolver, warnings, pass, changes: () => changes };
}

describe('the name resolver', () => {
  it('tells of new addresses, and not of the same ones in another order', async () => {
    const { answers, resolver, pass, changes } = setUp({ lb: ['203.0.113.9', '203.0.113.10'] });
    expect(resolver.follow(['lb']).get('lb')).toBeUndefined();
    await pass(0);
    expect([resolver.follow(['lb']).get('lb'), changes()]).toEqual([['203.0.113.10', '203.0.113.9'], 1]);
    answers['lb'] = ['203.0.113.10', '203.0.113.9'];
    await pass(5_000);
    expect(changes()).toBe(1);
    answers['lb'] = ['198.51.100.4'];
    await pass(5_000);
    expect([resolver.follow(['lb']).get('lb'), changes()]).toEqual([['198.51.100.4'], 2]);
  });

  it('keeps what it knows while the name cannot be resolved, and says so once', async () => {
    const { answers, resolver, warnings, pass } = setUp({ lb: ['203.0.113.9'] });
    resolver.follow(['lb']);
    await pass(0);
    answers['lb'] = undefined;
    for (let i = 0; i < 3; i++) await pass(5_000);
    expect(resolver.follow(['lb']).get('lb')).toEqual(['203.0.113.9']);
    expect(warnings).toHaveLength(1);
  });

  it('asks for nothing that nobody follows', async () => {
    const { asked, resolver, pass } = setUp({ lb: ['203.0.113.9'] });
    resolver.follow(['lb']);
    await pass(0);
    resolver.follow([]);
    for (let i = 0; i < 5; i++) await pass(5_000);
    expect(asked.length).toBeLessThanOrEqual(2);
    resolver.stop();
  });
});
