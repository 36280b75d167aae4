import { describe, expect, it } from 'vitest';
import { createTestClock } from '../../lib/test-clock.ts';
import { createCopyWriter } from './copy-writer.ts';

function site(size = 10) {
  const clock = createTestClock();
  const written: number[] = [];
  const warnings: object[] = [];
  const disk = { error: undefined as Error | undefined };
  const startMs = clock.now();
  const writer = createCopyWriter({
    path: '/mirror/Gateway.jsonl',
    render: () => 'x'.repeat(size),
    write: async () => {
      if (disk.error !== undefined) throw disk.error;
      written.push(clock.now() - startMs);
    },
    clock,
    log: { warn: (fields) => void warnings.push(fields) },
  });
  /** Time goes on in steps, and what a write set in motion comes to rest between them. */
  const pass = async (ms: number, each = (): void => undefined): Promise<void> => {
    for (let i = 0; i < ms / 100; i++) {
      each();
      clock.advance(100);
      for (let turn = 0; turn < 10; turn++) await Promise.resolve();
    }
  };
  return { writer, disk, written, warnings, pass };
}

describe('a writer of copies', () => {
  it('writes once for a burst, and at most once a second while changes go on', async () => {
    const { writer, written, pass } = site();
    for (let i = 0; i < 100; i++) writer.request();
    await pass(5_000);
    expect(written).toEqual([1_000]);
    await pass(10_000, () => writer.request());
    expect(written.length).toBeLessThanOrEqual(11);
    expect(written.length).toBeGreaterThanOrEqual(9);
  });

  it('writes a large copy so seldom that flash memory lives with it', async () => {
    const { writer, written, pass } = site(640 * 1024);
    await pass(25_000, () => writer.request());
    expect(written).toEqual([1_000, 11_000, 21_000]);
  });

  it('says once that the disk is full, tries again ever more rarely, and writes when there is room', async () => {
    const { writer, disk, written, warnings, pass } = site();
    disk.error = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    writer.request();
    await pass(120_000);
    expect(warnings).toEqual([{ path: '/mirror/Gateway.jsonl', error: 'ENOSPC: no space left on device, write' }]);
    expect(writer.savedMs()).toBeUndefined();
    disk.error = undefined;
    await pass(61_000);
    expect(written).toHaveLength(1);
    disk.error = new Error('again');
    writer.request();
    await pass(3_000);
    expect(warnings).toHaveLength(2);
  });

  it('writes what is left when it is closed, and nothing when nothing is', async () => {
    const { writer, written, pass } = site();
    writer.request();
    await writer.close();
    expect(written).toEqual([0]);
    writer.request();
    await pass(5_000);
    expect(written).toEqual([0]);
    const idle = site();
    await idle.writer.close();
    expect(idle.written).toEqual([]);
  });
});
