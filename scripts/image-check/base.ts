import { cp, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hostExec } from '../../src/drivers/exec/exec.ts';

export interface Distribution {
  /** `bookworm`. */
  readonly codename: string;
  readonly arch: string;
  /** Where this host has its packages from. */
  readonly mirror: string;
}

const BOOTSTRAP_TIMEOUT_MS = 600_000;
/** Files with the distribution's own sources; other files name others' packages, which the image has not. */
const SOURCES = ['sources.list', 'sources.list.d/debian.sources', 'sources.list.d/ubuntu.sources'];

/**
 * The distribution of this host, whose packages are the only ones that it surely reaches.
 *
 * @returns a reason when there is none to bootstrap
 */
export async function hostDistribution(): Promise<Distribution | { readonly unfit: string }> {
  const sources = (await Promise.all(SOURCES.map((file) => textOr(join('/etc/apt', file))))).join('\n');
  const mirror = /^(?:URIs:|deb(?: \[[^\]]*\])?) +(\S+)/m.exec(sources)?.[1];
  const codename = /^VERSION_CODENAME=(\S+)/m.exec(await textOr('/etc/os-release'))?.[1];
  if (mirror === undefined || codename === undefined) return { unfit: 'this host has no package sources of Debian or Ubuntu' };
  try {
    await hostExec(['debootstrap', '--version']);
    return { codename, mirror, arch: (await hostExec(['dpkg', '--print-architecture'])).trim() };
  } catch {
    return { unfit: 'debootstrap is not installed' };
  }
}

/** Makes `root` what the distribution's base image is: its essential packages, apt with this host's sources, and no service that starts by itself. */
export async function bootstrap({ codename, mirror }: Distribution, root: string, signal: AbortSignal): Promise<void> {
  await hostExec(['debootstrap', '--variant=minbase', codename, root, mirror], { timeoutMs: BOOTSTRAP_TIMEOUT_MS, signal });
  await rm(join(root, 'etc/apt/sources.list'), { force: true });
  for (const file of SOURCES) await copyIfThere(join('/etc/apt', file), join(root, 'etc/apt', file));
  for (const file of await readdir('/etc/apt/apt.conf.d')) {
    const source = join('/etc/apt/apt.conf.d', file);
    // Hooks call programs that are not there.
    if (!(await textOr(source)).includes('Invoke')) await copyIfThere(source, join(root, 'etc/apt/apt.conf.d', file));
  }
  await writeFile(join(root, 'usr/sbin/policy-rc.d'), '#!/bin/sh\nexit 101\n', { mode: 0o755 });
}

/** Folder trees that are worth keeping, one tar file each. */
export interface TreeCache {
  /** Fills the empty folder `root` from the cache, or else with `make`, which is then kept under this key instead of others of the same name. */
  fill(name: string, key: string, root: string, make: () => Promise<void>): Promise<'kept' | 'made'>;
}

/** @param dir outside of the checkout, so that it survives a new clone */
export function createTreeCache(dir: string, signal: AbortSignal): TreeCache {
  const timeoutMs = BOOTSTRAP_TIMEOUT_MS;
  return {
    fill: async (name, key, root, make) => {
      await mkdir(dir, { recursive: true });
      await mkdir(root, { recursive: true });
      const file = `image-${name}-${key}.tar`;
      const present = (await readdir(dir)).filter((each) => each.startsWith(`image-${name}-`));
      if (present.includes(file)) {
        await hostExec(['tar', '-x', '--numeric-owner', '-p', '-f', join(dir, file), '-C', root], { timeoutMs, signal });
        return 'kept';
      }
      await make();
      const unfinished = join(dir, `.${file}.${process.pid}`);
      try {
        await hostExec(['tar', '-c', '--numeric-owner', '-f', unfinished, '-C', root, '.'], { timeoutMs, signal });
        await rename(unfinished, join(dir, file));
      } finally {
        await rm(unfinished, { force: true });
      }
      for (const other of present) await rm(join(dir, other), { force: true });
      return 'made';
    },
  };
}

async function copyIfThere(from: string, to: string): Promise<void> {
  await cp(from, to, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
}

async function textOr(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
