import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { link, mkdir, readdir, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Kind, RESOURCES } from '../../api/kinds.ts';
import { messageOf, type Problem } from '../../lib/errors.ts';
import { ConflictError } from '../cluster-store.ts';
import { keyOf } from '../object.ts';
import { baseOf, formatStateFileName, kindFolder, parseStateFileName, stateFolder, tempFolder } from './layout.ts';
import { type Fields, formatState, type ObjectName, type ParsedState, parseState, writersOf } from './state-file.ts';
import { isErrno, tryStat } from './walk.ts';

/** The newest version that Raven keeps of one object. */
export interface StateEntry {
  readonly base: string;
  readonly n: number;
  readonly file: string;
  readonly key: string;
  /** Undefined: the object was deleted; the file only keeps its number from being used again by somebody who read it before. */
  readonly value: Fields | undefined;
  /** Only status and identity, for an object that is in a person's file. */
  readonly isOverlay: boolean;
  /** This version cannot be understood; the rest is what the version before said. */
  readonly problem?: Problem;
}

/** Raven's additions to the objects of one kind. Nothing is read before the first `sync`. */
export interface StateFolder {
  readonly path: string;
  /** Reads what is new. @returns keys of the objects that changed */
  sync(): ReadonlySet<string>;
  /** As `sync`, when only files of these names are known to have come, changed or gone. */
  touch(names: readonly string[]): ReadonlySet<string>;
  get(key: string): StateEntry | undefined;
  entries(): Iterable<StateEntry>;
  /**
   * Makes `body` the next version of an object if the newest one is still what `get` says.
   * @param body `undefined` deletes
   * @returns keys of the objects that changed
   * @throws {ConflictError} when somebody else was first
   */
  write(object: ObjectName, body: Fields | undefined): Promise<ReadonlySet<string>>;
}

/** How long a deleted object's number is kept, and how old other processes' temporary files must be before they count as left behind. */
const STALE_MS = 60_000;

/**
 * Compare-and-swap among processes by file names: version n+1 is written and synced under a temporary name, then given its
 * own by link(2), which fails when the name is taken. Only then the older versions go, the oldest first. So a crash or a full disk at any point leaves a whole
 * version, and there is no lock that could be left behind. What a crash leaves is removed by the next writer.
 */
export function createStateFolder(dir: string, kind: Kind): StateFolder {
  const path = kindFolder(dir, kind);
  const byBase = new Map<string, StateEntry>();
  const byKey = new Map<string, StateEntry>();
  let sweptAt = 0;

  function sync(): ReadonlySet<string> {
    const touched = new Set<string>();
    if (isStoreGone()) return touched;
    let newest = newestOf(list(path));
    // A listing that is read while files come and go can miss both the old and the new one of an object.
    if ([...byBase.values()].some(({ base, n }) => (newest.get(base) ?? 0) < n)) newest = newestOf(list(path));
    for (const { base } of byBase.values()) if (!newest.has(base)) forget(base, touched);
    for (const [base, n] of newest) if (byBase.get(base)?.n !== n) readNewest(base, n, touched);
    return touched;
  }

  function touch(names: readonly string[]): ReadonlySet<string> {
    const touched = new Set<string>();
    for (const name of names) {
      const parsed = parseStateFileName(name);
      if (parsed === undefined) continue;
      const { base, n } = parsed;
      const known = byBase.get(base)?.n ?? 0;
      const isThere = tryStat(join(path, name)) !== undefined;
      if (isThere && n >= known) readNewest(base, n, touched);
      // Our newest is gone, or numbers began anew: rare, and only the whole listing tells.
      else if (isThere || n >= known) for (const key of sync()) touched.add(key);
    }
    return touched;
  }

  function readNewest(base: string, from: number, touched: Set<string>): void {
    for (let n: number | undefined = from; n !== undefined;) {
      const file = join(path, formatStateFileName({ base, n }));
      try {
        remember(parseState(readFileSync(file, 'utf8'), { base, n, file }), touched);
        return;
      } catch (error) {
        if (!isErrno(error, 'ENOENT')) return remember({ base, n, file, problem: messageOf(error) }, touched);
        // Replaced since we heard of it.
        n = newestOf(list(path)).get(base);
      }
    }
    if (!isStoreGone()) forget(base, touched);
  }

  /** Without the directory nothing can be said about what is in it: what was known stays. */
  function isStoreGone(): boolean {
    return tryStat(dir) === undefined;
  }

  function remember({ base, n, file, ...parsed }: ParsedState, touched: Set<string>): void {
    const before = byBase.get(base);
    const broken =
      'problem' in parsed
        ? parsed.problem
        : baseOf(kind, parsed.name, parsed.namespace) === base
          ? undefined
          : 'is about an object of another name';
    const { key, value, isOverlay } =
      broken === undefined && 'name' in parsed
        ? { key: keyOf(kind, parsed.name, parsed.namespace), value: parsed.value, isOverlay: parsed.isOverlay }
        : (before ?? { key: `?${file}`, value: undefined, isOverlay: false });
    const entry: StateEntry = {
      base,
      n,
      file,
      key,
      value,
      isOverlay,
      ...(broken !== undefined && { problem: { source: file, message: broken } }),
    };
    if (before !== undefined) byKey.delete(before.key);
    byBase.set(base, entry);
    byKey.set(key, entry);
    touched.add(key);
  }

  function forget(base: string, touched: Set<string>): void {
    const entry = byBase.get(base);
    if (entry === undefined) return;
    byBase.delete(base);
    byKey.delete(entry.key);
    touched.add(entry.key);
  }

  async function write(object: ObjectName, body: Fields | undefined): Promise<ReadonlySet<string>> {
    const base = baseOf(kind, object.name, object.namespace);
    const n = (byBase.get(base)?.n ?? 0) + 1;
    const name = formatStateFileName({ base, n });
    const writer = randomBytes(4).toString('hex');
    const text = formatState(body ?? tombstone(kind, object), [writer, ...writersOf(byBase.get(base)?.file)]);
    await createNew(join(path, name), text, join(tempFolder(dir), writer));
    const versions = (await readdir(path)).flatMap((each) => parseStateFileName(each) ?? []).filter((each) => each.base === base);
    const newest = Math.max(...versions.map((each) => each.n));
    // We slept, and meanwhile others came, went past our number and cleaned up behind them. (Or they built upon ours: then they name us.)
    if (newest > n && !writersOf(join(path, formatStateFileName({ base, n: newest }))).includes(writer)) {
      await unlink(join(path, name)).catch(ignore);
      throw new ConflictError(`${kind} ${object.name} changed`);
    }
    for (const each of versions.toSorted((a, b) => a.n - b.n))
      if (each.n < n) await unlink(join(path, formatStateFileName(each))).catch(ignore);
    if (Date.now() - sweptAt > STALE_MS) await sweep();
    return touch([name]);
  }

  async function createNew(file: string, text: string, temp: string): Promise<void> {
    try {
      // Not recursively: a directory of manifests that was taken away must not come back with nothing but our additions in it.
      for (const folder of [stateFolder(dir), path, tempFolder(dir)]) await ensureFolder(folder);
      await writeFile(temp, text, { flag: 'wx', flush: true });
      await link(temp, file).catch((error: unknown) => {
        throw isErrno(error, 'EEXIST') ? new ConflictError(`${file} was written by somebody else`, { cause: error }) : error;
      });
    } catch (error) {
      if (error instanceof ConflictError) throw error;
      throw new Error(`cannot write ${file}, what was there stays: ${messageOf(error)}`, { cause: error });
    } finally {
      await unlink(temp).catch(ignore);
    }
  }

  /** Removes what crashes have left, and the marks of deletions that nobody can trip over any more. */
  async function sweep(): Promise<void> {
    sweptAt = Date.now();
    const isStale = async (file: string): Promise<boolean> => {
      const stats = await stat(file).catch(ignore);
      return stats !== undefined && sweptAt - stats.mtimeMs > STALE_MS;
    };
    for (const name of await readdir(tempFolder(dir)).catch(() => [])) {
      const file = join(tempFolder(dir), name);
      if (await isStale(file)) await rm(file, { force: true }).catch(ignore);
    }
    const versions = list(path).toSorted((a, b) => a.n - b.n);
    const newest = newestOf(versions);
    for (const each of versions) {
      if (each.n < (newest.get(each.base) ?? 0)) await unlink(join(path, formatStateFileName(each))).catch(ignore);
    }
    for (const { base, n, file, value, problem } of byBase.values()) {
      const isTombstone = value === undefined && problem === undefined && newest.get(base) === n;
      if (isTombstone && (await isStale(file))) await unlink(file).catch(ignore);
    }
  }

  return { path, sync, touch, write, get: (key) => byKey.get(key), entries: () => byBase.values() };
}

async function ensureFolder(path: string): Promise<void> {
  await mkdir(path).catch((error: unknown) => {
    if (tryStat(path)?.isDirectory() !== true) throw error;
  });
}

interface Version {
  readonly base: string;
  readonly n: number;
}

function list(path: string): Version[] {
  try {
    return readdirSync(path).flatMap((name) => parseStateFileName(name) ?? []);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

function newestOf(versions: readonly Version[]): Map<string, number> {
  const newest = new Map<string, number>();
  for (const { base, n } of versions) if (n > (newest.get(base) ?? 0)) newest.set(base, n);
  return newest;
}

function tombstone(kind: Kind, { name, namespace }: ObjectName): Fields {
  return { apiVersion: RESOURCES[kind].apiVersion, kind, metadata: { name, ...(namespace !== undefined && { namespace }) }, deleted: true };
}

function ignore(): undefined {
  return undefined;
}
