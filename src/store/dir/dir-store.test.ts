import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe } from 'vitest';
import { stringify } from 'yaml';
import { storeConformance } from '../conformance.ts';
import { openDirStore } from './dir-store.ts';

describe('dir store', () =>
  storeConformance(async (objects) => {
    const dir = await mkdtemp(join(tmpdir(), 'raven-store-'));
    await writeFile(join(dir, 'objects.yaml'), objects.map((object) => stringify(object)).join('---\n'));
    const [store, other] = await Promise.all([openDirStore(dir), openDirStore(dir)]);
    return {
      store,
      other,
      close: async () => {
        await Promise.all([store.close(), other.close()]);
        await rm(dir, { recursive: true });
      },
    };
  }));
