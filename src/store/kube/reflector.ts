import type { FieldError } from '../../api/field-error.ts';
import type { Kind } from '../../api/kinds.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Problem } from '../../lib/errors.ts';
import type { Hub } from '../hub.ts';
import { keyOfObject, parseObject, type StoredObject } from '../object.ts';
import { KubeApiError, type KubeClient } from './kube-client.ts';
import { isAbsent, isGone, listRaw, type RawObject } from './list.ts';
import { resourcePath } from './resource-path.ts';
import { trim } from './trim.ts';

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
  readonly object: {
    readonly metadata?: { readonly resourceVersion?: string };
    readonly code?: number;
    readonly reason?: string;
    readonly message?: string;
  };
}

/** How long one watch lives at most: so that watches spread over several API servers again. client-go takes 5 to 10 minutes, too. */
const MIN_WATCH_S = 300;
/** A watch that ends in good order, but at once and without a line, failed: as client-go has it ("very short watch"). */
const SHORT_WATCH_MS = 1_000;
/** Back-off with full jitter ("Exponential Backoff And Jitter"): a thousand agents must not come back in step. */
const FIRST_DELAY_MS = 500;
const MAX_DELAY_MS = 30_000;
/** After so long without a failure the back-off begins anew; client-go takes two minutes, too. */
const CALM_MS = 120_000;
/** A kind that the cluster does not know (yet): its CustomResourceDefinition may be installed later. */
const ABSENT_DELAY_MS = 30_000;

/**
 * List, then watch from that version on, resumed with the last version or bookmark when the connection ends; listed anew when the API server has
 * forgotten that version (410 Gone). After a new list the hub hears only of differences. Kubernetes docs: "Efficient detection of changes".
 *
 * A kind that is not served is empty; when objects of it were there, only after half a minute of such answers: a load balancer says 404, too.
 */
export function startReflector(options: ReflectorOptions): Reflector {
  const { client, kind, namespace, fieldSelector, hub, clock, random } = options;
  const path = resourcePath(kind, undefined, namespace);
  const stop = new AbortController();
  const first = Promise.withResolvers<void>();
  const wrong = new Map<string, readonly Problem[]>();
  /** Where to go on watching; undefined: list first. */
  let version: string | undefined;
  let failures = 0;
  let lastFailureMs = clock.now();
  let absentSinceMs: number | undefined;
  let isSynced = false;

  async function run(): Promise<void> {
    while (!stop.signal.aborted) {
      try {
        version ??= await list();
        await watch(version);
      } catch (error) {
        if (stop.signal.aborted) return;
        await pause(afterFailure(error));
      }
    }
  }

  /** @returns for how long to wait now */
  function afterFailure(error: unknown): number {
    if (isGone(error)) {
      // Nothing is wrong: this happens after an outage, to all agents at the same time.
      version = undefined;
      return nextDelayMs();
    }
    if (isAbsent(error)) {
      version = undefined;
      absentSinceMs ??= clock.now();
      if (hub.list(kind).length === 0 || clock.now() - absentSinceMs >= ABSENT_DELAY_MS) {
        replaceAll([]);
        return ABSENT_DELAY_MS;
      }
    }
    const delayMs = nextDelayMs();
    options.onFailure(error, delayMs);
    return delayMs;
  }

  function nextDelayMs(): number {
    const now = clock.now();
    if (now - lastFailureMs > CALM_MS) failures = 0;
    lastFailureMs = now;
    return Math.min(FIRST_DELAY_MS * 2 ** failures++, MAX_DELAY_MS) * random();
  }

  /** @returns the version of the list */
  async function list(): Promise<string> {
    const request = { kind, namespace, fieldSelector, signal: stop.signal };
    const { version: listed, items } = await listRaw(client, request, options.onContact);
    absentSinceMs = undefined;
    replaceAll(items);
    return listed;
  }

  function replaceAll(items: readonly RawObject[]): void {
    const before = new Set([...hub.list(kind).map(keyOfObject), ...wrong.keys()]);
    for (const item of items) before.delete(take(item));
    for (const key of before) drop(key);
    isSynced = true;
    first.resolve();
  }

  /** Returns when the server ends the watch in good order. What was seen until then counts, however it ends. */
  async function watch(from: string): Promise<void> {
    const openedMs = clock.now();
    let lines = 0;
    const timeoutSeconds = String(Math.round(MIN_WATCH_S * (1 + random())));
    const query = { watch: '1', allowWatchBookmarks: 'true', resourceVersion: from, timeoutSeconds, fieldSelector };
    for await (const line of client.watch({ method: 'GET', path, query, signal: stop.signal })) {
      if (stop.signal.aborted) return;
      options.onContact();
      const { type, object } = line as WatchLine;
      if (type === 'ERROR') {
        throw new KubeApiError(object.code ?? 0, object.reason ?? '', object.message ?? 'the API server ended the watch');
      }
      if (type === 'DELETED') drop(keyOfRaw(object as RawObject));
      else if (type === 'ADDED' || type === 'MODIFIED') take(trim(kind, object as RawObject));
      version = object.metadata?.resourceVersion ?? version;
      failures = 0;
      lines++;
    }
    if (lines === 0 && clock.now() - openedMs < SHORT_WATCH_MS) throw new Error(`watch ${path}: ended at once, without a line`);
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

  function setProblems(key: string, errors: readonly FieldError[]): void {
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
