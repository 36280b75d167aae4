import { isDeepStrictEqual } from 'node:util';
import type { Node } from '../../src/api/core.ts';
import type { Gateway } from '../../src/api/gateway.ts';
import type { TunnelEndpoint } from '../../src/api/tunnel-endpoint.ts';
import { type ClusterStore, ConflictError } from '../../src/store/cluster-store.ts';
import type { Random } from './random.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** The API server: objects with versions, and watches that lag, break and are blind. */
export interface Api {
  gateways(): readonly Gateway[];
  endpoints(): readonly TunnelEndpoint[];
  /** Writes as somebody does who is never cut off: kubelets' conditions, the operator. */
  put(object: SimObject): void;
  /** What one client has of the API. */
  connect(client: ClientOptions): Client;
  /** Clients may have lost the API or got it back. */
  touched(): void;
}

export type SimObject = Node | Gateway | TunnelEndpoint;
export type SimEvent = { readonly object: SimObject } | { readonly deleted: string };

export interface ClientOptions {
  readonly name: string;
  readonly isReachable: () => boolean;
  /** Connected, and yet nothing comes. */
  readonly isBlind: () => boolean;
  readonly onEvent: (event: SimEvent) => void;
  /** All that there is has been delivered. */
  readonly onSynced: (keys: ReadonlySet<string>) => void;
}

export interface Client {
  readonly store: Pick<ClusterStore, 'apply' | 'updateStatus' | 'remove' | 'get'>;
  /** Lists everything, then follows. */
  start(): void;
  stop(): void;
}

export interface ApiParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  /** Each request that would change something, also one that is refused. */
  readonly onWrite: (client: string, object: string) => void;
}

const DELIVERY_MS = { min: 3, max: 80 };
const REQUEST_MS = { min: 2, max: 20 };
/** A watch that broke is opened anew after a while, with all objects. */
const RELIST_MS = { min: 100, max: 2_500 };
/** A request into a void ends by its deadline; one to a machine that refuses ends at once. */
const FAILURE_MS = { min: 5, max: 10_000 };

interface Watcher {
  readonly options: ClientOptions;
  isOpen: boolean;
  isBehind: boolean;
  /** A list is under way. */
  isListing: boolean;
  /** Deliveries keep their order. */
  lastMs: number;
}

export function createApi({ clock, random, onWrite }: ApiParts): Api {
  const objects = new Map<string, SimObject>();
  const watchers = new Set<Watcher>();
  let version = 0;

  function store(key: string, object: SimObject): SimObject {
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(++version) } } as SimObject;
    objects.set(key, stored);
    for (const watcher of watchers) notify(watcher, { object: stored });
    return stored;
  }

  function remove(key: string): void {
    if (objects.delete(key)) for (const watcher of watchers) notify(watcher, { deleted: key });
  }

  function hears({ options }: Watcher): boolean {
    return options.isReachable() && !options.isBlind();
  }

  function notify(watcher: Watcher, event: SimEvent): void {
    if (!watcher.isOpen || watcher.isBehind) return;
    if (!hears(watcher)) return void (watcher.isBehind = true);
    deliver(watcher, () => watcher.options.onEvent(event));
  }

  function deliver(watcher: Watcher, call: () => void): void {
    watcher.lastMs = Math.max(watcher.lastMs, clock.now() + random.int(DELIVERY_MS.min, DELIVERY_MS.max));
    clock.after(watcher.lastMs - clock.now(), () => {
      if (!watcher.isOpen || watcher.isBehind) return;
      if (hears(watcher)) call();
      else watcher.isBehind = true;
    });
  }

  function relist(watcher: Watcher): void {
    if (watcher.isListing || !watcher.isOpen || !hears(watcher)) return;
    watcher.isListing = true;
    clock.after(random.int(RELIST_MS.min, RELIST_MS.max), () => {
      watcher.isListing = false;
      if (!watcher.isOpen || !hears(watcher)) return;
      watcher.isBehind = false;
      watcher.lastMs = clock.now();
      for (const object of objects.values()) watcher.options.onEvent({ object });
      watcher.options.onSynced(new Set(objects.keys()));
    });
  }

  function connect(options: ClientOptions): Client {
    const watcher: Watcher = { options, isOpen: false, isBehind: true, isListing: false, lastMs: 0 };
    const request = <T>(what: string | undefined, run: () => T): Promise<T> => {
      if (what !== undefined && options.isReachable()) onWrite(options.name, what);
      return new Promise((resolve, reject) => {
        const { min, max } = options.isReachable() ? REQUEST_MS : FAILURE_MS;
        clock.after(random.int(min, max), () => {
          clock.settle();
          if (!options.isReachable()) return reject(new Error('the API server cannot be reached'));
          try {
            resolve(run());
          } catch (error) {
            reject(error as Error);
          }
        });
      });
    };
    return {
      start: () => {
        watchers.add(watcher);
        watcher.isOpen = true;
        relist(watcher);
      },
      stop: () => {
        watcher.isOpen = false;
        watchers.delete(watcher);
      },
      store: {
        get: (kind, name) => request(undefined, () => objects.get(`${kind}/${name}`) as never),
        apply: (kind, object) =>
          request(`${kind}/${object.metadata.name}`, () => write(`${kind}/${object.metadata.name}`, object as SimObject, 'spec') as never),
        updateStatus: (kind, object) =>
          request(`${kind}/${object.metadata.name}/status`, () => write(`${kind}/${object.metadata.name}`, object, 'status') as never),
        remove: (kind, name) => request(`${kind}/${name}`, () => remove(`${kind}/${name}`)),
      },
    };
  }

  function write(key: string, object: SimObject, part: 'spec' | 'status'): SimObject {
    const old = objects.get(key);
    if (object.metadata.resourceVersion !== old?.metadata.resourceVersion) throw new ConflictError(key);
    if (old === undefined) return store(key, object);
    const next = part === 'status' ? { ...old, status: object.status } : { ...object, status: old.status };
    return isDeepStrictEqual({ ...next, metadata: 0 }, { ...old, metadata: 0 }) ? old : store(key, next as SimObject);
  }

  return {
    gateways: () => [...objects.values()].filter((object): object is Gateway => object.kind === 'Gateway'),
    endpoints: () => [...objects.values()].filter((object): object is TunnelEndpoint => object.kind === 'TunnelEndpoint'),
    put: (object) => void store(`${object.kind}/${object.metadata.name}`, object),
    connect,
    touched: () => {
      for (const watcher of watchers) {
        if (!watcher.options.isReachable()) watcher.isBehind = true;
        if (watcher.isBehind) relist(watcher);
      }
    },
  };
}
