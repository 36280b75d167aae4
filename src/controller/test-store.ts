import type { Kind } from '../api/kinds.ts';
import type { ClusterStore } from '../store/cluster-store.ts';
import { createMemoryStore } from '../store/memory.ts';
import type { StoredObject } from '../store/object.ts';

/** A store in memory that says what the controller wrote, and fails when told to. */
export interface TestStore extends ClusterStore {
  /** `Gateway/b`, one for each write that changed something. */
  readonly writes: string[];
  /** Creates or replaces all of an object but its status, as kubectl or a kubelet would; a Node with its status. */
  put(object: StoredObject): Promise<void>;
  /** Called before each status write; may throw, or change the store. */
  beforeUpdate: (kind: Kind, name: string) => Promise<void> | void;
}

export function createTestStore(objects: readonly StoredObject[]): TestStore {
  const inner = createMemoryStore(objects);
  const writes: string[] = [];

  async function noting<T extends StoredObject>(before: string | undefined, write: Promise<T>): Promise<T> {
    const after = await write;
    if (after.metadata.resourceVersion !== before) writes.push(`${after.kind}/${after.metadata.name}`);
    return after;
  }

  const store: TestStore = {
    ...inner,
    writes,
    beforeUpdate: () => undefined,
    put: async (object) => {
      const { kind, metadata } = object;
      const resourceVersion = (await inner.get(kind, metadata.name))?.metadata.resourceVersion;
      const stored = await inner.apply(kind, {
        ...object,
        metadata: { ...metadata, ...(resourceVersion !== undefined && { resourceVersion }) },
      });
      if (object.kind === 'Node') await inner.updateStatus('Node', { ...object, metadata: stored.metadata });
    },
    updateStatus: async (kind, object) => {
      await store.beforeUpdate(kind, object.metadata.name);
      return noting(object.metadata.resourceVersion, inner.updateStatus(kind, object));
    },
    apply: (kind, object) => noting(object.metadata.resourceVersion, inner.apply(kind, object)),
  };
  return store;
}
