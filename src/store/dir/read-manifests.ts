import { normalize } from 'node:path';
import type { Problem } from '../../lib/errors.ts';
import type { StoredObject } from '../object.ts';
import { createManifestFiles } from './manifest-files.ts';

export interface ManifestSet {
  /** What people wrote, defaults filled in; without anything that Raven added. */
  readonly objects: readonly StoredObject[];
  /** Empty when every document is good. */
  readonly problems: readonly Problem[];
}

/** Reads all manifests below `dir` once, as `openDirStore` would, to check them. */
export async function readManifests(dir: string): Promise<ManifestSet> {
  const files = createManifestFiles(normalize(dir), () => undefined);
  await files.rescan(true);
  return { objects: [...files.keys()].flatMap((key) => files.first(key)?.object ?? []), problems: files.problems() };
}
