import { createLookout, type Lookout } from '../../src/agent/lookout.ts';
import type { EchoKeeper } from '../../src/agent/echo-keeper.ts';
import { createPublisher, type Publisher } from '../../src/agent/publisher.ts';
import type { Gateway } from '../../src/api/gateway.ts';
import type { TunnelEndpoint } from '../../src/api/tunnel-endpoint.ts';
import type { LocalFacts } from '../../src/domain/facts.ts';
import type { NodePlan } from '../../src/domain/node-plan.ts';
import { plan } from '../../src/domain/plan.ts';
import { carrierOf, carriersOf, entryOf } from '../../src/domain/carriers.ts';
import { describeEndpoint, type ObservedTunnel } from '../../src/domain/report.ts';
import type { Reroute } from '../../src/domain/reroute.ts';
import { type ChoiceMemory, type Choices, NO_CHOICES } from '../../src/domain/reroute-state.ts';
import { planWatch } from '../../src/domain/reroute-view.ts';
import { buildSnapshot, type Snapshot } from '../../src/domain/snapshot.ts';
import type { Caller, Outcome, Responder } from '../../src/drivers/probe/echo.ts';
import type { Logger } from '../../src/lib/logger.ts';
import type { Ip } from '../../src/net/ip.ts';
import type { ClusterStore } from '../../src/store/cluster-store.ts';
import type { Client } from './api.ts';
import type { ProbeWay } from './probes.ts';
import type { Random } from './random.ts';
import type { VirtualClock } from './virtual-clock.ts';
import type { NodeShape, World } from './world.ts';

/**
 * One node's agent: the real decisions (`plan`, `planWatch`, `describeEndpoint`), the real lookout and publisher, and in place of
 * `src/agent/loop.ts` a loop without a kernel. All of `src` that an agent consists of is called from this file.
 */
export interface SimAgent {
  /** @param memory what it chose before, when that outlived the process */
  start(memory: ChoiceMemory | undefined): void;
  stop(): void;
  isRunning(): boolean;
  /** Has seen all objects since its start, or had them on its disk. */
  isSynced(): boolean;
  /** As chosen by measurement; see `reroute-state.ts`. */
  choices(): Choices;
  memory(): ChoiceMemory | undefined;
  gateway(name: string): Gateway | undefined;
  /** Whether it sends to a region straight: who leaves that to a relay, or to its exit, has no say in where packets enter. */
  reaches(region: string): boolean;
  /**
   * Which endpoint gets the packets between two regions: of its own region through which they leave, of another one to which it sends them.
   *
   * @param of the region whose endpoint is asked for
   */
  carrier(of: string, other: string): string | undefined;
  /** As last planned. */
  plan(): NodePlan | undefined;
  take(event: { readonly object: Gateway | TunnelEndpoint } | { readonly deleted: string }): void;
  /** @param keys `Kind/name` of all objects that there are */
  synced(keys: ReadonlySet<string>): void;
  /** Tunnels came up or went down. */
  tunnelsChanged(): void;
  /** What its responders answer; undefined: nothing listens there. */
  answer(kind: ProbeWay, from: Ip, flags: number): number | undefined | 'refused';
  /** The machine is off: the copy of the objects stays on its disk. */
  readonly node: NodeShape;
}

export interface AgentParts {
  readonly node: NodeShape;
  readonly world: World;
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly log: Logger;
  readonly client: Client;
  readonly snapshots: Snapshots;
  readonly wires: Wires;
  readonly onReroute: (reroute: Reroute) => void;
  readonly onChoices: () => void;
  /** Its first plan since its start is in place. */
  readonly onReady: () => void;
}

/** What an agent does to the rest of the world. */
export interface Wires {
  setRouting(plan: NodePlan): void;
  setTunnels(plan: NodePlan['tunnels']): void;
  probe(kind: ProbeWay, target: Ip, flags: number, timeoutMs: number): Promise<Outcome>;
  received(): ReadonlyMap<string, number>;
  tunnels(plan: NodePlan['tunnels']): readonly ObservedTunnel[];
}

/** Agents that know the same objects read them once. */
export interface Snapshots {
  of(gateways: readonly Gateway[], endpoints: readonly TunnelEndpoint[]): Snapshot;
}

const SNAPSHOTS_MAX = 50;

export function createSnapshots(): Snapshots {
  const known = new Map<string, Snapshot>();
  return {
    of: (gateways, endpoints) => {
      const key = [...gateways, ...endpoints]
        .map(({ metadata }) => `${metadata.name} ${metadata.resourceVersion}`)
        .toSorted()
        .join();
      const snapshot = known.get(key) ?? buildSnapshot(gateways, endpoints);
      if (known.size > SNAPSHOTS_MAX) known.clear();
      known.set(key, snapshot);
      return snapshot;
    },
  };
}

/** As `src/agent/loop.ts` collects the changes of one burst. */
const QUIET_MS = 15;
/** Programs that set routes and tunnels, on a small machine. */
const SET_MS = { min: 4, max: 60 };

export function createSimAgent(parts: AgentParts): SimAgent {
  const { node, world, clock, random, log, wires, onReroute, onChoices } = parts;
  const facts: LocalFacts = {
    driver: world.driver,
    dataPath: world.dataPath,
    underlay: { dev: 'eth0', mtuBytes: 1500, prefixes: [node.lan] },
    hostSources: { 4: node.overlayIp },
    ipv6Forwarding: undefined,
  };
  const publicKey =
    world.driver === 'wireguard' ? `${Buffer.from(node.name.padEnd(31, '.')).toString('base64').slice(0, 42)}A=` : undefined;
  const gateways = new Map<string, Gateway>();
  const endpoints = new Map<string, TunnelEndpoint>();
  let process: Process | undefined;
  let memory: ChoiceMemory | undefined;
  let hasCopy = false;
  let planned: NodePlan | undefined;

  interface Process {
    readonly lookout: Lookout;
    readonly publisher: Publisher;
    readonly overlay: EchoKeeper;
    readonly responders: Record<ProbeWay, Responder | undefined>;
    isSynced: boolean;
    isDue: boolean;
    isBusy: boolean;
    isVpnStarted: boolean;
  }

  function start(kept: ChoiceMemory | undefined): void {
    memory = kept;
    const responders: Process['responders'] = { lan: undefined, overlay: undefined, tunnel: undefined };
    const overlay = echoKeeper('overlay', responders);
    const lookout = createLookout({
      overlay,
      tunnels: echoKeeper('tunnel', responders),
      lan: echoKeeper('lan', responders),
      openCaller: async (_, target) => caller(target as Ip),
      isBusy: () => world.isBusy,
      received: async () => wires.received(),
      onSilence: () => undefined,
      kept,
      keep: (next) => void (memory = next),
      onReroute: (reroute) => onReroute(reroute),
      clock,
      log,
    });
    const store = parts.client.store as unknown as ClusterStore;
    const publisher = createPublisher({ node: node.name, store, clock, log, random: () => random.next() });
    const current: Process = {
      lookout,
      publisher,
      overlay,
      responders,
      isSynced: hasCopy,
      isDue: false,
      isBusy: false,
      isVpnStarted: false,
    };
    process = current;
    lookout.onChange(() => {
      onChoices();
      request();
    });
    parts.client.start();
    clock.settle();
    request();
  }

  function echoKeeper(kind: ProbeWay, responders: Process['responders']): EchoKeeper {
    let address: Ip | undefined;
    let responder: Responder = () => 0;
    return {
      use: async (next) => {
        address = next;
        responders[kind] = next === undefined ? undefined : responder;
      },
      current: () =>
        address === undefined
          ? undefined
          : {
              address,
              probe: (target, flags, timeoutMs) => wires.probe(kind, target as Ip, flags, timeoutMs),
              close: async () => undefined,
            },
      respond: (given) => void (responder = given),
      close: async () => void (responders[kind] = undefined),
    };
  }

  function caller(target: Ip): Caller {
    return { probe: (flags, timeoutMs) => wires.probe('lan', target, flags, timeoutMs), close: async () => undefined };
  }

  function request(): void {
    const current = process;
    if (current === undefined || !current.isSynced || current.isDue) return;
    current.isDue = true;
    if (!current.isBusy) clock.after(QUIET_MS, () => tick(current));
  }

  function tick(current: Process): void {
    if (current !== process) return;
    current.isDue = false;
    current.isBusy = true;
    const snapshot = parts.snapshots.of([...gateways.values()], [...endpoints.values()]);
    const next = plan({
      node: node.name,
      snapshot,
      facts,
      health: new Map(wires.tunnels(planned?.tunnels).map(({ peer, state }) => [peer, { up: state === 'up', stuck: false }])),
      choices: current.lookout.choices(),
    });
    const isNew = JSON.stringify(next) !== JSON.stringify(planned) || !current.isVpnStarted;
    clock.after(isNew ? random.int(SET_MS.min, SET_MS.max) : 0, () => {
      if (current !== process) return;
      if (isNew) wires.setRouting(next);
      clock.after(isNew ? random.int(SET_MS.min, SET_MS.max) : 0, () => {
        if (current !== process) return;
        if (isNew) wires.setTunnels(next.tunnels);
        const isFirst = !current.isVpnStarted;
        current.isVpnStarted = true;
        planned = next;
        finish(current, snapshot, next);
        if (isFirst) parts.onReady();
      });
    });
  }

  function finish(current: Process, snapshot: Snapshot, next: NodePlan): void {
    clock.settle();
    void current.overlay.use(facts.hostSources[4]);
    current.lookout.set(planWatch(snapshot, node.name, next));
    const previous = endpoints.get(node.name);
    const report = describeEndpoint({
      node: node.name,
      snapshot,
      plan: next,
      facts,
      dataPathReason: '',
      publicKey,
      tunnels: wires.tunnels(next.tunnels),
      rtts: new Map(),
      resolved: new Map(),
      previous,
      nowMs: clock.now(),
    });
    current.publisher.set(report, previous);
    current.isBusy = false;
    if (current.isDue) clock.after(QUIET_MS, () => tick(current));
  }

  return {
    node,
    start,
    stop: () => {
      const old = process;
      process = undefined;
      planned = undefined;
      parts.client.stop();
      clock.settle();
      void old?.lookout.close();
      void old?.publisher.close();
    },
    isRunning: () => process !== undefined,
    isSynced: () => process?.isSynced === true && planned !== undefined,
    choices: () => process?.lookout.choices() ?? NO_CHOICES,
    memory: () => memory,
    gateway: (name) => gateways.get(name),
    plan: () => planned,
    reaches: (region) => planned?.paths.some(({ gateway, via }) => gateway === region && via === undefined) === true,
    carrier: (of, other) => {
      const snapshot = parts.snapshots.of([...gateways.values()], [...endpoints.values()]);
      const choices = process?.lookout.choices() ?? NO_CHOICES;
      const [region, far] = [of, other].map((name) => snapshot.regions.find((each) => each.name === name));
      if (region === undefined || far === undefined) return undefined;
      return of === node.region ? carrierOf(carriersOf(region, snapshot, choices), other) : entryOf(region, far, snapshot, choices)?.name;
    },
    take: (event) => {
      if ('deleted' in event) endpoints.delete(event.deleted.replace('TunnelEndpoint/', ''));
      else if (event.object.kind === 'Gateway') gateways.set(event.object.metadata.name, event.object);
      else endpoints.set(event.object.metadata.name, event.object);
      request();
    },
    synced: (keys) => {
      for (const name of gateways.keys()) if (!keys.has(`Gateway/${name}`)) gateways.delete(name);
      for (const name of endpoints.keys()) if (!keys.has(`TunnelEndpoint/${name}`)) endpoints.delete(name);
      hasCopy = true;
      if (process !== undefined) process.isSynced = true;
      request();
    },
    tunnelsChanged: request,
    answer: (kind, from, flags) => {
      const responder = process?.responders[kind];
      return responder === undefined ? 'refused' : responder(from, flags);
    },
  };
}
