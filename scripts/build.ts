import { build, type BuildOptions, type Metafile, type OutputFile, type Plugin } from 'esbuild';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * `make build`: every program of src/cmd with all it imports, as plain JavaScript in dist. One program starts other
 * programs, so what they share is split into chunks, and what a command does not need is not even read at start.
 */
const ROOT = fileURLToPath(new URL('..', import.meta.url));
const DIST = join(ROOT, 'dist');
/** Written last: make compares its age with the sources'. */
const STAMP = '.built';

/** zod carries its messages in fifty languages, which every program would read at start; ours are English. */
const englishOnly: Plugin = {
  name: 'english-only',
  setup: (bundler) => {
    bundler.onLoad({ filter: /[/\\]zod[/\\]v4[/\\]locales[/\\]index\.js$/ }, () => ({
      contents: "export { default as en } from './en.js';",
    }));
  },
};

const startedAt = performance.now();
const built = await bundle();
if (built === undefined) process.exitCode = 1;
else {
  await replaceDist(built.outputFiles);
  await removeOthers(built.metafile);
  await writeFile(join(DIST, STAMP), '');
  console.log(summary(built.metafile));
}

/** @returns undefined when the sources have errors; esbuild has printed them */
async function bundle() {
  const options = {
    absWorkingDir: ROOT,
    entryPoints: await programs(),
    outdir: DIST,
    entryNames: '[name]',
    chunkNames: '[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node22.19',
    legalComments: 'none',
    // CommonJS packages in an ES module bundle still call `require` for Node's own modules.
    banner: {
      js: "import { createRequire as raven_createRequire } from 'node:module'; const require = raven_createRequire(import.meta.url);",
    },
    plugins: [englishOnly],
    metafile: true,
    write: false,
  } as const satisfies BuildOptions;
  return build(options).catch(() => undefined);
}

/** Each file is swapped in whole: a lab that is running goes on reading its own version. */
async function replaceDist(files: readonly OutputFile[]): Promise<void> {
  await mkdir(DIST, { recursive: true });
  for (const { path, contents } of files) {
    await writeFile(`${path}.new`, contents);
    await rename(`${path}.new`, path);
  }
}

async function programs(): Promise<string[]> {
  const names = await readdir(join(ROOT, 'src/cmd'));
  return names.filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts')).map((name) => join('src/cmd', name));
}

/** Chunks of earlier builds. */
async function removeOthers({ outputs }: Metafile): Promise<void> {
  const ours = new Set(Object.keys(outputs).map((path) => path.replace('dist/', '')));
  for (const name of await readdir(DIST)) {
    if (!ours.has(name)) await rm(join(DIST, name), { recursive: true });
  }
}

function summary({ outputs }: Metafile): string {
  const entries = Object.entries(outputs);
  const names = entries.flatMap(([path, { entryPoint }]) =>
    entryPoint?.startsWith('src/cmd/') === true ? [path.replace('dist/', '')] : [],
  );
  const bytes = entries.reduce((sum, [, output]) => sum + output.bytes, 0);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  return `built dist/: ${names.join(', ')} (${Math.round(bytes / 1024)} KiB, ${seconds} s)`;
}
