import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where built initial RAM disks are kept: outside the checkout, so that they survive `make clean` and a new clone. */
export function initrdCacheDir(): string {
  return cacheDir('kernel-lab');
}

/** Where `scripts/setup.sh kernels` unpacks kernels, a folder each. */
export function unpackedKernelsDir(): string {
  return cacheDir('kernels');
}

function cacheDir(purpose: string): string {
  const base = process.env['XDG_CACHE_HOME'] ?? (process.getuid?.() === 0 ? '/var/cache' : join(homedir(), '.cache'));
  return join(base, 'raven', purpose);
}
