import type { Kind, ObjectOf } from '../api/kinds.ts';
import type { Problem } from '../lib/errors.ts';

/** The stored object changed since it was read; read it again and decide anew. */
export class ConflictError extends Error {
  override readonly name = 'ConflictError';
}

/** What a watch delivers. `synced` follows the initial `set`s of all objects that were there when the watch began. */
export type WatchEvent<K extends Kind> =
  | { readonly type: 'set'; readonly object: ObjectOf<K> }
  | { readonly type: 'delete'; readonly name: string; readonly namespace: string | undefined }
  | { readonly type: 'synced' };

export interface Watch {
  /** Stops deliveries; nothing is delivered after it returns. */
  close(): void;
}

/**
 * The only door to the cluster's API. Objects are validated when read: an object that does not parse keeps its last good
 * form and is named in `problems()`. Every object returned has `metadata.resourceVersion`, an opaque text that
 * differs whenever the object differs. All objects are frozen in spirit: never modify one, write a new one.
 */
export interface ClusterStore {
  list<K extends Kind>(kind: K): Promise<readonly ObjectOf<K>[]>;
  /** @returns undefined when there is no such object. `namespace` matters for Lease and Event only. */
  get<K extends Kind>(kind: K, name: string, namespace?: string): Promise<ObjectOf<K> | undefined>;
  /** Calls `onEvent` for every object now, then `synced`, then for every change, in order. A burst may be delivered as its last state. */
  watch<K extends Kind>(kind: K, onEvent: (event: WatchEvent<K>) => void): Watch;
  /**
   * Replaces `status` of an object if its resourceVersion is still the one in `object.metadata`. Writes nothing when equal.
   * @throws {ConflictError} when it changed or is gone
   */
  updateStatus<K extends 'Node' | 'Gateway' | 'TunnelEndpoint'>(kind: K, object: ObjectOf<K>): Promise<ObjectOf<K>>;
  /**
   * Creates the object (no `metadata.resourceVersion`) or replaces all of it but its status (with one). For objects that Raven itself owns:
   * TunnelEndpoint, Lease, Event, exposing Services and EndpointSlices; and Node in the lab. Writes nothing when equal.
   * @throws {ConflictError} when it exists already, changed, or is gone
   */
  apply<K extends Kind>(kind: K, object: ObjectOf<K>): Promise<ObjectOf<K>>;
  /** Deletes an object that Raven owns; no error when there is none. */
  remove(kind: Kind, name: string, namespace?: string): Promise<void>;
  /** What is wrong with stored objects just now, with file and line where there are files. */
  problems(): readonly Problem[];
  /** Called after each change of `problems()`. */
  onProblems(listener: (problems: readonly Problem[]) => void): void;
  /** Closes all watches. */
  close(): Promise<void>;
}
