import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gunzipSync, gzipSync, zstdDecompressSync } from 'node:zlib';
import { packCpio, type CpioEntry } from './cpio.ts';
import type { Kernel } from './kernel.ts';

const BUSYBOX = '/bin/busybox';
const INIT = new URL('init.sh', import.meta.url);

/**
 * Builds the guest's initial RAM disk (busybox, the boot modules, init.sh), or finds the one built before.
 * It is a few megabytes and lies outside the checkout, in a folder per kernel version, so that a clean checkout boots at once.
 *
 * @returns the file's path
 */
export async function ensureInitrd(kernel: Kernel, cacheDir: string): Promise<string> {
  const init = await readFile(INIT);
  const modulesDep = await readFile(join(kernel.modulesDir, 'modules.dep'));
  const key = createHash('sha256').update(init).update(modulesDep).update(kernel.bootModules.join('\n')).digest('hex').slice(0, 12);
  const file = join(cacheDir, kernel.version, `initrd-${key}.gz`);
  if (await exists(file)) return file;

  await mkdir(dirname(file), { recursive: true });
  const draft = `${file}.${process.pid}`;
  await writeFile(draft, gzipSync(packCpio(await initrdEntries(kernel, init))));
  await rename(draft, file);
  return file;
}

async function initrdEntries(kernel: Kernel, init: Uint8Array): Promise<CpioEntry[]> {
  const modules = await Promise.all(
    kernel.bootModules.map(async (file, index) => ({
      path: `modules/${index}.ko`,
      content: await unpackModule(join(kernel.modulesDir, file)),
    })),
  );
  const order = modules.map(({ path }) => `${path.replace('modules/', '')}\n`).join('');
  return [
    { path: 'bin/' },
    { path: 'bin/busybox', content: await readFile(BUSYBOX), executable: true },
    { path: 'init', content: init, executable: true },
    { path: 'modules/' },
    ...modules,
    { path: 'modules/order', content: Buffer.from(order) },
  ];
}

/** Distributions compress module files in different ways; busybox's `insmod` wants them plain. */
async function unpackModule(file: string): Promise<Uint8Array> {
  if (file.endsWith('.xz')) {
    const { stdout } = await promisify(execFile)('xz', ['-dc', file], { encoding: 'buffer', maxBuffer: 64 << 20 });
    return stdout;
  }
  const content = await readFile(file);
  if (file.endsWith('.zst')) return zstdDecompressSync(content);
  return file.endsWith('.gz') ? gunzipSync(content) : content;
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
