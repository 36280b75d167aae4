import type { Kind, ObjectOf } from '../api/kinds.ts';
import { systemClock } from '../lib/clock.ts';
import { type ClusterStore, ConflictError } from './cluster-store.ts';
import { createHub } from './hub.ts';
import {
  isSameJson,
  keyOf,
  keyOfObject,
  newObject,
  replaceAllButStatus,
  requireValid,
  type StoredObject,
  withResourceVersion,
} from './object.ts';

/**
 * A ClusterStore without a disk, for tests of what stands on one. Behaves as the others do (one conformance suite), except that
 * it lets anybody `apply` and `remove` objects of every kind: that is how a test plays the user.
 *
 * @throws when one of `objects` is not valid
 */
export function createMemoryStore(objects: readonly StoredObject[] = []): ClusterStore {
  const hub = createHub();
  let version = 0;

  function put<K extends Kind>(object: ObjectOf<K>): ObjectOf<K> {
    const stored = withResourceVersion(object, ++version);
    hub.set(stored);
    return stored;
  }

  function current<K extends Kind>(kind: K, object: ObjectOf<K>): ObjectOf<K> | undefined {
    return hub.get(kind, keyOfObject({ ...object, kind } as StoredObject)) as ObjectOf<K> | undefined;
  }

  function expect<K extends Kind>(kind: K, object: ObjectOf<K>): ObjectOf<K> {
    const found = current(kind, object);
    if (found === undefined) throw new ConflictError(`${kind} ${object.metadata.name} is gone`);
    if (found.metadata.resourceVersion !== object.metadata.resourceVersion)
      throw new ConflictError(`${kind} ${object.metadata.name} changed`);
    return found;
  }

  for (const object of objects) put(requireValid(object.kind, object));

  return {
    list: async (kind) => hub.list(kind) as ObjectOf<typeof kind>[],
    get: async (kind, name, namespace) => hub.get(kind, keyOf(kind, name, namespace)) as ObjectOf<typeof kind> | undefined,
    watch: (kind, onEvent) => hub.watch(kind, onEvent, Promise.resolve()),
    updateStatus: async (kind, object) => {
      const found = expect(kind, object);
      return isSameJson(found.status, object.status) ? found : put(requireValid(kind, { ...found, status: object.status }));
    },
    apply: async (kind, object) => {
      if (object.metadata.resourceVersion === undefined) {
        if (current(kind, object) !== undefined) throw new ConflictError(`${kind} ${object.metadata.name} exists already`);
        return put(newObject(kind, object, systemClock.now()));
      }
      const found = expect(kind, object);
      const next = replaceAllButStatus(kind, found, object);
      return isSameJson(found, next) ? found : put(next);
    },
    remove: async (kind, name, namespace) => hub.delete(kind, keyOf(kind, name, namespace)),
    problems: () => [],
    onProblems: () => undefined,
    close: async () => hub.close(),
  };
}
