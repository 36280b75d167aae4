import { KINDS, type Kind } from '../api/kinds.ts';
import type { Watch, WatchEvent } from './cluster-store.ts';
import { keyOfObject, type StoredObject } from './object.ts';

/** The objects as a store sees them now, and those who watch them. */
export interface Hub {
  get(kind: Kind, key: string): StoredObject | undefined;
  /** In order of namespace and name. */
  list(kind: Kind): StoredObject[];
  /** Tells the watchers only if the resourceVersion differs from what is here. */
  set(object: StoredObject): void;
  delete(kind: Kind, key: string): void;
  /** Delivers what is here once `ready` resolves, then every change. */
  watch<K extends Kind>(kind: K, onEvent: (event: WatchEvent<K>) => void, ready: Promise<unknown>): Watch;
  close(): void;
}

type Listener = (event: WatchEvent<Kind>) => void;

export function createHub(): Hub {
  const objects = new Map<Kind, Map<string, StoredObject>>(KINDS.map((kind) => [kind, new Map()]));
  const listeners = new Map<Kind, Set<Listener>>(KINDS.map((kind) => [kind, new Set()]));

  let closed = false;

  function ofKind<T>(map: ReadonlyMap<Kind, T>, kind: Kind): T {
    const found = map.get(kind);
    if (found === undefined) throw new Error(`no such kind: ${kind}`);
    return found;
  }

  function emit(kind: Kind, event: WatchEvent<Kind>): void {
    for (const listener of ofKind(listeners, kind)) deliver(listener, event);
  }

  return {
    get: (kind, key) => ofKind(objects, kind).get(key),
    list: (kind) => [...ofKind(objects, kind)].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object),
    set: (object) => {
      const all = ofKind(objects, object.kind);
      const key = keyOfObject(object);
      if (all.get(key)?.metadata.resourceVersion === object.metadata.resourceVersion) return;
      all.set(key, object);
      emit(object.kind, { type: 'set', object });
    },
    delete: (kind, key) => {
      const object = ofKind(objects, kind).get(key);
      if (object === undefined) return;
      ofKind(objects, kind).delete(key);
      emit(kind, { type: 'delete', name: object.metadata.name, namespace: object.metadata.namespace });
    },
    watch: (kind, onEvent, ready) => {
      let open = true;
      const listener: Listener = (event) => {
        if (open) onEvent(event as Parameters<typeof onEvent>[0]);
      };
      void ready.then(() => {
        if (!open || closed) return;
        for (const object of ofKind(objects, kind).values()) deliver(listener, { type: 'set', object });
        deliver(listener, { type: 'synced' });
        ofKind(listeners, kind).add(listener);
      });
      return {
        close: () => {
          open = false;
          ofKind(listeners, kind).delete(listener);
        },
      };
    },
    close: () => {
      closed = true;
      for (const set of listeners.values()) set.clear();
    },
  };
}

/** A watcher that throws is a bug of its own: it must not keep the others from their events, and must not be hidden either. */
function deliver(listener: Listener, event: WatchEvent<Kind>): void {
  try {
    listener(event);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
