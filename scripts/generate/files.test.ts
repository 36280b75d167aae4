import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { GATEWAY_CONDITIONS, GATEWAY_EVENTS, TUNNEL_ENDPOINT_CONDITIONS } from '../../src/api/reasons.ts';
import { generatedFiles } from './files.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const files = await generatedFiles();

describe('generated files', () => {
  it.each(files)('$path is what `make generate` makes now', ({ path, text }) => {
    expect(readFileSync(`${root}${path}`, 'utf8')).toBe(text);
  });

  it('are all that stands in their folders', () => {
    for (const folder of ['deploy/crds', 'docs/reference']) {
      const made = files.filter(({ path }) => path.startsWith(`${folder}/`)).map(({ path }) => path.slice(folder.length + 1));
      expect(readdirSync(`${root}${folder}`).toSorted()).toEqual(made.toSorted());
    }
  });

  it('say what every field, flag and metric means', () => {
    for (const { path, text } of files.filter((file) => file.path.endsWith('.md')))
      expect(
        text.split('\n').filter((line) => line.endsWith('|  |')),
        path,
      ).toEqual([]);
  });
});

describe('the reference of Events and conditions', () => {
  const known = new Set([
    ...GATEWAY_EVENTS.map(({ reason }) => reason),
    ...[...GATEWAY_CONDITIONS, ...TUNNEL_ENDPOINT_CONDITIONS].flatMap(({ reasons }) => reasons.map(({ reason }) => reason)),
  ]);
  const source = ['src/domain', 'src/controller']
    .flatMap((folder) => readdirSync(`${root}${folder}`, { recursive: true, encoding: 'utf8' }).map((file) => `${root}${folder}/${file}`))
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts') && !file.includes('/test-'))
    .map((file) => readFileSync(file, 'utf8'))
    .join('\n');

  it('has every reason of the sources (add new ones to src/api/reasons.ts)', () => {
    const used = [...source.matchAll(/\breason: '([A-Z]\w+)'/g)].map(([, reason]) => reason);
    expect(used.length).toBeGreaterThan(10);
    expect(used.filter((reason) => !known.has(reason ?? ''))).toEqual([]);
  });

  it('has none that the sources do not have', () => {
    // `No${title}Replicas` and its like are put together.
    const templates = [...source.matchAll(/`(\w*)\$\{title\}(\w*)`/g)].flatMap(([, before, after]) =>
      ['Tunnel', 'Proxy'].map((title) => `${before}${title}${after}`),
    );
    expect([...known].filter((reason) => !templates.includes(reason) && !source.includes(`'${reason}'`))).toEqual([]);
  });
});
