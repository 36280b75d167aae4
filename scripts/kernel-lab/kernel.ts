import { readdir, readFile } from 'node:fs/promises';
import { UserError } from '../../src/lib/errors.ts';
import { loadOrder, parseModulesDep, type ModuleIndex } from './modules.ts';

/** A distribution kernel on this machine that can have this machine's file system as its own. */
export interface Kernel {
  readonly version: string;
  readonly image: string;
  readonly modulesDir: string;
  readonly modules: ModuleIndex;
  /** Modules for the initial RAM disk, relative to `modulesDir`, in load order. */
  readonly bootModules: readonly string[];
}

/** What the guest needs before it has a root file system: the share over virtio, the layer that makes it writable, and the output's port. */
const BOOT_MODULES = ['virtio_pci', '9pnet_virtio', '9p', 'overlay', 'virtio_console', 'virtio_rng'];

/**
 * Finds the newest kernel in `/boot` whose modules include the 9P file system (Debian's `cloud` flavour has none).
 *
 * @throws {UserError} when there is none
 */
export async function findKernel(): Promise<Kernel> {
  const versions = kernelVersions(await readdir('/boot').catch(() => []));
  for (const version of versions) {
    const kernel = await readKernel(version);
    if (kernel !== undefined) return kernel;
  }
  const seen = versions.length === 0 ? 'no /boot/vmlinuz-*' : `only ${versions.join(', ')}, without 9P modules`;
  throw new UserError(`kernel lab: ${seen}: run scripts/setup.sh kernel`);
}

/** The versions in a listing of `/boot`, newest first. */
export function kernelVersions(names: readonly string[]): string[] {
  return names.flatMap((name) => /^vmlinuz-(\d.*)$/.exec(name)?.[1] ?? []).toSorted((a, b) => b.localeCompare(a, 'en', { numeric: true }));
}

async function readKernel(version: string): Promise<Kernel | undefined> {
  const modulesDir = `/lib/modules/${version}`;
  const text = await readFile(`${modulesDir}/modules.dep`, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const modules = parseModulesDep(text);
  const { files, missing } = loadOrder(modules, BOOT_MODULES);
  if (missing.includes('9p')) return undefined;
  return { version, image: `/boot/vmlinuz-${version}`, modulesDir, modules, bootModules: files };
}
