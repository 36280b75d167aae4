import { type Kind, KINDS, type ObjectOf } from '../../api/kinds.ts';
import { type Clock, systemClock } from '../../lib/clock.ts';
import type { Problem } from '../../lib/errors.ts';
import { type ClusterStore, ConflictError } from '../cluster-store.ts';
import { createHub } from '../hub.ts';
import { isSameJson, keyOf, keyOfObject, parseObject, replaceAllButStatus, requireValid, type StoredObject } from '../object.ts';
import type { KubeClient } from './kube-client.ts';
import { isAbsent, listRaw, type RawObject } from './list.ts';
import { type Reflector, startReflector } from './reflector.ts';
import { resourcePath } from './resource-path.ts';
import { createRetried } from './retry.ts';
import { createWriter } from './write.ts';

export interface KubeStoreOptions {
  readonly client: KubeClient;
  /** `metadata.managedFields` names it. */
  readonly fieldManager: string;
  /** Kinds of which only one namespace may be read. */
  readonly namespaces?: Partial<Readonly<Record<Kind, string>>>;
  readonly fieldSelectors?: Partial<Readonly<Record<Kind, string>>>;
  readonly onFailure?: (kind: Kind, error: unknown, retryInMs: number) => void;
  readonly clock?: Clock;
  readonly random?: () => number;
}

export interface KubeStore extends ClusterStore {
  /** When the API server last answered a list or watch (epoch milliseconds); undefined before the first answer. */
  lastContactMs(): number | undefined;
  /** Whether what is watched of this kind is complete. */
  isSynced(kind: Kind): boolean;
}

/**
 * The cluster's API itself. Each kind that is watched is kept here whole, by one list and watch for all watchers; `get` and `list` ask the API server,
 * so that who writes after a conflict decides on what is there now.
 */
export function createKubeStore(options: KubeStoreOptions): KubeStore {
  const { client, fieldManager, namespaces = {}, fieldSelectors = {}, onFailure, clock = systemClock, random = Math.random } = options;
  const hub = createHub();
  const retried = createRetried(clock, random);
  const writer = createWriter({ client, fieldManager, retried });
  const reflectors = new Map<Kind, Reflector>();
  const listeners: ((problems: readonly Problem[]) => void)[] = [];
  /** What was wrong when a kind that is not watched was listed. */
  const listed = new Map<Kind, readonly Problem[]>();
  let lastContactMs: number | undefined;

  function reflectorOf(kind: Kind): Reflector {
    const found = reflectors.get(kind);
    if (found !== undefined) return found;
    const started = startReflector({
      client,
      kind,
      namespace: namespaces[kind],
      fieldSelector: fieldSelectors[kind],
      hub,
      clock,
      random,
      onContact: () => (lastContactMs = clock.now()),
      onFailure: (error, retryInMs) => onFailure?.(kind, error, retryInMs),
      onProblems: tellProblems,
    });
    reflectors.set(kind, started);
    return started;
  }

  function tellProblems(): void {
    for (const listener of listeners) listener(problems());
  }

  function problems(): Problem[] {
    return KINDS.flatMap((kind) => reflectors.get(kind)?.problems() ?? listed.get(kind) ?? []);
  }

  async function list<K extends Kind>(kind: K): Promise<readonly ObjectOf<K>[]> {
    const { items } = await listRaw(client, { kind, namespace: namespaces[kind], fieldSelector: fieldSelectors[kind] }).catch(
      noneWhenAbsent,
    );
    const parsed = items.map((item) => ({ key: keyOfObject({ ...item, kind } as unknown as StoredObject), ...parseObject(kind, item) }));
    const wrong = parsed.flatMap((each) =>
      'errors' in each ? each.errors.map(({ path, message }) => ({ source: each.key, path, message })) : [],
    );
    const isNew = !isSameJson(listed.get(kind) ?? [], wrong);
    listed.set(kind, wrong);
    if (isNew && !reflectors.has(kind)) tellProblems();
    const objects = parsed.flatMap((each) => ('object' in each ? [{ key: each.key, object: each.object }] : []));
    return objects.toSorted((a, b) => (a.key < b.key ? -1 : 1)).map(({ object }) => object);
  }

  async function get<K extends Kind>(kind: K, name: string, namespace?: string): Promise<ObjectOf<K> | undefined> {
    try {
      const raw = await client.request<RawObject>({ method: 'GET', path: resourcePath(kind, name, namespace) });
      return parseOrLastGood(kind, raw, keyOf(kind, name, namespace));
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  /** @throws when the object does not parse and never did */
  function parseOrLastGood<K extends Kind>(kind: K, raw: RawObject, key: string): ObjectOf<K> {
    const parsed = parseObject(kind, raw);
    if ('object' in parsed) return parsed.object;
    const known = hub.get(kind, key) as ObjectOf<K> | undefined;
    if (known === undefined) throw new Error(parsed.errors.map(({ path, message }) => `${key} ${path}: ${message}`).join('\n'));
    return known;
  }

  async function apply<K extends Kind>(kind: K, object: ObjectOf<K>): Promise<ObjectOf<K>> {
    const { name, namespace, resourceVersion } = object.metadata;
    if (resourceVersion === undefined) return requireValid(kind, await writer.create(requireValid(kind, object)));
    const found = await retried(() => get(kind, name, namespace));
    if (found === undefined) throw new ConflictError(`${kind} ${name} is gone`);
    if (found.metadata.resourceVersion !== resourceVersion) throw new ConflictError(`${kind} ${name} changed`);
    const next = replaceAllButStatus(kind, found, object);
    // What the API server and other writers added stays, so equal means: nothing of ours is missing or different.
    if (isSameJson(ownPart(found), ownPart(next))) return found;
    return requireValid(kind, await writer.replace(next));
  }

  async function updateStatus<K extends 'Node' | 'Gateway' | 'TunnelEndpoint'>(kind: K, object: ObjectOf<K>): Promise<ObjectOf<K>> {
    const { name, resourceVersion } = object.metadata;
    const found = await retried(() => get(kind, name));
    if (found === undefined) throw new ConflictError(`${kind} ${name} is gone`);
    if (found.metadata.resourceVersion !== resourceVersion) throw new ConflictError(`${kind} ${name} changed`);
    if (isSameJson(found.status, object.status)) return found;
    return requireValid(kind, await writer.replaceStatus(object));
  }

  return {
    list,
    get,
    watch: (kind, onEvent) => hub.watch(kind, onEvent, reflectorOf(kind).synced),
    updateStatus,
    apply,
    remove: (kind, name, namespace) => writer.remove(kind, name, namespace),
    problems,
    onProblems: (listener) => void listeners.push(listener),
    lastContactMs: () => lastContactMs,
    isSynced: (kind) => reflectors.get(kind)?.isSynced() ?? false,
    close: async () => {
      for (const reflector of reflectors.values()) reflector.stop();
      hub.close();
      await client.close();
    },
  };
}

function noneWhenAbsent(error: unknown): { readonly items: readonly RawObject[] } {
  if (isAbsent(error)) return { items: [] };
  throw error;
}

/** The object without what the API server keeps about it. */
function ownPart(object: StoredObject): unknown {
  const { managedFields: _, generation: __, uid: ___, creationTimestamp: ____, ...metadata } = object.metadata;
  return { ...object, metadata };
}
