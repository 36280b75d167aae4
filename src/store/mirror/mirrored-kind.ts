import type { Kind, ObjectOf } from '../../api/kinds.ts';
import type { Clock } from '../../lib/clock.ts';
import { messageOf } from '../../lib/errors.ts';
import type { ClusterStore, Watch, WatchEvent } from '../cluster-store.ts';
import { isSameJson, keyOf, keyOfObject, type StoredObject } from '../object.ts';
import type { CopyFile } from './copy-file.ts';
import { formatCopy, parseCopy } from './copy-format.ts';
import { type CopyWriter, createCopyWriter } from './copy-writer.ts';

/** Where what is delivered comes from: nowhere yet, the copy on disk, or the API. */
export type MirrorSource = 'none' | 'copy' | 'api';

export interface MirroredKindOptions<K extends Kind> {
  readonly kind: K;
  readonly store: ClusterStore;
  readonly file: CopyFile;
  readonly clock: Clock;
  readonly graceMs: number;
  readonly log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
}

/** One kind, watched once for all who want to know. */
export interface MirroredKind<K extends Kind> {
  watch(onEvent: (event: WatchEvent<K>) => void): Watch;
  source(): MirrorSource;
  /** When the copy on disk was written; undefined when none is known of. */
  savedMs(): number | undefined;
  close(): Promise<void>;
}

type Listener<K extends Kind> = (event: WatchEvent<K>) => void;

export function createMirroredKind<K extends Kind>({ kind, store, file, clock, graceMs, log }: MirroredKindOptions<K>): MirroredKind<K> {
  const objects = new Map<string, ObjectOf<K>>();
  /** What the API has delivered before its `synced`: it may still break off. */
  const fresh = new Map<string, ObjectOf<K>>();
  const listeners = new Set<Listener<K>>();
  let source: MirrorSource = 'none';
  let readMs: number | undefined;
  let closed = false;
  const writer: CopyWriter = createCopyWriter({
    path: file.path,
    render: () => formatCopy(kind, objects.values()),
    write: (text) => file.write(text),
    clock,
    log,
  });
  const remote = store.watch(kind, onRemote);
  const cancelGrace = clock.after(graceMs, () => void takeCopy());

  function onRemote(event: WatchEvent<K>): void {
    if (source === 'api') follow(event);
    else if (event.type === 'set') fresh.set(keyOfObject(event.object as StoredObject), event.object);
    else if (event.type === 'delete') fresh.delete(keyOf(kind, event.name, event.namespace));
    else takeOver();
  }

  function follow(event: WatchEvent<K>): void {
    if (event.type === 'synced') return;
    if (event.type === 'set') objects.set(keyOfObject(event.object as StoredObject), event.object);
    else objects.delete(keyOf(kind, event.name, event.namespace));
    emit(event);
    writer.request();
  }

  /** The API has spoken: from now on its word counts. Watchers who have the copy hear of the differences only. */
  function takeOver(): void {
    cancelGrace();
    const isFirst = source === 'none';
    source = 'api';
    for (const [key, { metadata }] of objects) {
      if (fresh.has(key)) continue;
      objects.delete(key);
      emit({ type: 'delete', name: metadata.name, namespace: metadata.namespace });
    }
    for (const [key, object] of fresh) {
      const known = objects.get(key);
      if (known !== undefined && isSameJson(known, object)) continue;
      objects.set(key, object);
      emit({ type: 'set', object });
    }
    fresh.clear();
    if (isFirst) emit({ type: 'synced' });
    else log.info({ kind, objects: objects.size }, 'the API server has answered; its objects replace the copy');
    writer.request();
  }

  async function takeCopy(): Promise<void> {
    const copy = await load();
    if (copy === undefined || source !== 'none' || closed) return;
    source = 'copy';
    readMs = copy.savedMs;
    for (const object of copy.objects) {
      objects.set(keyOfObject(object as StoredObject), object);
      emit({ type: 'set', object });
    }
    emit({ type: 'synced' });
    const ageSeconds = Math.round((clock.now() - copy.savedMs) / 1000);
    log.info({ kind, objects: objects.size, ageSeconds }, 'the API server does not answer; working with the copy on disk');
  }

  async function load(): Promise<{ readonly objects: readonly ObjectOf<K>[]; readonly savedMs: number } | undefined> {
    try {
      const found = await file.read();
      if (found === undefined) return undefined;
      const parsed = parseCopy(kind, found.text);
      if ('problem' in parsed) throw new Error(parsed.problem);
      if (parsed.skipped.length > 0) log.warn({ path: file.path, skipped: parsed.skipped }, 'some objects of the copy are not valid');
      return { objects: parsed.objects, savedMs: found.savedMs };
    } catch (error) {
      log.warn({ path: file.path, error: messageOf(error) }, 'the copy on disk cannot be used; waiting for the API server');
      return undefined;
    }
  }

  function emit(event: WatchEvent<K>): void {
    for (const listener of listeners) deliver(listener, event);
  }

  function watch(onEvent: Listener<K>): Watch {
    let open = true;
    const listener: Listener<K> = (event) => {
      if (open) onEvent(event);
    };
    // Nothing is delivered before `watch` returns.
    queueMicrotask(() => {
      if (!open || closed) return;
      listeners.add(listener);
      if (source === 'none') return;
      for (const object of objects.values()) deliver(listener, { type: 'set', object });
      deliver(listener, { type: 'synced' });
    });
    return {
      close: () => {
        open = false;
        listeners.delete(listener);
      },
    };
  }

  return {
    watch,
    source: () => source,
    savedMs: () => writer.savedMs() ?? readMs,
    close: async () => {
      closed = true;
      cancelGrace();
      remote.close();
      listeners.clear();
      await writer.close();
    },
  };
}

/** A watcher that throws is a bug of its own: it must not keep the others from their events, and must not be hidden either. */
function deliver<K extends Kind>(listener: Listener<K>, event: WatchEvent<K>): void {
  try {
    listener(event);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
