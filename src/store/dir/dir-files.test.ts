import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rename, rm, stat, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { stringify } from 'yaml';
import { formatProblem } from '../../lib/errors.ts';
import type { ClusterStore } from '../cluster-store.ts';
import { gateway, lease, node, PATIENCE, record, tunnelEndpoint } from '../conformance.ts';
import { openStore } from '../open-store.ts';
import { openDirStore } from './dir-store.ts';
import { stateFolder } from './layout.ts';
import { readManifests } from './read-manifests.ts';

const run = promisify(execFile);
const named = (name: string, nodeName = 'a1') =>
  stringify({ ...gateway, metadata: { name }, spec: { endpoints: [{ nodeName, type: 'tunnel' }] } });
const active = { nodes: [], activeEndpoints: gateway.spec.endpoints };

let dir: string;
const open: ClusterStore[] = [];
async function opened(): Promise<ClusterStore> {
  const store = await openDirStore(dir);
  open.push(store);
  return store;
}
const put = (file: string, text: string | Uint8Array) => writeFile(join(dir, file), text);
const names = async (store: ClusterStore) => (await store.list('Gateway')).map(({ metadata }) => metadata.name);
const problems = (store: ClusterStore) =>
  store.problems().map((problem) => formatProblem({ ...problem, source: relative(dir, problem.source ?? '') }));
async function setStatus(store: ClusterStore, name = 'cloud') {
  return store.updateStatus('Gateway', { ...(await store.get('Gateway', name))!, status: active });
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'raven-dir-'));
});
afterEach(async () => {
  for (const store of open.splice(0)) await store.close();
  await rm(dir, { recursive: true });
});

describe('what a person wrote', () => {
  it('is found in all manifests below the directory, in several documents and lists; hidden files are not', async () => {
    await mkdir(join(dir, 'shops/north'), { recursive: true });
    await mkdir(join(dir, '.git'));
    await put('a.yaml', `${named('a')}---\n${named('b')}`);
    await put('shops/c.yml', `${named('c')}---\nkind: Deployment\napiVersion: apps/v1\n`);
    await put('shops/north/d.json', JSON.stringify({ kind: 'List', apiVersion: 'v1', items: [{ ...gateway, metadata: { name: 'd' } }] }));
    for (const file of ['.git/e.yaml', '.f.yaml', 'g.txt', 'h.yaml~']) await put(file, named('no'));
    const store = await opened();
    expect(await names(store)).toEqual(['a', 'b', 'c', 'd']);
    expect(store.problems()).toEqual([]);
  });

  it('is never written to: the status goes to one file for each object, with identity and nothing else', async () => {
    const text = `# mine\n${named('cloud')}---\n${named('edge')}`;
    await put('gateways.yaml', text);
    const before = await stat(join(dir, 'gateways.yaml'), { bigint: true });
    const written = await setStatus(await opened());
    const after = await stat(join(dir, 'gateways.yaml'), { bigint: true });
    expect([after.ino, after.mtimeNs]).toEqual([before.ino, before.mtimeNs]);
    expect(await readFile(join(dir, 'gateways.yaml'), 'utf8')).toBe(text);
    const state = await readFile(join(stateFolder(dir), 'Gateway/cloud.1.yaml'), 'utf8');
    const { uid, creationTimestamp } = written.metadata;
    expect(JSON.parse(state.replaceAll(/^#.*$/gm, ''))).toEqual({
      apiVersion: gateway.apiVersion,
      kind: 'Gateway',
      metadata: { name: 'cloud', uid, creationTimestamp },
      status: active,
    });
  });

  it('keeps uid and creation time from the first status on, and its own where it has them', async () => {
    await put('x.yaml', `${named('cloud')}---\n${stringify(node)}`);
    const store = await opened();
    const first = await setStatus(store);
    const second = await store.updateStatus('Gateway', { ...first, status: { nodes: [], activeEndpoints: [] } });
    expect(second.metadata).toMatchObject({ uid: first.metadata.uid, creationTimestamp: first.metadata.creationTimestamp });
    const updated = await store.updateStatus('Node', { ...(await store.get('Node', 'a1'))!, status: { conditions: [] } });
    expect(updated.metadata.creationTimestamp).toBe(node.metadata.creationTimestamp);
  });

  it('has its status overlaid by what Raven says, and its spec not', async () => {
    await put('x.yaml', stringify({ ...gateway, status: { nodes: [{ nodeName: 'x', privateIP: '', subnets: [] }] } }));
    const store = await opened();
    expect((await store.get('Gateway', 'cloud'))?.status?.nodes).toHaveLength(1);
    await setStatus(store);
    await put('x.yaml', stringify({ ...gateway, spec: { ...gateway.spec, exposeType: 'PublicIP' } }));
    const merged = await (await opened()).get('Gateway', 'cloud');
    expect(merged?.status?.nodes).toEqual([]);
    expect(merged?.status?.activeEndpoints).toHaveLength(1);
    expect(merged?.spec.exposeType).toBe('PublicIP');
  });

  it('gets a new resourceVersion by an edit, so that a status for what stood there before is refused', async () => {
    await put('x.yaml', named('cloud'));
    const store = await opened();
    const read = (await store.get('Gateway', 'cloud'))!;
    await put('x.yaml', named('cloud', 'a2'));
    await expect(store.updateStatus('Gateway', { ...read, status: active })).rejects.toThrow('Gateway cloud changed');
  });

  it('cannot be applied to or removed, with its place in the message', async () => {
    await put('x.yaml', `\n${named('cloud')}`);
    const store = await opened();
    const read = (await store.get('Gateway', 'cloud'))!;
    await expect(store.apply('Gateway', { ...read, spec: { endpoints: [] } })).rejects.toThrow(/x\.yaml:2: Gateway cloud is a person's/);
    await expect(store.remove('Gateway', 'cloud')).rejects.toThrow(/x\.yaml:2: Gateway cloud is a person's/);
  });

  it("wins over an object of the same name that is Raven's own, and both are named", async () => {
    const store = await opened();
    await store.apply('TunnelEndpoint', tunnelEndpoint);
    await put('x.yaml', stringify({ ...tunnelEndpoint, spec: { ...tunnelEndpoint.spec, port: 1 } }));
    expect((await store.get('TunnelEndpoint', 'a1'))?.spec.port).toBe(1);
    expect(problems(store)).toEqual([
      expect.stringMatching(/^raven-state\/TunnelEndpoint\/a1\.1\.yaml: TunnelEndpoint a1 is in .*x\.yaml:1 too/),
    ]);
    await unlink(join(dir, 'x.yaml'));
    expect((await store.get('TunnelEndpoint', 'a1'))?.spec.port).toBe(4500);
    expect(store.problems()).toEqual([]);
  });

  it('takes what Raven added along when it goes', async () => {
    await put('x.yaml', named('cloud'));
    const store = await opened();
    const { words } = record(store, 'Gateway');
    await vi.waitFor(() => expect(words).toEqual(['set cloud', 'synced']), PATIENCE);
    const first = await setStatus(store);
    await unlink(join(dir, 'x.yaml'));
    await vi.waitFor(() => expect(words.at(-1)).toBe('delete cloud'), PATIENCE);
    await put('x.yaml', named('cloud'));
    await vi.waitFor(() => expect(words.at(-1)).toBe('set cloud'), PATIENCE);
    const again = (await (await opened()).get('Gateway', 'cloud'))!;
    expect(again.status).toBeUndefined();
    await expect(store.updateStatus('Gateway', { ...first, status: active })).rejects.toThrow('changed');
  });
});

describe('broken files', () => {
  it('are named with line and path at the start, and the others load', async () => {
    await put('a.yaml', named('a'));
    await put('b.yaml', `${named('b')}  {\n`);
    await put('c.yaml', named('c').replace('spec:', 'spec:\n  exposeType: Everything'));
    await put('d.yaml', new Uint8Array([0, 1, 0xff, 0xfe, 0x80]));
    await put('e.yaml', '');
    await put('f.json', '{"kind":');
    await mkdir(join(dir, 'loop'));
    await symlink('.', join(dir, 'loop/again'));
    await symlink('h.yaml', join(dir, 'h.yaml'));
    await symlink('/nowhere', join(dir, 'i.yaml'));
    await mkdir(join(dir, 'j.yaml'));
    await run('mkfifo', [join(dir, 'k.yaml')]);
    const store = await opened();
    expect(await names(store)).toEqual(['a']);
    expect(problems(store)).toEqual([
      expect.stringMatching(/^b\.yaml:\d+: is no YAML: /),
      'c.yaml:6: spec.exposeType: must be empty, PublicIP or LoadBalancer, not "Everything"',
      'd.yaml: is no text in UTF-8',
      expect.stringMatching(/^f\.json:1: is no JSON: /),
      expect.stringMatching(/^h\.yaml: cannot be read: ELOOP/),
    ]);
    expect((await readManifests(dir)).problems).toEqual(store.problems());
  });

  it('keep their last good objects, and are no problem any more once they are good', async () => {
    await put('x.yaml', `${named('a')}---\n${named('b')}`);
    const store = await opened();
    const { words } = record(store, 'Gateway');
    const told: number[] = [];
    store.onProblems((list) => told.push(list.length));
    await vi.waitFor(() => expect(words).toContain('synced'), PATIENCE);
    await put('x.yaml', `${named('a')}---\n${named('b').slice(0, -3)}\n  {`);
    await vi.waitFor(() => expect(problems(store)).toEqual([expect.stringMatching(/^x\.yaml:\d+: /)]), PATIENCE);
    expect(await names(store)).toEqual(['a', 'b']);
    // One bad object does not hold up the others of its file.
    await put('x.yaml', `${named('a', 'a2')}---\n${named('b').replace('tunnel', 'vpn')}`);
    await vi.waitFor(
      () => expect(problems(store)).toEqual(['x.yaml:17: spec.endpoints[0].type: must be tunnel or proxy, not "vpn"']),
      PATIENCE,
    );
    const [a, b] = await store.list('Gateway');
    expect([a?.spec.endpoints[0]?.nodeName, b?.spec.endpoints[0]?.type]).toEqual(['a2', 'tunnel']);
    await put('x.yaml', named('b'));
    await vi.waitFor(() => expect(words.at(-1)).toBe('delete a'), PATIENCE);
    expect(store.problems()).toEqual([]);
    expect(told.at(-1)).toBe(0);
    expect(words).toEqual(['set a', 'set b', 'synced', 'set a', 'delete a']);
  });

  it('do not lose objects while they are being written, only when they stay empty', async () => {
    await put('x.yaml', named('a'));
    const store = await opened();
    const { words } = record(store, 'Gateway');
    await vi.waitFor(() => expect(words).toContain('synced'), PATIENCE);
    await put('x.yaml', '');
    await put('x.yaml', named('a', 'a2'));
    await vi.waitFor(() => expect(words.length).toBeGreaterThan(2), PATIENCE);
    expect(words).toEqual(['set a', 'synced', 'set a']);
    await put('x.yaml', '');
    await vi.waitFor(() => expect(words.at(-1)).toBe('delete a'), PATIENCE);
    expect(store.problems()).toEqual([]);
  });

  it('with an object that another has already: the first by path wins, and both are named', async () => {
    await put('b.yaml', named('cloud', 'second'));
    await put('a.yaml', `${named('cloud', 'first')}---\n${named('cloud', 'third')}`);
    const store = await opened();
    expect((await store.list('Gateway')).map(({ spec }) => spec.endpoints[0]?.nodeName)).toEqual(['first']);
    expect(problems(store).map((text) => text.replaceAll(`${dir}/`, ''))).toEqual([
      'a.yaml:10: Gateway cloud is in a.yaml:1 already: this one is not used',
      'b.yaml:1: Gateway cloud is in a.yaml:1 already: this one is not used',
    ]);
    await unlink(join(dir, 'a.yaml'));
    expect((await store.get('Gateway', 'cloud'))?.spec.endpoints[0]?.nodeName).toBe('second');
    expect(store.problems()).toEqual([]);
  });
});

describe('changes', () => {
  it('are seen soon: files that come, are replaced, move, and go; in new directories too', async () => {
    await put('x.yaml', named('a'));
    const store = await opened();
    const { words } = record(store, 'Gateway');
    await vi.waitFor(() => expect(words).toEqual(['set a', 'synced']), PATIENCE);
    await mkdir(join(dir, 'deep/er'), { recursive: true });
    await put('deep/er/b.yaml', named('b'));
    await vi.waitFor(() => expect(words.at(-1)).toBe('set b'), PATIENCE);
    await writeFile(join(dir, '.new'), named('a', 'a9'));
    await rename(join(dir, '.new'), join(dir, 'x.yaml'));
    await vi.waitFor(() => expect(words.at(-1)).toBe('set a'), PATIENCE);
    await rename(join(dir, 'deep'), join(dir, 'moved'));
    await rename(join(dir, 'x.yaml'), join(dir, 'moved/x.yaml'));
    await put('moved/er/c.yaml', named('c'));
    await vi.waitFor(() => expect(words).toContain('set c'), PATIENCE);
    expect(await names(store)).toEqual(['a', 'b', 'c']);
    await rm(join(dir, 'moved'), { recursive: true });
    await vi.waitFor(async () => expect(await names(store)).toEqual([]), PATIENCE);
  });

  it('of other processes arrive within 100 ms, also when the state folder is made anew', async () => {
    await put('x.yaml', named('cloud'));
    const [store, other] = [await opened(), await opened()];
    const { words } = record(store, 'TunnelEndpoint');
    await vi.waitFor(() => expect(words).toEqual(['synced']), PATIENCE);
    const delays: number[] = [];
    for (let round = 1; round <= 5; round++) {
      await other.remove('TunnelEndpoint', 'a1');
      await vi.waitFor(() => expect(words.at(-1)).not.toBe('set a1'), PATIENCE);
      await other.apply('TunnelEndpoint', tunnelEndpoint);
      const since = performance.now();
      await vi.waitFor(() => expect(words.at(-1)).toBe('set a1'), { timeout: 20_000, interval: 2 });
      delays.push(performance.now() - since);
    }
    // The best of five: the machine may be busy with other things.
    expect(Math.min(...delays)).toBeLessThan(100);
    await rm(stateFolder(dir), { recursive: true });
    await vi.waitFor(() => expect(words.at(-1)).toBe('delete a1'), PATIENCE);
    await other.apply('TunnelEndpoint', tunnelEndpoint);
    await vi.waitFor(() => expect(words.at(-1)).toBe('set a1'), PATIENCE);
  });

  it('are found by looking at everything now and then where inotify says nothing', async () => {
    const elsewhere = await mkdtemp(join(tmpdir(), 'raven-elsewhere-'));
    await writeFile(join(elsewhere, 'x.yaml'), named('a'));
    await symlink(join(elsewhere, 'x.yaml'), join(dir, 'x.yaml'));
    const store = await openDirStore(dir, { rescanMs: 50 });
    open.push(store);
    const { words } = record(store, 'Gateway');
    await vi.waitFor(() => expect(words).toEqual(['set a', 'synced']), PATIENCE);
    await writeFile(join(elsewhere, 'x.yaml'), named('b'));
    await vi.waitFor(() => expect(words).toContain('delete a'), PATIENCE);
    expect(words).toContain('set b');
    await rm(elsewhere, { recursive: true });
  });

  it('do not come from the whole directory going: what was in it stays, a write fails, and does not make it anew', async () => {
    await put('x.yaml', named('cloud'));
    const store = await openDirStore(dir, { rescanMs: 30 });
    open.push(store);
    const created = await store.apply('TunnelEndpoint', tunnelEndpoint);
    const { words } = record(store, 'Gateway');
    await vi.waitFor(() => expect(words).toEqual(['set cloud', 'synced']), PATIENCE);
    await rename(dir, `${dir}.away`);
    await vi.waitFor(() => expect(problems(store)).toEqual([': is gone; what was in it last still counts']), PATIENCE);
    expect(await names(store)).toEqual(['cloud']);
    await expect(store.updateStatus('TunnelEndpoint', { ...created, status: { links: [], conditions: [] } })).rejects.toThrow(
      /cannot write .*ENOENT/,
    );
    await rename(`${dir}.away`, dir);
    await vi.waitFor(() => expect(store.problems()).toEqual([]), PATIENCE);
    await put('x.yaml', named('edge'));
    await vi.waitFor(() => expect(words.slice(2).toSorted()).toEqual(['delete cloud', 'set edge']), PATIENCE);
  });

  it('that change nothing write nothing', async () => {
    await put('x.yaml', named('cloud'));
    const store = await opened();
    const first = await setStatus(store);
    const created = await store.apply('Lease', lease);
    const files = ['Gateway/cloud.1.yaml', 'Lease/kube-node-lease.a1.1.yaml'].map((file) => join(stateFolder(dir), file));
    const look = () =>
      Promise.all(files.map(async (file) => [(await stat(file, { bigint: true })).ino, (await stat(file, { bigint: true })).mtimeNs]));
    const before = await look();
    await store.updateStatus('Gateway', first);
    await store.apply('Lease', created);
    expect(await look()).toEqual(before);
  });
});

describe('many processes', () => {
  const script = (body: string) => `
    import { openDirStore } from ${JSON.stringify(new URL('./dir-store.ts', import.meta.url).href)};
    const store = await openDirStore(process.argv[1]);
    ${body}
    await store.close();`;

  it('lose no update of one object, whoever else writes to it at the same time', async () => {
    const [processes, increments] = [4, 12];
    await (await opened()).apply('Lease', { ...lease, spec: { leaseDurationSeconds: 0 } });
    const body = `
      for (let done = 0; done < ${increments}; ) {
        const lease = await store.get('Lease', 'a1', 'kube-node-lease');
        const leaseDurationSeconds = lease.spec.leaseDurationSeconds + 1;
        try {
          await store.apply('Lease', { ...lease, spec: { ...lease.spec, leaseDurationSeconds } });
          done++;
        } catch (error) {
          if (error.name !== 'ConflictError') throw error;
        }
      }`;
    await Promise.all(Array.from({ length: processes }, () => run(process.execPath, ['--input-type=module', '-e', script(body), dir])));
    const store = await opened();
    expect((await store.get('Lease', 'a1', 'kube-node-lease'))?.spec.leaseDurationSeconds).toBe(processes * increments);
    expect(store.problems()).toEqual([]);
  }, 60_000);

  it.runIf(process.getuid?.() === 0)(
    'keep the version before when the disk is full, and say so',
    async () => {
      await put('x.yaml', named('cloud'));
      const body = `
      const { writeFileSync, readdirSync } = await import('node:fs');
      const apply = (n) => store.apply('Node', { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n' + n }, spec: {} });
      const first = await apply(1);
      try { writeFileSync(process.argv[1] + '/filler', 'x'.repeat(1 << 20)); } catch {}
      try { await store.updateStatus('Node', { ...first, status: { text: 'x'.repeat(8192) } }); } catch (error) { console.log(error.message); }
      console.log(JSON.stringify([(await store.list('Node')).length, (await store.get('Node', 'n1')).status ?? null, readdirSync(process.argv[1] + '/raven-state/.tmp')]));`;
      // A mount namespace of its own: the file system goes with it.
      const mounted = `mount -t tmpfs -o size=256k tmpfs "$1" && exec "$2" --input-type=module -e "$3" "$1"`;
      const { stdout } = await run('unshare', ['-m', 'sh', '-c', mounted, 'sh', dir, process.execPath, script(body)]);
      expect(stdout).toMatch(/^cannot write .*Node\/n1\.2\.yaml, what was there stays: ENOSPC.*\n\[1,null,\[\]\]\n$/);
    },
    60_000,
  );
});

describe('openStore', () => {
  it('takes dir:DIR and says what is wrong with anything else', async () => {
    const store = await openStore(`dir:${dir}/`);
    expect(await store.list('Node')).toEqual([]);
    await store.close();
    await put('file', '');
    await expect(openStore('kubernetes')).rejects.toThrow(
      '--store: must be dir:DIR, a directory of manifests, kube, or kube:FILE, a kubeconfig; not "kubernetes"',
    );
    await expect(openStore('dir:/nowhere/at/all')).rejects.toThrow('--store: there is no directory /nowhere/at/all');
    await expect(openStore(`dir:${dir}/file`)).rejects.toThrow(`--store: ${dir}/file is no directory`);
  });
});
