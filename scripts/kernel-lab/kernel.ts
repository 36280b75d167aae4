import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
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

export interface KernelChoice {
  /** Where kernels of other releases are unpacked, one folder each (`scripts/setup.sh kernels`). */
  readonly unpackedDir: string;
  /** Begin of a version, such as `6.12`; undefined: the newest of `/boot`. */
  readonly wanted?: string | undefined;
}

/** What the guest needs before it has a root file system: the share over virtio, the layer that makes it writable, and the output's port. */
const BOOT_MODULES = ['virtio_pci', '9pnet_virtio', '9p', 'overlay', 'virtio_console', 'virtio_rng'];

/**
 * Finds the newest kernel in `/boot`, or the newest one anywhere whose version begins as wanted, whose modules include the 9P file system
 * (Debian's `cloud` flavour has none).
 *
 * @throws {UserError} when there is none
 */
export async function findKernel({ unpackedDir, wanted }: KernelChoice): Promise<Kernel> {
  const places = await findPlaces(wanted === undefined ? undefined : unpackedDir);
  for (const { root, version } of places.filter((place) => isWanted(place.version, wanted))) {
    const kernel = await readKernel(root, version);
    if (kernel !== undefined) return kernel;
  }
  throw new UserError(`kernel lab: ${whyNone(places, wanted)}: run scripts/setup.sh ${wanted === undefined ? 'kernel' : 'kernels'}`);
}

/** The newest usable kernel of each release (`6.1`, `6.12`) that is installed or unpacked; oldest release first. */
export async function listKernels(unpackedDir: string): Promise<string[]> {
  const newest = new Map<string, string>();
  for (const { root, version } of await findPlaces(unpackedDir)) {
    const release = /^\d+\.\d+/.exec(version)?.[0] ?? version;
    if (!newest.has(release) && (await readKernel(root, version)) !== undefined) newest.set(release, version);
  }
  return [...newest.values()].toReversed();
}

interface Place {
  readonly root: string;
  readonly version: string;
}

/** Newest first; those of `/boot` alone when `unpackedDir` is undefined. */
async function findPlaces(unpackedDir: string | undefined): Promise<Place[]> {
  const unpacked = unpackedDir === undefined ? [] : (await list(unpackedDir)).map((name) => join(unpackedDir, name));
  const found = await Promise.all(
    ['/', ...unpacked].map(async (root) => kernelVersions(await list(join(root, 'boot'))).map((version): Place => ({ root, version }))),
  );
  return found.flat().toSorted((a, b) => newestFirst(a.version, b.version));
}

function whyNone(places: readonly Place[], wanted: string | undefined): string {
  const versions = places.map(({ version }) => version).join(', ');
  if (wanted !== undefined) return `no kernel ${wanted} (there are: ${versions || 'none'})`;
  return versions === '' ? 'no /boot/vmlinuz-*' : `only ${versions}, without 9P modules`;
}

/** Whole numbers: 6.1 is not the begin of 6.12. */
function isWanted(version: string, wanted: string | undefined): boolean {
  return wanted === undefined || version === wanted || (version.startsWith(wanted) && !/^\d/.test(version.slice(wanted.length)));
}

/** The versions in a listing of `/boot`, newest first. */
export function kernelVersions(names: readonly string[]): string[] {
  return names.flatMap((name) => /^vmlinuz-(\d.*)$/.exec(name)?.[1] ?? []).toSorted(newestFirst);
}

function newestFirst(a: string, b: string): number {
  return b.localeCompare(a, 'en', { numeric: true });
}

async function readKernel(root: string, version: string): Promise<Kernel | undefined> {
  const modulesDir = join(root, 'lib/modules', version);
  const text = await readFile(join(modulesDir, 'modules.dep'), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const modules = parseModulesDep(text);
  const { files, missing } = loadOrder(modules, BOOT_MODULES);
  if (missing.includes('9p')) return undefined;
  return { version, image: join(root, 'boot', `vmlinuz-${version}`), modulesDir, modules, bootModules: files };
}

async function list(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}
