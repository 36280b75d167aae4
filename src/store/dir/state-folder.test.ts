import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fc, test } from '@fast-check/vitest';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConflictError } from '../cluster-store.ts';
import { baseOf, formatStateFileName, parseStateFileName } from './layout.ts';
import { createStateFolder, type StateFolder } from './state-folder.ts';

const name = { name: 'a1', namespace: undefined };
const body = (value: number) => ({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'a1' }, spec: { value } });

let dir: string;
const files = () => readdir(join(dir, 'raven-state', 'Node'));
function opened(): StateFolder {
  const folder = createStateFolder(dir, 'Node');
  folder.sync();
  return folder;
}
const valueOf = (folder: StateFolder) => (folder.get('Node//a1')?.value?.['spec'] as { value: number } | undefined)?.value;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'raven-state-'));
});
afterEach(() => rm(dir, { recursive: true }));

describe('state folder', () => {
  it('keeps one file for each object, with the number of its version, and no temporary one', async () => {
    const folder = opened();
    for (const value of [1, 2, 3]) await folder.write(name, body(value));
    expect(await files()).toEqual(['a1.3.yaml']);
    expect(await readdir(join(dir, 'raven-state', '.tmp'))).toEqual([]);
    expect(valueOf(opened())).toBe(3);
  });

  it('lets only the first of two writers have a version', async () => {
    const [first, second] = [opened(), opened()];
    await first.write(name, body(1));
    await expect(second.write(name, body(2))).rejects.toBeInstanceOf(ConflictError);
    expect(valueOf(opened())).toBe(1);
  });

  it('refuses a writer that slept while others went past its number and cleaned up', async () => {
    const [sleeper, other] = [opened(), opened()];
    for (const value of [1, 2, 3]) await other.write(name, body(value));
    await expect(sleeper.write(name, body(9))).rejects.toBeInstanceOf(ConflictError);
    expect(await files()).toEqual(['a1.3.yaml']);
    expect(valueOf(opened())).toBe(3);
  });

  it('does not let a number be used again after a deletion', async () => {
    const [sleeper, other] = [opened(), opened()];
    await other.write(name, body(1));
    sleeper.sync();
    await other.write(name, undefined);
    expect(opened().get('Node//a1')?.value).toBeUndefined();
    await expect(sleeper.write(name, body(2))).rejects.toBeInstanceOf(ConflictError);
    await other.write(name, body(3));
    expect(await files()).toEqual(['a1.3.yaml']);
  });

  it('cleans up after a crash: older versions, old temporary files, old deletion marks; not the fresh temporary files of others', async () => {
    const crashed = opened();
    await crashed.write(name, body(1));
    await crashed.write({ name: 'gone', namespace: undefined }, undefined);
    const folder = join(dir, 'raven-state', 'Node');
    const temp = join(dir, 'raven-state', '.tmp');
    await writeFile(join(folder, 'a1.2.yaml'), await readFile(join(folder, 'a1.1.yaml')));
    await writeFile(join(folder, 'b1.7.yaml'), JSON.stringify({ metadata: { name: 'b1' }, spec: {} }));
    await writeFile(join(folder, 'b1.8.yaml'), JSON.stringify({ metadata: { name: 'b1' }, spec: {} }));
    for (const file of ['old', 'fresh']) await writeFile(join(temp, file), 'half');
    const longAgo = Date.now() / 1000 - 3600;
    for (const file of [join(temp, 'old'), join(folder, 'gone.1.yaml')]) await utimes(file, longAgo, longAgo);

    await opened().write(name, body(3));
    expect((await files()).toSorted()).toEqual(['a1.3.yaml', 'b1.8.yaml']);
    expect(await readdir(temp)).toEqual(['fresh']);
    crashed.sync();
    expect(crashed.get('Node//gone')).toBeUndefined();
  });

  it('follows single events without looking at other files', async () => {
    const [writer, reader] = [opened(), opened()];
    await writer.write(name, body(1));
    expect([...reader.touch(['a1.1.yaml'])]).toEqual(['Node//a1']);
    await writer.write(name, body(2));
    expect([...reader.touch(['a1.1.yaml'])]).toEqual(['Node//a1']);
    expect(valueOf(reader)).toBe(2);
    await writer.write(name, undefined);
    expect([...reader.touch(['a1.3.yaml', 'a1.2.yaml', 'unrelated', '.x.swp'])]).toEqual(['Node//a1']);
    expect(valueOf(reader)).toBeUndefined();
  });

  it('keeps the last good version of a file that somebody broke, names it, and can write over it', async () => {
    const folder = opened();
    await folder.write(name, body(1));
    await writeFile(join(dir, 'raven-state', 'Node', 'a1.1.yaml'), 'metadata: {name: a1\n');
    folder.touch(['a1.1.yaml']);
    expect(valueOf(folder)).toBe(1);
    expect(folder.get('Node//a1')?.problem).toMatchObject({ message: expect.stringContaining('is no YAML') });
    const late = opened();
    expect([...late.entries()][0]?.problem).toBeDefined();
    await late.write(name, body(2));
    expect(valueOf(late)).toBe(2);
    expect(late.get('Node//a1')?.problem).toBeUndefined();
  });

  it('says that a file is about something else when it was copied', async () => {
    const folder = opened();
    await folder.write(name, body(1));
    const text = await readFile(join(dir, 'raven-state', 'Node', 'a1.1.yaml'));
    await writeFile(join(dir, 'raven-state', 'Node', 'b1.1.yaml'), text);
    expect([...opened().entries()].map(({ base, problem }) => [base, problem?.message])).toEqual([
      ['a1', undefined],
      ['b1', 'is about an object of another name'],
    ]);
  });

  it('leaves what was there when it cannot write', async () => {
    const folder = opened();
    await folder.write(name, body(1));
    await rm(join(dir, 'raven-state', '.tmp'), { recursive: true });
    await writeFile(join(dir, 'raven-state', '.tmp'), 'in the way');
    await expect(folder.write(name, body(2))).rejects.toThrow(/cannot write .*a1\.2\.yaml, what was there stays: EEXIST/);
    expect(valueOf(opened())).toBe(1);
    expect((await stat(join(dir, 'raven-state', 'Node', 'a1.1.yaml'))).isFile()).toBe(true);
  });

  it('survives that the folder goes', async () => {
    const folder = opened();
    await folder.write(name, body(1));
    await rm(join(dir, 'raven-state'), { recursive: true });
    expect([...folder.sync()]).toEqual(['Node//a1']);
    expect(folder.get('Node//a1')).toBeUndefined();
    await folder.write(name, body(2));
    expect(valueOf(opened())).toBe(2);
    await mkdir(join(dir, 'raven-state', 'Node', 'x.1.yaml'));
    expect([...opened().entries()].find(({ base }) => base === 'x')?.problem?.message).toContain('EISDIR');
  });
});

describe('state file names', () => {
  const text = fc.string({ unit: 'binary', minLength: 1, maxLength: 260 });

  test.prop([text, text, fc.integer({ min: 1, max: 1e14 })])('are short, safe, and read back', (objectName, namespace, n) => {
    const base = baseOf('Lease', objectName, namespace);
    const file = formatStateFileName({ base, n });
    expect(file).toMatch(/^[A-Za-z0-9._%~-]{1,255}$/);
    expect(parseStateFileName(file)).toEqual({ base, n });
  });

  it('differ for different objects', () => {
    const bases = [
      baseOf('Lease', 'b.c', 'a'),
      baseOf('Lease', 'c', 'a.b'),
      baseOf('Lease', 'a.b', undefined),
      baseOf('Node', 'a.b', 'x'),
      baseOf('Node', '../etc/x', undefined),
    ];
    expect(bases).toEqual(['a.b.c', 'a%2Eb.c', 'default.a.b', 'a.b', '..%2Fetc%2Fx']);
  });
});
