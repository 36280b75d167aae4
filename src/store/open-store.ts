import { UserError } from '../lib/errors.ts';
import type { ClusterStore } from './cluster-store.ts';
import { type DirStoreOptions, openDirStore } from './dir/dir-store.ts';
import { tryStat } from './dir/walk.ts';

/**
 * Opens what `--store` names: `dir:DIR`, a directory of manifests.
 * @throws {UserError} when it is of another form, or there is no such directory
 */
export async function openStore(text: string, options: DirStoreOptions = {}): Promise<ClusterStore> {
  const dir = storeDir(text);
  if (tryStat(dir) === undefined) throw new UserError([{ source: '--store', message: `there is no directory ${dir}` }]);
  if (tryStat(dir)?.isDirectory() !== true) throw new UserError([{ source: '--store', message: `${dir} is no directory` }]);
  return openDirStore(dir, options);
}

/**
 * The directory that `--store` names.
 * @throws {UserError} when it names none
 */
export function storeDir(text: string): string {
  const [, dir] = /^dir:(.+)$/.exec(text) ?? [];
  if (dir === undefined)
    throw new UserError([{ source: '--store', message: `must be dir:DIR, a directory of manifests, not ${JSON.stringify(text)}` }]);
  return dir;
}
