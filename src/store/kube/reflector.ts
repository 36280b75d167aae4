import type { Kind } from '../../api/kinds.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Problem } from '../../lib/errors.ts';
import type { Hub } from '../hub.ts';
import { keyOfObject, type ObjectError, parseObject, type StoredObject } from '../object.ts';
import { KubeApiError, type KubeClient } from './kube-client.ts';
import { isAbsent, listRaw, type RawObject } from './list.ts';
import { resourcePath } from './resource-path.ts';

/** Keeps a hub's objects of one kind what the API server has. */
export interface Reflector {
  /** Resolves with the first complete list. */
  readonly synced: Promise<void>;
  isSynced(): boolean;
  /** Objects that the API server holds and that do not parse; the hub keeps their last good form. */
  problems(): readonly Problem[];
  stop(): void;
}

export interface ReflectorOptions {
  readonly client: KubeClient;
  readonly kind: Kind;
  /** Only objects of this namespace; all when absent. */
  readonly namespace: string | undefined;
  /** As `kubectl get --field-selector`. */
  readonly fieldSelector: string | undefined;
  readonly hub: Hub;
  readonly clock: Clock;
  /** 0 ≤ x < 1. */
  readonly random: () => number;
  /** The API server answered. */
  readonly onContact: () => void;
  readonly onFailure: (error: unknown, retryInMs: number) => void;
  readonly onProblems: () => void;
}

interface WatchLine {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: { readonly metadata?: { readonly resourceVersion?: string }; readonly code?: number; readonly message?: string };
}

/** How long one watch lives at most: so that watches spread over several API servers again. client-go takes 5 to 10 minutes, too. */
const MIN_WATCH_S = 300;
/** Back-off with full jitter ("Exponential Backoff And Jitter"): a thousand agents must not come back in step. */
const FIRST_DELAY_MS = 500;
const MAX_DELAY_MS = 30_000;
/** A kind that the cluster does not know (yet): its CustomResourceDefinition may be installed later. */
const ABSENT_DELAY_MS = 30_000;

/**
 * List, then watch from that version on, resumed with the last version or bookmark when the connection ends; listed anew when the API server has
 * forgotten that version (410 Gone). After a new list the hub hears only of differences. Kubernetes docs: "Efficient detection of changes".
 */
export function startReflector(options: ReflectorOptions): Reflector {
  const { client, kind, namespace, fieldSelector, hub, clock, random } = options;
  const path = resourcePath(kind, undefined, namespace);
  const stop = new AbortController();
  const first = Promise.withResolvers<void>();
  const wrong = new Map<string, readonly Problem[]>();
  let failures = 0;
  let isSynced = false;

  async function run(): Promise<void> {
    let version: string | undefined;
    while (!stop.signal.aborted) {
      try {
        version ??= await list();
        failures = 0;
        version = await watch(version);
      } catch (error) {
        if (stop.signal.aborted) return;
        if (isGone(error)) version = undefined;
        else if (isAbsent(error)) {
          version = undefined;
          replaceAll([]);
          await pause(ABSENT_DELAY_MS);
        } else {
          const delayMs = Math.min(FIRST_DELAY_MS * 2 ** failures++, MAX_DELAY_MS) * random();
          options.onFailure(error, delayMs);
          await pause(delayMs);
        }
      }
    }
  }

  /** @returns the version of the list */
  async function list(): Promise<string> {
    const request = { kind, namespace, fieldSelector, signal: stop.signal };
    const { version, items } = await listRaw(client, request, options.onContact);
    replaceAll(items);
    return version;
  }

  function replaceAll(items: readonly RawObject[]): void {
    const before = new Set(hub.list(kind).map(keyOfObject));
    for (const item of items) before.delete(take(item));
    for (const key of before) drop(key);
    isSynced = true;
    first.resolve();
  }

  /** @returns the last version seen, when the server ends the watch in good order */
  async function watch(from: string): Promise<string> {
    let version = from;
    const timeoutSeconds = String(Math.round(MIN_WATCH_S * (1 + random())));
    const query = { watch: '1', allowWatchBookmarks: 'true', resourceVersion: version, timeoutSeconds, fieldSelector };
    for await (const line of client.watch({ method: 'GET', path, query, signal: stop.signal })) {
      if (stop.signal.aborted) break;
      options.onContact();
      const { type, object } = line as WatchLine;
      if (type === 'ERROR') throw new KubeApiError(object.code ?? 0, 'WatchError', object.message ?? 'the API server ended the watch');
      failures = 0;
      if (type === 'DELETED') drop(keyOfRaw(object as RawObject));
      else if (type !== 'BOOKMARK') take(object as RawObject);
      version = object.metadata?.resourceVersion ?? version;
    }
    return version;
  }

  /** @returns the object's key */
  function take(raw: RawObject): string {
    const key = keyOfRaw(raw);
    const parsed = parseObject(kind, raw);
    if ('errors' in parsed) setProblems(key, parsed.errors);
    else {
      setProblems(key, []);
      hub.set(parsed.object as StoredObject);
    }
    return key;
  }

  function drop(key: string): void {
    setProblems(key, []);
    hub.delete(kind, key);
  }

  function setProblems(key: string, errors: readonly ObjectError[]): void {
    if (errors.length === 0 && !wrong.has(key)) return;
    if (errors.length === 0) wrong.delete(key);
    else
      wrong.set(
        key,
        errors.map(({ path: field, message }) => ({ source: key, path: field, message })),
      );
    options.onProblems();
  }

  function keyOfRaw(raw: RawObject): string {
    return keyOfObject({ ...raw, kind } as unknown as StoredObject);
  }

  function pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = clock.after(delayMs, done);
      function done(): void {
        stop.signal.removeEventListener('abort', done);
        cancel();
        resolve();
      }
      stop.signal.addEventListener('abort', done);
    });
  }

  void run();
  return {
    synced: first.promise,
    isSynced: () => isSynced,
    problems: () => [...wrong.values()].flat(),
    stop: () => stop.abort(),
  };
}

/** The API server no longer has the version that was asked for: as an answer, or within a watch. */
function isGone(error: unknown): boolean {
  return error instanceof KubeApiError && (error.code === 410 || error.reason === 'Expired');
}
