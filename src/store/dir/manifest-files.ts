import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { readFileSync, type Stats, statSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { compareText } from '../../lib/compare.ts';
import { messageOf, type Problem } from '../../lib/errors.ts';
import { type ManifestObject, parseManifest } from './manifest.ts';
import { isErrno, tryStat, walkManifests } from './walk.ts';

/** The files that people wrote, read again only where they changed. */
export interface ManifestFiles {
  /**
   * Looks at all files; reads those that changed.
   * @param settled as in `load`
   * @returns keys of the objects that may have changed
   */
  rescan(settled: boolean): Promise<ReadonlySet<string>>;
  /**
   * Reads one file, also when it does not look changed.
   * @param settled whether to believe in what may be a file half-way through being written: one that has problems or has lost objects. If not, nothing
   *   changes and `onUnsettled` is called.
   */
  load(path: string, settled: boolean): ReadonlySet<string>;
  /** The object of this key in the first file, by path, that has one. */
  first(key: string): ManifestObject | undefined;
  keys(): Iterable<string>;
  /** Directories that the last `rescan` found. */
  directories(): readonly string[];
  /** Whether each file could be read and understood, so that an object which is in none of them really is not there. */
  isCertain(): boolean;
  problems(): Problem[];
}

interface FileState {
  /** Empty: not to be trusted, see RACY_MS. */
  readonly signature: string;
  readonly hash: string;
  readonly objects: readonly ManifestObject[];
  readonly problems: readonly Problem[];
  readonly uncertain: boolean;
}

/** A file this young may change again without a visible change of its time stamps: the kernel's clock for them ticks every 1–10 ms. */
const RACY_MS = 50;
/** Larger than any manifest; a core dump named .json should not take the memory. */
const MAX_BYTES = 64 << 20;

export function createManifestFiles(dir: string, onUnsettled: (path: string) => void): ManifestFiles {
  const files = new Map<string, FileState>();
  const sources = new Map<string, ManifestObject[]>();
  const repeated = new Set<string>();
  let directories: readonly string[] = [];
  let treeProblems: readonly Problem[] = [];

  async function rescan(settled: boolean): Promise<ReadonlySet<string>> {
    if (isGone()) {
      treeProblems = [{ source: dir, message: 'is gone; what was in it last still counts' }];
      return new Set();
    }
    const tree = await walkManifests(dir);
    directories = tree.directories;
    treeProblems = tree.problems;
    const touched = new Set<string>();
    const present = new Set(tree.files);
    const gone = [...files.keys()].filter((path) => !present.has(path));
    let count = 0;
    for (const path of [...gone, ...tree.files]) {
      const known = files.get(path);
      if (known !== undefined && known.signature !== '' && known.signature === signatureOf(tryStat(path))) continue;
      for (const key of load(path, settled)) touched.add(key);
      if (++count % 100 === 0) await setImmediate();
    }
    return touched;
  }

  function load(path: string, settled: boolean): ReadonlySet<string> {
    const before = files.get(path);
    const next = readState(path, before);
    if (next === before || (next === undefined && isGone())) return new Set();
    if (!settled && (next?.hash !== before?.hash || next === undefined) && isDoubtful(before, next)) {
      onUnsettled(path);
      return new Set();
    }
    return replace(path, before, next);
  }

  /** Unmounted, or removed as a whole: nobody took single objects away. */
  function isGone(): boolean {
    return tryStat(dir) === undefined;
  }

  function replace(path: string, before: FileState | undefined, next: FileState | undefined): ReadonlySet<string> {
    if (next === undefined) files.delete(path);
    else files.set(path, next);
    if (before?.objects === next?.objects) return new Set();
    const touched = new Set([...(before?.objects ?? []), ...(next?.objects ?? [])].map(({ key }) => key));
    const added = Map.groupBy(next?.objects ?? [], ({ key }) => key);
    for (const key of touched) {
      const others = (sources.get(key) ?? []).filter(({ file }) => file !== path);
      const all = [...others, ...(added.get(key) ?? [])].toSorted((a, b) => compareText(a.file, b.file));
      if (all.length === 0) sources.delete(key);
      else sources.set(key, all);
      if (all.length > 1) repeated.add(key);
      else repeated.delete(key);
    }
    return touched;
  }

  function repetitions(): Problem[] {
    return [...repeated].flatMap((key) => {
      const [first, ...others] = sources.get(key) ?? [];
      return others.map(({ file, line, object: { kind, metadata } }) => ({
        source: file,
        ...(line !== undefined && { line }),
        message: `${kind} ${metadata.name} is in ${first?.file}:${first?.line} already: this one is not used`,
      }));
    });
  }

  return {
    rescan,
    load,
    first: (key) => sources.get(key)?.[0],
    keys: () => sources.keys(),
    directories: () => directories,
    isCertain: () => treeProblems.length === 0 && ![...files.values()].some(({ problems }) => problems.length > 0),
    problems: () => [...treeProblems, ...[...files.values()].flatMap(({ problems }) => problems), ...repetitions()],
  };
}

/** What `path` holds now; undefined: no file; `before` itself: the same as before. */
function readState(path: string, before: FileState | undefined): FileState | undefined {
  const content = readContent(path);
  if (content === undefined) return undefined;
  if ('problem' in content)
    return { ...(before ?? EMPTY), hash: '', signature: content.signature, problems: [content.problem], uncertain: true };
  const { bytes, signature } = content;
  const hash = createHash('sha1').update(bytes).digest('hex');
  if (hash === before?.hash) return signature === before.signature ? before : { ...before, signature };
  const manifest = isUtf8(bytes) ? parseManifest(bytes.toString('utf8'), path) : notText(path);
  const present = new Set(manifest.objects.map(({ key }) => key));
  const lastGood = (before?.objects ?? []).filter(({ key }) => !present.has(key) && (manifest.uncertain || manifest.invalid.has(key)));
  return { signature, hash, objects: [...manifest.objects, ...lastGood], problems: manifest.problems, uncertain: manifest.uncertain };
}

const EMPTY: FileState = { signature: '', hash: '', objects: [], problems: [], uncertain: false };

function notText(path: string): ReturnType<typeof parseManifest> {
  return { objects: [], problems: [{ source: path, message: 'is no text in UTF-8' }], passedOver: 0, invalid: new Set(), uncertain: true };
}

function isDoubtful(before: FileState | undefined, next: FileState | undefined): boolean {
  if (next !== undefined && next.problems.length > 0) return true;
  const present = new Set(next?.objects.map(({ key }) => key));
  return before?.objects.some(({ key }) => !present.has(key)) ?? false;
}

type Content = { readonly bytes: Buffer; readonly signature: string } | { readonly problem: Problem; readonly signature: string };

function readContent(path: string): Content | undefined {
  try {
    const stats = statSync(path);
    // Opening a FIFO would wait for its writer.
    if (!stats.isFile()) return undefined;
    if (stats.size > MAX_BYTES)
      return { problem: { source: path, message: `is too large: ${stats.size} bytes` }, signature: signatureOf(stats) };
    const isRacy = Date.now() - Math.max(stats.mtimeMs, stats.ctimeMs) < RACY_MS;
    return { bytes: readFileSync(path), signature: isRacy ? '' : signatureOf(stats) };
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    return { problem: { source: path, message: `cannot be read: ${messageOf(error)}` }, signature: '' };
  }
}

function signatureOf(stats: Stats | undefined): string {
  return stats === undefined ? '' : `${stats.dev}:${stats.ino}:${stats.size}:${stats.mtimeMs}:${stats.ctimeMs}`;
}
