import { describe, expect, it } from 'vitest';
import { createCoalescer } from './coalesce.ts';

function fail(error: unknown): never {
  throw error;
}

describe('a coalescer', () => {
  it('runs once more for any number of requests during a run, and never twice at a time', async () => {
    let running = 0;
    let runs = 0;
    const gate = Promise.withResolvers<void>();
    const coalescer = createCoalescer(async () => {
      expect(++running).toBe(1);
      runs++;
      await gate.promise;
      running--;
    }, fail);
    const first = coalescer.request();
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    const later = Array.from({ length: 100 }, () => coalescer.request());
    gate.resolve();
    await Promise.all([first, ...later]);
    expect(runs).toBe(2);
  });

  it('goes on after a failure and does nothing after stop', async () => {
    const errors: unknown[] = [];
    let runs = 0;
    const coalescer = createCoalescer(
      () => Promise.reject(new Error(`run ${++runs}`)),
      (error) => errors.push(error),
    );
    await coalescer.request();
    await coalescer.request();
    await coalescer.stop();
    await coalescer.request();
    expect(errors.map(String)).toEqual(['Error: run 1', 'Error: run 2']);
  });
});
