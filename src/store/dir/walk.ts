import { type Dirent, readdirSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { compareText } from '../../lib/compare.ts';
import { messageOf, type Problem } from '../../lib/errors.ts';
import { stateFolder } from './layout.ts';

export interface Tree {
  /** Manifest files, in the order of their paths. */
  readonly files: readonly string[];
  /** `dir` itself and all directories below it that were looked into. */
  readonly directories: readonly string[];
  readonly problems: readonly Problem[];
}

/**
 * Finds all manifest files below `dir`. Follows symbolic links, but looks into no directory twice. Passes over
 * what begins with a dot (editors' and git's own files) and Raven's state folder.
 *
 * Synchronous inside, giving way to others now and then: for thousands of small files that costs a tenth of the asynchronous calls.
 */
export async function walkManifests(dir: string): Promise<Tree> {
  const files: string[] = [];
  const directories: string[] = [];
  const problems: Problem[] = [];
  const seen = new Set<string>();
  const pending = [dir];
  for (let path = pending.shift(); path !== undefined; path = pending.shift()) {
    const stats = tryStat(path);
    const inode = `${stats?.dev}:${stats?.ino}`;
    if (stats === undefined || seen.has(inode)) continue;
    seen.add(inode);
    const entries = tryReaddir(path, problems);
    directories.push(path);
    for (const entry of entries) {
      const child = join(path, entry.name);
      if (entry.name.startsWith('.') || child === stateFolder(dir)) continue;
      const isDirectory = entry.isSymbolicLink() ? tryStat(child)?.isDirectory() === true : entry.isDirectory();
      if (isDirectory) pending.push(child);
      else if (isManifestName(entry.name)) files.push(child);
    }
    await setImmediate();
  }
  return { files: files.toSorted(compareText), directories, problems };
}

export function isManifestName(name: string): boolean {
  return !name.startsWith('.') && /\.(ya?ml|json)$/i.test(name);
}

/** @returns undefined when there is nothing at `path`, a link that leads nowhere, or one that leads to itself */
export function tryStat(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

function tryReaddir(path: string, problems: Problem[]): Dirent[] {
  try {
    return readdirSync(path, { withFileTypes: true }).toSorted((a, b) => compareText(a.name, b.name));
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) problems.push({ source: path, message: `cannot be read: ${messageOf(error)}` });
    return [];
  }
}

export function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
