import { type FSWatcher, watch } from 'node:fs';
import { basename, join } from 'node:path';
import { messageOf } from '../../lib/errors.ts';
import { stateFolder } from './layout.ts';
import { isManifestName, tryStat } from './walk.ts';
import type { Kind } from '../../api/kinds.ts';

/** What may have changed, to be read again. */
export interface Changes {
  /** Path → whether the file has been left alone long enough to believe in it as it is. */
  readonly files: ReadonlyMap<string, boolean>;
  /** Names of files in the state folder of a kind. */
  readonly states: ReadonlyMap<Kind, ReadonlySet<string>>;
  /** Everything must be looked at: `quick` after a change of directories, `settled` now and then. */
  readonly rescan: 'quick' | 'settled' | undefined;
}

/** Tells what changes in a store's directories: by inotify(7), and by the clock since inotify may overflow, or be missing on network file systems. */
export interface ChangeFeed {
  /** Which directories matter from now on. @returns whether some of them are new, so that what happened in them before is not known */
  follow(directories: readonly string[], states: ReadonlyMap<string, Kind>): boolean;
  /** Asks for `path` again once nobody has written to it for a moment. */
  unsettled(path: string): void;
  /** What came up since the last call. */
  take(): Changes;
  close(): void;
}

export interface ChangeFeedOptions {
  readonly dir: string;
  /** How often everything is looked at, whatever inotify said. */
  readonly rescanMs: number;
  /** Something came up: call `take` soon. */
  readonly onChange: () => void;
  readonly warn: (message: string) => void;
}

/** One write is several events; this many milliseconds put them together. */
const QUIET_MS = 10;
/** A file that lost objects or does not parse is believed when nobody has written to it for so long: most writers need less from truncation to the end. */
const SETTLE_MS = 60;

interface Watched {
  readonly watcher: FSWatcher;
  readonly inode: number | undefined;
}

export function createChangeFeed({ dir, rescanMs, onChange, warn }: ChangeFeedOptions): ChangeFeed {
  const watched = new Map<string, Watched>();
  const settling = new Map<string, NodeJS.Timeout>();
  let kinds: ReadonlyMap<string, Kind> = new Map();
  let files = new Map<string, boolean>();
  let states = new Map<Kind, Set<string>>();
  let rescan: Changes['rescan'];
  let quiet: NodeJS.Timeout | undefined;
  let hasWarned = false;
  const clock = setInterval(() => {
    rescan = 'settled';
    onChange();
  }, rescanMs);

  function follow(directories: readonly string[], states: ReadonlyMap<string, Kind>): boolean {
    kinds = states;
    const wanted = new Set([...directories, stateFolder(dir), ...states.keys()]);
    for (const path of watched.keys()) if (!wanted.has(path)) unwatch(path);
    return [...wanted].map(ensureWatched).includes(true);
  }

  /** @returns whether the watch is new */
  function ensureWatched(path: string): boolean {
    const inode = tryStat(path)?.ino;
    const known = watched.get(path);
    if (known?.inode === inode) return false;
    if (known !== undefined) unwatch(path);
    if (inode === undefined) return false;
    try {
      const watcher = watch(path, (event, name) => noteEvent(path, event, name ?? undefined));
      watcher.on('error', (error) => failed(path, error));
      watched.set(path, { watcher, inode });
      return true;
    } catch (error) {
      failed(path, error);
      return false;
    }
  }

  function failed(path: string, error: unknown): void {
    unwatch(path);
    if (!hasWarned) warn(`${path} cannot be watched, changes are seen every ${rescanMs} ms only: ${messageOf(error)}`);
    hasWarned = true;
  }

  function unwatch(path: string): void {
    watched.get(path)?.watcher.close();
    watched.delete(path);
  }

  function noteEvent(directory: string, event: string, name: string | undefined): void {
    const kind = kinds.get(directory);
    const path = join(directory, name ?? '');
    if (name === undefined || directory === stateFolder(dir)) rescan ??= 'quick';
    else if (kind !== undefined) noteState(kind, name, event);
    else if (isManifestName(name) && !watched.has(path)) noteFile(path);
    // Others may keep logs here, which say nothing to us but change all the time: only new and vanished directories count.
    else if (event === 'rename' && isDirectoryEvent(path)) rescan ??= 'quick';
    else return;
    quiet ??= setTimeout(() => {
      quiet = undefined;
      onChange();
    }, QUIET_MS);
  }

  function noteState(kind: Kind, name: string, event: string): void {
    // An event about the folder itself bears its name: it was removed.
    if (event === 'rename' && name === basename(kind)) rescan ??= 'quick';
    const names = states.get(kind) ?? new Set();
    states.set(kind, names.add(name));
  }

  function noteFile(path: string): void {
    // A directory may be named so, too.
    if (tryStat(path)?.isDirectory() === true) rescan ??= 'quick';
    else files.set(path, false);
  }

  function isDirectoryEvent(path: string): boolean {
    if (basename(path).startsWith('.')) return false;
    return path === stateFolder(dir) || watched.has(path) || tryStat(path)?.isDirectory() === true;
  }

  return {
    follow,
    unsettled: (path) => {
      clearTimeout(settling.get(path));
      settling.set(
        path,
        setTimeout(() => {
          settling.delete(path);
          files.set(path, true);
          onChange();
        }, SETTLE_MS),
      );
    },
    take: () => {
      const changes: Changes = { files, states, rescan };
      files = new Map();
      states = new Map();
      rescan = undefined;
      return changes;
    },
    close: () => {
      clearInterval(clock);
      clearTimeout(quiet);
      for (const timer of settling.values()) clearTimeout(timer);
      for (const path of watched.keys()) unwatch(path);
    },
  };
}
