import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseEndpoint } from '../../net/endpoint.ts';
import { createHeardFile, type HeardAt } from './heard-file.ts';

const NAME = 'heard.json';
let dir: string;
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), 'raven-heard-'))));
afterEach(() => rm(dir, { recursive: true, force: true }));

const heardAt = (rows: Record<string, string>): HeardAt =>
  new Map(Object.entries(rows).map(([peer, text]) => [peer, parseEndpoint(text)!]));

describe('where peers were heard', () => {
  it('is known to the next agent, in both families', async () => {
    const heard = heardAt({ c: '[2001:db8::1]:4500', b: '192.0.2.1:61234' });
    await createHeardFile(dir, NAME).note(heard, ['b', 'c']);
    expect(await readFile(join(dir, NAME), 'utf8')).toBe('{"b":"192.0.2.1:61234","c":"[2001:db8::1]:4500"}\n');
    expect(await createHeardFile(dir, NAME).read()).toEqual(heard);
  });

  it('is kept while a peer is silent, and forgotten when the plan has it no more', async () => {
    const file = createHeardFile(dir, NAME);
    await file.note(heardAt({ b: '192.0.2.1:4500', c: '192.0.2.2:4500' }), ['b', 'c']);
    await file.note(heardAt({ c: '192.0.2.3:4500' }), ['b', 'c']);
    expect(await file.read()).toEqual(heardAt({ b: '192.0.2.1:4500', c: '192.0.2.3:4500' }));
    await file.note(new Map(), ['c']);
    expect(await createHeardFile(dir, NAME).read()).toEqual(heardAt({ c: '192.0.2.3:4500' }));
  });

  it('is written only when it changed, and not at all while nobody was heard', async () => {
    const file = createHeardFile(dir, NAME);
    await file.note(new Map(), ['b']);
    expect(await readdir(dir)).toEqual([]);
    await file.note(heardAt({ b: '192.0.2.1:4500' }), ['b']);
    const { ino } = await stat(join(dir, NAME));
    await file.note(heardAt({ b: '192.0.2.1:4500' }), ['b']);
    expect((await stat(join(dir, NAME))).ino).toBe(ino);
    await file.remove();
    expect([await readdir(dir), await file.read()]).toEqual([[], new Map()]);
  });

  it.each(['', '{', '[]', '{"b":1}', 'null'])('is nobody when the file holds %j', async (text) => {
    await writeFile(join(dir, NAME), text);
    expect(await createHeardFile(dir, NAME).read()).toEqual(new Map());
  });

  it('leaves out what is no address', async () => {
    await writeFile(join(dir, NAME), '{"b":"somewhere","c":"192.0.2.2:4500"}');
    expect(await createHeardFile(dir, NAME).read()).toEqual(heardAt({ c: '192.0.2.2:4500' }));
  });
});
