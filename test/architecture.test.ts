import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

/** The import rules of docs/architecture.md, read off the sources. */

const SRC = fileURLToPath(new URL('../src', import.meta.url));

/** What each folder of src may import from, beside itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  net: ['lib'],
  api: ['lib', 'net'],
  domain: ['lib', 'net', 'api'],
  store: ['lib', 'net', 'api', 'domain'],
  drivers: ['lib', 'net', 'api', 'domain'],
  ...sameFor(['agent', 'webhook', 'dashboard'], ['lib', 'net', 'api', 'domain', 'store', 'drivers']),
  // The controller's replicas serve the webhooks.
  controller: ['lib', 'net', 'api', 'domain', 'store', 'drivers', 'webhook'],
  // The command line starts the programs of the other folders.
  cli: ['lib', 'net', 'api', 'domain', 'store', 'drivers', 'controller', 'agent', 'webhook', 'lab', 'dashboard'],
  lab: ['lib', 'net', 'api', 'domain', 'store', 'drivers'],
  cmd: ['lib', 'net', 'api', 'domain', 'store', 'drivers', 'controller', 'agent', 'webhook', 'cli', 'lab', 'dashboard'],
};

/** Decisions: no files, no sockets, no programs. */
const PURE = new Set(['lib', 'net', 'api', 'domain']);
/** Modules of Node.js that compute and do nothing else. `node:net` for isIPv4 and isIPv6 has its own rule. */
const HARMLESS = new Set(['node:util', 'node:crypto', 'node:assert', 'node:path', 'node:buffer', 'node:url']);

/** Passing the whole environment on to a program that is started is not reading it. */
const PASSED_ON = /\.\.\.process\.env\b/g;

interface Import {
  readonly specifier: string;
  /** The names between braces; empty for other forms. */
  readonly names: readonly string[];
}

interface Module {
  /** Relative to src, with `/`. */
  readonly file: string;
  readonly folder: string;
  readonly imports: readonly Import[];
  readonly code: string;
}

const modules = readModules();

describe('the sources', () => {
  it('are seen by this test', () => {
    expect(modules.length).toBeGreaterThan(50);
    expect(modules.flatMap(({ imports }) => imports).length).toBeGreaterThan(modules.length);
  });

  it('stand in known folders', () => {
    expect(modules.filter(({ folder }) => MAY_IMPORT[folder] === undefined).map(({ file }) => file)).toEqual([]);
  });

  it('import in one direction', () => {
    const wrong = modules.flatMap(({ file, folder, imports }) =>
      imports.flatMap(({ specifier }) => {
        const target = folderOf(file, specifier);
        const fine = target === undefined || target === folder || MAY_IMPORT[folder]?.includes(target) === true;
        return fine ? [] : [`${file} imports ${specifier}`];
      }),
    );
    expect(wrong).toEqual([]);
  });

  it('keep decisions free of I/O', () => {
    const wrong = modules
      .filter(({ file, folder }) => PURE.has(folder) && !isTest(file))
      .flatMap(({ file, imports }) => imports.filter((each) => !isPure(file, each)).map(({ specifier }) => `${file} imports ${specifier}`));
    expect(wrong).toEqual([]);
  });

  it('read the environment and end the process in src/cmd only', () => {
    const wrong = modules
      .filter(({ file, folder }) => folder !== 'cmd' && !isTest(file))
      .flatMap(({ file, code }) => {
        const used = code.replaceAll(PASSED_ON, '').match(/\bprocess\s*\.\s*(?:env|exit)\b/g) ?? [];
        return used.map((use) => `${file}: ${use}`);
      });
    expect(wrong).toEqual([]);
  });
});

describe('importsOf', () => {
  it.each([
    [`import { a, type B } from './x.ts';`, './x.ts', ['a', 'B']],
    [`import type { C as D } from '../y.ts';`, '../y.ts', ['C']],
    [`import * as all from 'z';`, 'z', []],
    [`import 'effect';`, 'effect', []],
    [`export { e } from './e.ts';`, './e.ts', ['e']],
    [`export * from "./f.ts";`, './f.ts', []],
    [`import {\n  g,\n  h,\n} from './g.ts';`, './g.ts', ['g', 'h']],
    [`const { i } = await import('./i.ts');`, './i.ts', []],
    [`type J = import('./j.ts').J;`, './j.ts', []],
  ])('understands %s', (code, specifier, names) => {
    expect(importsOf(code)).toEqual([{ specifier, names }]);
  });

  it('is not taken in by comments', () => {
    expect(
      importsOf(withoutComments(`// import './a.ts';\n/* import './b.ts'; */ const url = 'https://example.com';\n * from './c.ts'`)),
    ).toEqual([]);
  });
});

function readModules(): Module[] {
  return readdirSync(SRC, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.includes('node_modules'))
    .map((file) => {
      const code = withoutComments(readFileSync(join(SRC, file), 'utf8'));
      return { file, folder: file.split('/')[0] ?? '', imports: importsOf(code), code };
    });
}

/** Static, type-only, side-effect and dynamic imports, and re-exports. */
function importsOf(code: string): Import[] {
  const declarations = /^\s*(?:import|export)\s+(?:type\s+)?(?:[^'";]*?\bfrom\s*)?['"]([^'"]+)['"]/gm;
  const calls = /\bimport\s*\(\s*['"]([^'"]+)['"]\s*\)/g;
  return [...code.matchAll(declarations), ...code.matchAll(calls)].map(([text, specifier = '']) => ({ specifier, names: namesIn(text) }));
}

function namesIn(declaration: string): string[] {
  const list = /\{([^}]*)\}/.exec(declaration)?.[1] ?? '';
  const names = list.split(',').map(
    (each) =>
      each
        .trim()
        .replace(/^type\s+/, '')
        .split(/\s/)[0] ?? '',
  );
  return names.filter((name) => name !== '');
}

/** Cuts comments out; a `//` inside of quotes after a colon, as in addresses of pages, is left alone. */
function withoutComments(code: string): string {
  return code.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(^|[^:'"`\\])\/\/.*$/gm, '$1');
}

function folderOf(file: string, specifier: string): string | undefined {
  if (!specifier.startsWith('.')) return undefined;
  return relative(SRC, join(SRC, dirname(file), specifier)).split('/')[0];
}

function isPure(file: string, { specifier, names }: Import): boolean {
  if (!specifier.startsWith('node:') || HARMLESS.has(specifier)) return true;
  const onlyAddresses = names.length > 0 && names.every((name) => name === 'isIPv4' || name === 'isIPv6');
  return specifier === 'node:net' && file.startsWith('net/') && onlyAddresses;
}

/** Tests, and what only tests import. */
function isTest(file: string): boolean {
  return file.endsWith('.test.ts');
}

function sameFor(folders: readonly string[], allowed: readonly string[]): Record<string, readonly string[]> {
  return Object.fromEntries(folders.map((folder) => [folder, allowed]));
}
