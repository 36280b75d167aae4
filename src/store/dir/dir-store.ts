import { normalize } from 'node:path';
import { type Kind, KINDS, type ObjectOf } from '../../api/kinds.ts';
import { systemClock } from '../../lib/clock.ts';
import { compareText } from '../../lib/compare.ts';
import { formatProblem, messageOf, type Problem, UserError } from '../../lib/errors.ts';
import { type ClusterStore, ConflictError } from '../cluster-store.ts';
import { createHub } from '../hub.ts';
import { isSameJson, keyOf, keyOfObject, newObject, replaceAllButStatus, type StoredObject } from '../object.ts';
import { type ChangeFeed, createChangeFeed } from './change-feed.ts';
import { kindFolder } from './layout.ts';
import { createManifestFiles, type ManifestFiles } from './manifest-files.ts';
import { mergeObject, stateOf } from './merge.ts';
import { createStateFolder, type StateFolder } from './state-folder.ts';
import { type Fields, nameOf, type ObjectName } from './state-file.ts';
import { tryStat } from './walk.ts';

export interface DirStoreOptions {
  /** Hears what does not stop the store but an operator should know. */
  readonly log?: { warn(fields: object, message: string): void };
  /** How often everything is looked at, in case inotify missed something. */
  readonly rescanMs?: number;
}

/** Often enough to repair what inotify lost before anybody asks; 10,000 files cost about 100 ms each time. */
const RESCAN_MS = 5_000;

/**
 * Opens a directory of manifests as a cluster. People's files are only ever read; what Raven adds goes to `stateFolder(dir)`.
 * Any number of processes may have the same directory open.
 *
 * @throws {UserError} when there is no such directory
 */
export async function openDirStore(dir: string, options: DirStoreOptions = {}): Promise<ClusterStore> {
  if (tryStat(dir)?.isDirectory() !== true) throw new UserError([{ source: dir, message: 'is no directory' }]);
  const store = createDirStore(normalize(dir), options);
  await store.open();
  return store;
}

function createDirStore(dir: string, { log, rescanMs = RESCAN_MS }: DirStoreOptions): ClusterStore & { open(): Promise<void> } {
  const hub = createHub();
  const serially = createQueue();
  const files: ManifestFiles = createManifestFiles(dir, (path) => feed?.unsettled(path));
  /** Only of the kinds that somebody asked for: an agent need not wake for each heartbeat of a kubelet. */
  const folders = new Map<Kind, StateFolder>();
  const written = new Set<Kind>();
  const stateProblems = new Map<string, readonly Problem[]>();
  const listeners: ((problems: readonly Problem[]) => void)[] = [];
  let feed: ChangeFeed | undefined;
  let mayHaveOrphans = false;
  let announced = '';
  let closed = false;

  function folderOf(kind: Kind): StateFolder {
    const known = folders.get(kind);
    if (known !== undefined) return known;
    const folder = createStateFolder(dir, kind);
    folders.set(kind, folder);
    folder.sync();
    update(keysOf(kind));
    followTree();
    return folder;
  }

  function keysOf(kind: Kind): string[] {
    const added = [...(folders.get(kind)?.entries() ?? [])].map(({ key }) => key);
    return [...[...files.keys()].filter((key) => kindOfKey(key) === kind), ...added];
  }

  function update(keys: Iterable<string>): void {
    for (const key of keys) {
      const kind = kindOfKey(key);
      const folder = kind === undefined ? undefined : folders.get(kind);
      if (kind === undefined || folder === undefined) continue;
      const { object, problems } = mergeObject(kind, files.first(key), folder.get(key), hub.get(kind, key));
      if (object === undefined) hub.delete(kind, key);
      else hub.set(object);
      if (problems.length > 0) stateProblems.set(key, problems);
      else stateProblems.delete(key);
    }
  }

  function updateFromFiles(keys: ReadonlySet<string>): void {
    mayHaveOrphans ||= keys.size > 0;
    update(keys);
  }

  /** Reads what the feed says has changed, or everything when there is no feed. */
  async function readChanges(): Promise<void> {
    const changes = feed?.take();
    if (changes === undefined || changes.rescan !== undefined) {
      await rescan(changes?.rescan !== 'quick');
    } else {
      for (const [kind, names] of changes.states) update(folders.get(kind)?.touch([...names]) ?? []);
    }
    for (const [path, settled] of changes?.files ?? []) updateFromFiles(files.load(path, settled));
    await dropOrphans();
    announceProblems();
  }

  async function rescan(settled: boolean): Promise<void> {
    updateFromFiles(await files.rescan(settled));
    for (const folder of folders.values()) update(folder.sync());
    // What was made in a new directory before it was watched is found by looking again.
    if (followTree()) await rescan(settled);
  }

  function followTree(): boolean {
    const states = new Map([...folders.keys()].map((kind) => [kindFolder(dir, kind), kind]));
    return feed?.follow(files.directories(), states) ?? false;
  }

  /**
   * A person's object went: what was added to it goes too, so that a later one of its name begins anew. Done by those
   * processes which write such additions, and only while every file can be read.
   */
  async function dropOrphans(): Promise<void> {
    if (!mayHaveOrphans || written.size === 0 || !files.isCertain()) return;
    mayHaveOrphans = false;
    for (const kind of written) {
      for (const { key, isOverlay, value } of folders.get(kind)?.entries() ?? []) {
        if (!isOverlay || value === undefined || files.first(key) !== undefined) continue;
        await write(kind, nameOf(value), undefined).catch((error: unknown) => {
          if (!(error instanceof ConflictError)) warn(error);
        });
      }
    }
  }

  function problems(): Problem[] {
    const broken = [...folders.values()].flatMap((folder) => [...folder.entries()]).filter(({ key }) => kindOfKey(key) === undefined);
    const all = [...files.problems(), ...[...stateProblems.values()].flat(), ...broken.flatMap(({ problem }) => problem ?? [])];
    return all.toSorted((a, b) => compareText(a.source ?? '', b.source ?? '') || (a.line ?? 0) - (b.line ?? 0));
  }

  function announceProblems(): void {
    const now = problems();
    const text = now.map(formatProblem).join('\n');
    if (text === announced) return;
    announced = text;
    for (const listener of listeners) listener(now);
  }

  function warn(error: unknown): void {
    log?.warn({ store: dir }, messageOf(error));
  }

  function startFeed(): void {
    if (feed !== undefined || closed) return;
    feed = createChangeFeed({ dir, rescanMs, onChange: () => void serially(readChanges).catch(warn), warn });
    void serially(async () => {
      followTree();
      await rescan(true);
      announceProblems();
    }).catch(warn);
  }

  /** All objects of a kind as they are on disk now. */
  async function freshen(kind: Kind): Promise<void> {
    const folder = folderOf(kind);
    await readChanges();
    update(folder.sync());
  }

  /** The object as it is on disk now, which must be the one that the caller has seen. */
  async function expectCurrent<K extends Kind>(kind: K, object: ObjectOf<K>): Promise<ObjectOf<K>> {
    const { name, namespace, resourceVersion } = object.metadata;
    await freshen(kind);
    const found = hub.get(kind, keyOf(kind, name, namespace));
    if (found === undefined) throw new ConflictError(`${kind} ${name} is gone`);
    if (found.metadata.resourceVersion !== resourceVersion) throw new ConflictError(`${kind} ${name} changed`);
    return found as ObjectOf<K>;
  }

  async function put<K extends Kind>(kind: K, object: ObjectOf<K>, isPersons: boolean): Promise<ObjectOf<K>> {
    await write(kind, { name: object.metadata.name, namespace: object.metadata.namespace }, stateOf(object, isPersons));
    const stored = hub.get(kind, keyOfObject(object));
    if (stored === undefined) throw new ConflictError(`${kind} ${object.metadata.name} is gone`);
    return stored as ObjectOf<K>;
  }

  async function write(kind: Kind, object: ObjectName, body: Fields | undefined): Promise<void> {
    const folder = folderOf(kind);
    try {
      update(await folder.write(object, body));
      mayHaveOrphans ||= !written.has(kind);
      written.add(kind);
    } finally {
      update(folder.sync());
      followTree();
    }
  }

  function refusePersons(kind: Kind, object: StoredObject): void {
    const person = files.first(keyOfObject(object));
    if (person === undefined) return;
    throw new UserError([
      {
        source: person.file,
        ...(person.line !== undefined && { line: person.line }),
        message: `${kind} ${object.metadata.name} is a person's: it can only be changed there`,
      },
    ]);
  }

  return {
    open: () => serially(async () => void (await files.rescan(true))),
    list: (kind) =>
      serially(async () => {
        await freshen(kind);
        return hub.list(kind) as ObjectOf<typeof kind>[];
      }),
    get: (kind, name, namespace) =>
      serially(async () => {
        await freshen(kind);
        return hub.get(kind, keyOf(kind, name, namespace)) as ObjectOf<typeof kind> | undefined;
      }),
    watch: (kind, onEvent) => {
      startFeed();
      return hub.watch(
        kind,
        onEvent,
        serially(async () => void folderOf(kind)),
      );
    },
    updateStatus: (kind, object) =>
      serially(async () => {
        const found = await expectCurrent(kind, object);
        if (isSameJson(found.status, object.status)) return found;
        const isPersons = files.first(keyOfObject(found)) !== undefined;
        // A person's object gets its uid and time when Raven first has something to say about it.
        return put(kind, newObject(kind, { ...found, status: object.status }, systemClock.now()), isPersons);
      }),
    apply: (kind, object) =>
      serially(async () => {
        const { name, namespace, resourceVersion } = object.metadata;
        if (resourceVersion !== undefined) {
          const found = await expectCurrent(kind, object);
          const next = replaceAllButStatus(kind, found, object);
          if (isSameJson(found, next)) return found;
          refusePersons(kind, found);
          return put(kind, next, false);
        }
        await freshen(kind);
        if (hub.get(kind, keyOf(kind, name, namespace)) !== undefined) throw new ConflictError(`${kind} ${name} exists already`);
        return put(kind, newObject(kind, object, systemClock.now()), false);
      }),
    remove: (kind, name, namespace) =>
      serially(async () => {
        for (;;) {
          await freshen(kind);
          const found = hub.get(kind, keyOf(kind, name, namespace));
          if (found === undefined) return;
          refusePersons(kind, found);
          try {
            return await write(kind, { name, namespace: found.metadata.namespace }, undefined);
          } catch (error) {
            if (!(error instanceof ConflictError)) throw error;
          }
        }
      }),
    problems,
    onProblems: (listener) => {
      listeners.push(listener);
      startFeed();
    },
    close: async () => {
      closed = true;
      feed?.close();
      hub.close();
      await serially(async () => undefined);
      feed?.close();
    },
  };
}

/** Runs tasks one after the other, each once the one before has ended, however it ended. */
function createQueue(): <T>(task: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (task) => {
    const run = last.then(task);
    last = run.catch(() => undefined);
    return run;
  };
}

function kindOfKey(key: string): Kind | undefined {
  return KINDS.find((kind) => key.startsWith(`${kind}/`));
}
