import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Gateway } from '../../api/gateway.ts';
import type { Kind } from '../../api/kinds.ts';
import { type Clock, systemClock } from '../../lib/clock.ts';
import { createTestClock } from '../../lib/test-clock.ts';
import type { ClusterStore, Watch } from '../cluster-store.ts';
import { gateway, record, storeConformance, tunnelEndpoint } from '../conformance.ts';
import { createMemoryStore } from '../memory.ts';
import { mirrorDir, removeMirror } from './copy-file.ts';
import { createMirrorStore, type MirrorStore } from './mirror-store.ts';

const PATIENCE = { timeout: 30_000, interval: 5 };
/** Long before a test's patience ends, and long enough for a memory store to be faster. */
const GRACE_MS = 300;

const dirs: string[] = [];
const stores: MirrorStore[] = [];
afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
  for (const dir of dirs.splice(0)) await rm(dir, { recursive: true, force: true });
});

async function newDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'raven-mirror-'));
  dirs.push(dir);
  return dir;
}

/** A cluster whose API answers watches only once `comeBack` was called. */
function away(cluster: ClusterStore): ClusterStore & { comeBack(): void } {
  const waiting: (() => void)[] = [];
  return {
    ...cluster,
    watch: (kind, onEvent) => {
      let inner: Watch | undefined;
      waiting.push(() => (inner = cluster.watch(kind, onEvent)));
      return { close: () => inner?.close() };
    },
    comeBack: () => {
      for (const begin of waiting.splice(0)) begin();
    },
  };
}

function mirror(store: ClusterStore, dir: string, clock: Clock = systemClock) {
  const lines: string[] = [];
  const note = (fields: object, message: string): void => void lines.push(`${message} ${JSON.stringify(fields)}`);
  const opened = createMirrorStore({
    store,
    dir: mirrorDir(dir),
    kinds: ['Gateway', 'TunnelEndpoint'],
    log: { info: note, warn: note },
    clock,
    graceMs: GRACE_MS,
  });
  stores.push(opened);
  return { store: opened, lines };
}

/** An agent's life with the API, of which a copy of both kinds stays. */
async function leaveCopy(dir: string, ...gateways: readonly Gateway[]): Promise<void> {
  const { store } = mirror(createMemoryStore([...gateways, tunnelEndpoint]), dir);
  for (const kind of ['Gateway', 'TunnelEndpoint'] as const) {
    const { words } = record(store, kind);
    await vi.waitFor(() => expect(words).toContain('synced'), PATIENCE);
  }
  await store.close();
}

const named = (name: string): Gateway => ({ ...gateway, metadata: { name } });

describe('a mirror', () => {
  describe('as any store', () => {
    storeConformance(async (objects) => {
      const dir = await newDir();
      const { store } = mirror(createMemoryStore(objects), dir);
      return { store, other: store, close: () => store.close() };
    });
  });

  it('delivers the copy while the API is away, then only what differs when it is back', async () => {
    const dir = await newDir();
    await leaveCopy(dir, named('cloud'), named('edge'), named('shop'));
    const cluster = createMemoryStore([named('cloud'), named('edge'), named('shop')]);
    const edge = await cluster.get('Gateway', 'edge');
    await cluster.updateStatus('Gateway', { ...edge!, status: { nodes: [], activeEndpoints: [] } });
    await cluster.remove('Gateway', 'shop');
    await cluster.apply('Gateway', named('car'));
    const api = away(cluster);
    const { store, lines } = mirror(api, dir);
    const { words } = record(store, 'Gateway');
    await vi.waitFor(() => expect(words).toEqual(['set cloud', 'set edge', 'set shop', 'synced']), PATIENCE);
    expect(store.mirrored()).toMatchObject([{ kind: 'Gateway', source: 'copy' }]);
    words.length = 0;
    api.comeBack();
    await vi.waitFor(() => expect(words).toEqual(['delete shop', 'set edge', 'set car']), PATIENCE);
    expect(store.mirrored()).toMatchObject([{ kind: 'Gateway', source: 'api' }]);
    expect(lines.map((line) => line.slice(0, 25))).toEqual(['the API server does not a', 'the API server has answer']);
    await cluster.remove('Gateway', 'cloud');
    await vi.waitFor(() => expect(words.at(-1)).toBe('delete cloud'), PATIENCE);
  });

  it('takes an empty answer for the truth', async () => {
    const dir = await newDir();
    await leaveCopy(dir, gateway);
    const api = away(createMemoryStore());
    const { store } = mirror(api, dir);
    const { words } = record(store, 'Gateway');
    await vi.waitFor(() => expect(words).toEqual(['set cloud', 'synced']), PATIENCE);
    api.comeBack();
    await vi.waitFor(() => expect(words).toEqual(['set cloud', 'synced', 'delete cloud']), PATIENCE);
  });

  it('does not touch the copy before the API has delivered everything', async () => {
    const dir = await newDir();
    await leaveCopy(dir, gateway);
    const path = join(mirrorDir(dir), 'Gateway.jsonl');
    const before = await readFile(path, 'utf8');
    // A list that breaks off after its first page.
    const broken: ClusterStore = {
      ...createMemoryStore(),
      watch: (_kind, onEvent) => {
        queueMicrotask(() => onEvent({ type: 'set', object: named('half') as never }));
        return { close: () => undefined };
      },
    };
    const { store } = mirror(broken, dir);
    const { words } = record(store, 'Gateway');
    await vi.waitFor(() => expect(words).toEqual(['set cloud', 'synced']), PATIENCE);
    await store.close();
    expect(await readFile(path, 'utf8')).toBe(before);
  });

  it('serves a watcher that comes later, and leaves the copy alone when the API is quick', async () => {
    const dir = await newDir();
    await leaveCopy(dir, named('old'));
    const { store, lines } = mirror(createMemoryStore([gateway]), dir);
    const first = record(store, 'Gateway');
    await vi.waitFor(() => expect(first.words).toEqual(['set cloud', 'synced']), PATIENCE);
    const second = record(store, 'Gateway');
    await vi.waitFor(() => expect(second.words).toEqual(['set cloud', 'synced']), PATIENCE);
    expect(lines).toEqual([]);
  });

  it.each<[string, (path: string) => Promise<void>]>([
    ['truncated', async (path) => truncate(path, (await stat(path)).size - 5)],
    ['empty', (path) => truncate(path, 0)],
    ['of another version', async (path) => writeFile(path, (await readFile(path, 'utf8')).replace('"version":1', '"version":99'))],
    ['garbage', (path) => writeFile(path, Buffer.from([0xff, 0x00, 0x80, 0x0a]))],
  ])('ignores a copy that is %s, says so, and makes it anew', async (_what, damage) => {
    const dir = await newDir();
    await leaveCopy(dir, gateway);
    const path = join(mirrorDir(dir), 'Gateway.jsonl');
    await damage(path);
    const api = away(createMemoryStore([named('edge')]));
    const { store, lines } = mirror(api, dir);
    const { words } = record(store, 'Gateway');
    await vi.waitFor(() => expect(lines).toEqual([expect.stringContaining(`cannot be used`)]), PATIENCE);
    expect(words).toEqual([]);
    api.comeBack();
    await vi.waitFor(() => expect(words).toEqual(['set edge', 'synced']), PATIENCE);
    await store.close();
    const again = mirror(away(createMemoryStore()), dir);
    const seen = record(again.store, 'Gateway');
    await vi.waitFor(() => expect(seen.words).toEqual(['set edge', 'synced']), PATIENCE);
  });

  it('waits for the API where there is no copy, without a word of complaint', async () => {
    const api = away(createMemoryStore([gateway]));
    const clock = createTestClock();
    const { store, lines } = mirror(api, await newDir(), clock);
    const { words } = record(store, 'Gateway');
    clock.advance(60_000);
    expect(words).toEqual([]);
    api.comeBack();
    await vi.waitFor(() => expect(words).toEqual(['set cloud', 'synced']), PATIENCE);
    expect(lines).toEqual([]);
  });

  it('writes for nobody but root to read, leaves no part of a file, and is removed as a whole', async () => {
    const dir = await newDir();
    await leaveCopy(dir, gateway);
    expect((await stat(mirrorDir(dir))).mode & 0o777).toBe(0o700);
    expect((await readdir(mirrorDir(dir))).toSorted()).toEqual(['Gateway.jsonl', 'TunnelEndpoint.jsonl']);
    expect((await stat(join(mirrorDir(dir), 'Gateway.jsonl'))).mode & 0o777).toBe(0o600);
    expect(await removeMirror(dir)).toBe(true);
    expect(await removeMirror(dir)).toBe(false);
    expect(await readdir(dir)).toEqual([]);
  });

  it('goes on without a copy where none can be written', async () => {
    const dir = await newDir();
    await writeFile(mirrorDir(dir), 'a file where the folder should be');
    const { store, lines } = mirror(createMemoryStore([gateway]), dir);
    const { words } = record(store, 'Gateway');
    await vi.waitFor(() => expect(words).toEqual(['set cloud', 'synced']), PATIENCE);
    await store.close();
    expect(lines).toEqual([expect.stringContaining('cannot be written')]);
  });

  it('passes kinds that are not mirrored on', async () => {
    const dir = await newDir();
    const { store } = mirror(createMemoryStore([]), dir);
    const kinds: Kind[] = ['Lease', 'Node'];
    for (const kind of kinds) {
      const { words } = record(store, kind);
      await vi.waitFor(() => expect(words).toEqual(['synced']), PATIENCE);
    }
    await store.close();
    await expect(readdir(mirrorDir(dir))).rejects.toThrow('ENOENT');
  });
});
