import type { EndpointSlice, Service } from '../api/core.ts';
import type { Gateway } from '../api/gateway.ts';
import { AGENT_CONFIG_MAP } from '../api/names.ts';
import { exposedGatewayOf, parseTargetPorts, planExposure } from '../domain/exposure.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { createWorkQueue } from '../lib/work-queue.ts';
import { type ClusterStore, ConflictError, type WatchEvent } from '../store/cluster-store.ts';
import type { EventRecorder } from './event-recorder.ts';

export interface ExposureOptions {
  readonly store: ClusterStore;
  /** Where the Services are, and the ConfigMap with the agents' settings. */
  readonly namespace: string;
  readonly recordEvent: EventRecorder;
  readonly log: Logger;
  readonly clock?: Clock;
}

export interface Exposure {
  /** Resolves when everything seen so far is written. */
  settled(): Promise<void>;
  /** Ends the watches and waits for writes in progress. */
  stop(): Promise<void>;
}

type Exposing = Service | EndpointSlice;

/** Watches are behind for so long at most, but when the API server is away. */
const BEHIND_MS = 1_000;

/** Keeps the Services and EndpointSlices of all gateways what they should be, from now on. */
export function startExposure({ store, namespace, recordEvent, log, clock = systemClock }: ExposureOptions): Exposure {
  const gateways = new Map<string, Gateway>();
  const services = new Map<string, Service>();
  const slices = new Map<string, EndpointSlice>();
  let targetPorts = parseTargetPorts(undefined);
  const behind = new Set(['Gateway', 'Service', 'EndpointSlice', 'ConfigMap']);
  const synced = Promise.withResolvers<void>();
  const queue = createWorkQueue({
    work,
    clock,
    onError: (gateway, error, retryInMs) => {
      // A conflict means that what we saw is not the newest: it is on its way. One that stays is an object of that name that is not ours.
      if (!(error instanceof ConflictError) || retryInMs > BEHIND_MS)
        log.error({ gateway, error: messageOf(error), retryInMs }, 'the gateway is not exposed as it should be');
    },
  });

  async function work(name: string): Promise<void> {
    const gateway = gateways.get(name);
    const ofGateway = <T extends Exposing>(all: ReadonlyMap<string, T>): T[] =>
      [...all.values()].filter((each) => exposedGatewayOf(each) === name);
    const plan = planExposure({ gateway, namespace, targetPorts, services: ofGateway(services), slices: ofGateway(slices) });
    const failures: unknown[] = [];
    const attempt = (write: Promise<void>): Promise<unknown> => write.catch((error: unknown) => failures.push(error));
    for (const object of plan.apply) await attempt(apply(object, name));
    for (const object of plan.remove) await attempt(remove(object, gateway));
    if (failures.length > 0) throw failures.find((error) => !(error instanceof ConflictError)) ?? failures[0];
  }

  async function apply(object: Exposing, gateway: string): Promise<void> {
    await store.apply(object.kind, object);
    log.info({ gateway, object: `${object.kind} ${object.metadata.name}` }, 'exposed');
  }

  async function remove({ kind, metadata: { name } }: Exposing, gateway: Gateway | undefined): Promise<void> {
    try {
      await store.remove(kind, name, namespace);
      log.info({ object: `${kind} ${name}` }, 'removed');
    } catch (error) {
      const message = `${kind} ${namespace}/${name} cannot be deleted: ${messageOf(error)}`;
      if (gateway !== undefined)
        await recordEvent(gateway, { type: 'Warning', reason: 'DeleteServiceFail', message }).catch(() => undefined);
      throw error;
    }
  }

  function addAll(): void {
    const named = [...services.values(), ...slices.values()].map((each) => exposedGatewayOf(each));
    for (const name of new Set([...gateways.keys(), ...named])) if (name !== undefined) queue.add(name);
  }

  function arrived(kind: string): void {
    behind.delete(kind);
    if (behind.size > 0) return;
    addAll();
    synced.resolve();
  }

  /** Nothing is decided before everything is known: what seems surplus may not be. */
  function touch(name: string | undefined): void {
    if (behind.size === 0 && name !== undefined) queue.add(name);
  }

  function takeExposing<T extends Exposing>(all: Map<string, T>, event: WatchEvent<T['kind']>): void {
    if (event.type === 'synced') return;
    const name = event.type === 'set' ? event.object.metadata.name : event.name;
    const inNamespace = (event.type === 'set' ? event.object.metadata.namespace : event.namespace) === namespace;
    if (!inNamespace) return;
    const before = all.get(name);
    const after = event.type === 'set' ? (event.object as unknown as T) : undefined;
    if (after === undefined || exposedGatewayOf(after) === undefined) all.delete(name);
    else all.set(name, after);
    for (const each of [before, after]) touch(each && exposedGatewayOf(each));
  }

  const watches = [
    store.watch('Gateway', (event) => {
      if (event.type === 'synced') return arrived('Gateway');
      const name = event.type === 'set' ? event.object.metadata.name : event.name;
      if (event.type === 'set') gateways.set(name, event.object);
      else gateways.delete(name);
      touch(name);
    }),
    store.watch('Service', (event) => (event.type === 'synced' ? arrived('Service') : takeExposing(services, event))),
    store.watch('EndpointSlice', (event) => (event.type === 'synced' ? arrived('EndpointSlice') : takeExposing(slices, event))),
    store.watch('ConfigMap', (event) => {
      if (event.type === 'synced') return arrived('ConfigMap');
      const [name, of] =
        event.type === 'set' ? [event.object.metadata.name, event.object.metadata.namespace] : [event.name, event.namespace];
      if (name !== AGENT_CONFIG_MAP || of !== namespace) return;
      targetPorts = parseTargetPorts(event.type === 'set' ? event.object.data : undefined);
      if (behind.size === 0) addAll();
    }),
  ];

  return {
    settled: async () => {
      await synced.promise;
      do await new Promise(setImmediate);
      while (await queue.idle().then(() => queue.size() > 0));
    },
    stop: async () => {
      for (const watch of watches) watch.close();
      await queue.stop();
    },
  };
}
