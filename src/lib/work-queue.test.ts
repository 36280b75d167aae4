import { describe, expect, it } from 'vitest';
import type { Clock } from './clock.ts';
import { createWorkQueue } from './work-queue.ts';

/** A clock whose timers run when the test says so. */
function manualClock(): Clock & { readonly delays: number[]; fire(): void } {
  let timers: (() => void)[] = [];
  const delays: number[] = [];
  return {
    now: () => 0,
    delays,
    after: (delayMs, callback) => {
      delays.push(delayMs);
      timers.push(callback);
      return () => (timers = timers.filter((each) => each !== callback));
    },
    fire: () => {
      const due = timers;
      timers = [];
      for (const each of due) each();
    },
  };
}

/** Work that ends when the test says so. */
function gatedWork() {
  const runs: string[] = [];
  const gates: { key: string; open: () => void }[] = [];
  return {
    runs,
    work: (key: string) => {
      runs.push(key);
      return new Promise<void>((open) => gates.push({ key, open }));
    },
    finish: async () => {
      for (const { open } of gates.splice(0)) open();
      await new Promise(setImmediate);
    },
  };
}

const never = (): void => expect.unreachable();

describe('createWorkQueue', () => {
  it('runs a key once more however often it was asked for during its run', async () => {
    const { runs, work, finish } = gatedWork();
    const queue = createWorkQueue({ work, onError: never });
    for (let i = 0; i < 100; i++) queue.add('a');
    expect(runs).toEqual(['a']);
    await finish();
    expect(runs).toEqual(['a', 'a']);
    await finish();
    await queue.idle();
    expect(runs).toEqual(['a', 'a']);
  });

  it('runs different keys side by side up to its concurrency, in the order of request', async () => {
    const { runs, work, finish } = gatedWork();
    const queue = createWorkQueue({ work, onError: never, concurrency: 2 });
    for (const key of ['c', 'a', 'b', 'a']) queue.add(key);
    expect(runs).toEqual(['c', 'a']);
    await finish();
    expect(runs).toEqual(['c', 'a', 'b', 'a']);
    await finish();
    await queue.idle();
  });

  it('backs off from a failing key alone, ever longer, and forgets it after a success', async () => {
    const clock = manualClock();
    let broken = true;
    const runs: string[] = [];
    const work = (key: string): Promise<void> => {
      runs.push(key);
      return key === 'bad' && broken ? Promise.reject(new Error('no')) : Promise.resolve();
    };
    const queue = createWorkQueue({ work, onError: () => undefined, clock, firstDelayMs: 10, maxDelayMs: 35 });
    queue.add('bad');
    queue.add('good');
    for (let i = 0; i < 3; i++) {
      await new Promise(setImmediate);
      clock.fire();
    }
    await new Promise(setImmediate);
    expect(clock.delays).toEqual([10, 20, 35, 35]);
    expect(runs.filter((key) => key === 'good')).toHaveLength(1);
    broken = false;
    clock.fire();
    await queue.idle();
    broken = true;
    queue.add('bad');
    await new Promise(setImmediate);
    expect(clock.delays.at(-1)).toBe(10);
    await queue.stop();
  });

  it('runs a key in back-off at once when it is asked for again', async () => {
    const clock = manualClock();
    let runs = 0;
    const queue = createWorkQueue({
      work: () => (runs++ === 0 ? Promise.reject(new Error('no')) : Promise.resolve()),
      onError: () => undefined,
      clock,
    });
    queue.add('a');
    await new Promise(setImmediate);
    queue.add('a');
    await queue.idle();
    clock.fire();
    await queue.idle();
    expect(runs).toBe(2);
  });

  it('waits for the run in progress when stopped, and starts nothing more', async () => {
    const { runs, work, finish } = gatedWork();
    const queue = createWorkQueue({ work, onError: never });
    for (const key of ['a', 'a', 'b']) queue.add(key);
    const stopped = queue.stop();
    await finish();
    await stopped;
    queue.add('c');
    expect(runs).toEqual(['a']);
  });
});
