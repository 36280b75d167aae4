import { isDeepStrictEqual } from 'node:util';
import type { BlockAffinity, Lease, Node, Service } from '../api/core.ts';
import { defaultGateway, type Gateway, type ImpairedEndpoint } from '../api/gateway.ts';
import type { TunnelEndpoint } from '../api/tunnel-endpoint.ts';
import type { EndpointSigns } from '../domain/endpoint-fitness.ts';
import { exposedGatewayOf } from '../domain/exposure.ts';
import { DEFAULT_SWITCHES, type Switches } from '../domain/election.ts';
import { decideRegion, gatewayStatus, type GatewayVerdict, type RegionDecision, type RegionView } from '../domain/gateway-status.ts';
import { type NodeFacts, nodeFacts } from '../domain/node-facts.ts';
import { type UsableSubnets, usableSubnets } from '../domain/overlap.ts';
import type { Clock } from '../lib/clock.ts';
import { createBlockBook } from './block-book.ts';
import { createLeaseBook } from './lease-book.ts';
import { createMultiMap } from './multi-map.ts';
import { createReportBook } from './report-book.ts';

/** The controller's picture of the cluster, with the indexes that keep the cost of one event independent of the cluster's size. */
export interface ClusterView {
  setNode(node: Node): void;
  deleteNode(name: string): void;
  setGateway(gateway: Gateway): void;
  deleteGateway(name: string): void;
  /** @returns whether it says something that should not wait: that it forwards, or that it does not */
  setEndpoint(endpoint: TunnelEndpoint): boolean;
  deleteEndpoint(name: string): void;
  /** A Lease in Raven's namespace, of which those of agents count. */
  setLease(lease: Lease): void;
  deleteLease(name: string): void;
  /** A block of pod addresses that Calico gave to a node. */
  setBlock(block: BlockAffinity): void;
  deleteBlock(name: string): void;
  /** A Service, of which those count that expose gateways. */
  setService(service: Service): void;
  deleteService(name: string): void;
  /** Which types of endpoints are elected at all. */
  setSwitches(switches: Switches): void;
  /** Names of the Gateways of which tunnels came up or went down since the last call are added to those of `takeAffected`. */
  affectByTunnels(): void;
  /** When a Gateway has to be looked at again although nothing happens (epoch milliseconds); undefined: none. */
  recheckAtMs(): number | undefined;
  /** Names of the Gateways for which that time has come are added to those of `takeAffected`. */
  affectByTime(): void;
  /** Names of the Gateways whose status may have become another since the last call. */
  takeAffected(): readonly string[];
  /** What a Gateway's status should be, and the Gateway as it was read; undefined when there is no such Gateway. */
  decide(name: string, now: string): { readonly gateway: Gateway; readonly verdict: GatewayVerdict } | undefined;
  /** How many there are, for metrics. */
  count(): Counts;
}

export interface Counts {
  readonly gateways: number;
  readonly withoutEndpoint: number;
  readonly nodes: number;
  /** Endpoint nodes by what stands against them (`status.impaired`). */
  readonly impaired: ReadonlyMap<ImpairedEndpoint['state'], number>;
}

/** A Gateway and what was drawn from it once. */
interface Entry {
  /** As it was read. */
  readonly gateway: Gateway;
  readonly defaulted: Gateway;
  readonly endpointNodes: readonly string[];
}

/**
 * A node's event touches its old and new region and the Gateways that list it as endpoint; the sweep for overlaps runs only when some region's set of
 * subnets changed, and touches only regions whose overlaps changed with it.
 */
export function createClusterView(clock: Pick<Clock, 'now'>): ClusterView {
  let switches = DEFAULT_SWITCHES;
  const gateways = new Map<string, Entry>();
  const nodes = new Map<string, NodeFacts>();
  const nodesOfRegion = createMultiMap();
  const listedBy = createMultiMap();
  const decisions = new Map<string, RegionDecision & { readonly signsText: string }>();
  /** Regions to decide anew. */
  const affected = new Set<string>();
  /** Gateways whose status may be another for it. */
  const untold = new Set<string>();
  const reports = createReportBook();
  const leases = createLeaseBook();
  /** Regions of which a gateway has no tunnel that is up: whose fault it is, others' tunnels tell. */
  const inDoubt = new Set<string>();
  /** Regions whose election may be another by time alone, and when. */
  const rechecks = new Map<string, number>();
  /** Regions whose tunnels changed. */
  const relinked = new Set<string>();
  const blocks = createBlockBook();
  const services = new Map<string, Service>();
  let usable: ReadonlyMap<string, UsableSubnets> = new Map();

  function replaceNode(name: string, next: NodeFacts | undefined): void {
    const old = nodes.get(name);
    if (isDeepStrictEqual(old, next)) return;
    for (const region of listedBy.get(name)) affected.add(region);
    if (old?.region !== undefined) {
      affected.add(old.region);
      nodesOfRegion.delete(old.region, name);
    }
    if (next?.region !== undefined) {
      affected.add(next.region);
      nodesOfRegion.add(next.region, name);
    }
    if (next === undefined) nodes.delete(name);
    else nodes.set(name, next);
  }

  function setNode(node: Node): void {
    const { name } = node.metadata;
    blocks.setNode(node);
    replaceNode(name, nodeFacts(node, blocks.cidrsOf(name)));
  }

  function replaceGateway(name: string, next: Entry | undefined): void {
    const old = gateways.get(name);
    const version = old?.gateway.metadata.resourceVersion;
    if (version !== undefined && version === next?.gateway.metadata.resourceVersion) return;
    affected.add(name);
    for (const node of old?.endpointNodes ?? []) listedBy.delete(node, name);
    for (const node of next?.endpointNodes ?? []) listedBy.add(node, name);
    if (next === undefined) gateways.delete(name);
    else gateways.set(name, next);
  }

  function replaceReport(name: string, next: TunnelEndpoint | undefined): boolean {
    const { relinked: regions, isJudged } = reports.set(name, next);
    for (const region of regions) relinked.add(region);
    for (const region of isJudged ? listedBy.get(name) : []) affected.add(region);
    return isJudged;
  }

  function setLease(lease: Lease): void {
    const node = leases.set(lease, clock.now());
    if (node === undefined) return;
    for (const region of listedBy.get(node)) {
      leases.heard(region, clock.now());
      if (signsText(region) !== decisions.get(region)?.signsText) affected.add(region);
    }
  }

  function signsOf({ name, region = '', isReady, drain }: NodeFacts): EndpointSigns {
    return {
      isReady,
      drain: drain ?? leases.drainOf(name),
      ...leases.signsOf(region, name, reports.has(name), clock.now()),
      forwarding: reports.forwardingOf(name),
    };
  }

  function signsText(region: string): string {
    return leases.textOf(region, gateways.get(region)?.endpointNodes ?? [], { has: (node) => reports.has(node), nowMs: clock.now() });
  }

  function factsOf(region: string): NodeFacts[] {
    return [...nodesOfRegion.get(region)].map((name) => nodes.get(name)).filter((facts) => facts !== undefined);
  }

  function viewOf(name: string, { defaulted }: Entry): RegionView {
    return {
      gateway: defaulted,
      nodes: factsOf(name),
      lookup: (node) => nodes.get(node),
      switches,
      signsOf,
      linksOf: (node) => reports.linksOf(node),
      services: [...services.values()].filter((service) => exposedGatewayOf(service) === name),
    };
  }

  function replaceService(name: string, next: Service | undefined): void {
    const old = services.get(name);
    const region = next && exposedGatewayOf(next);
    if (next === undefined || region === undefined) services.delete(name);
    else services.set(name, next);
    for (const each of [old && exposedGatewayOf(old), region]) if (each !== undefined) untold.add(each);
  }

  /** @returns whether the region's subnets are others than before */
  function decideAnew(name: string): boolean {
    const old = decisions.get(name);
    const entry = gateways.get(name);
    rechecks.delete(name);
    inDoubt.delete(name);
    if (entry === undefined) {
      leases.forget(name);
      return decisions.delete(name);
    }
    const decision = { ...decideRegion(viewOf(name, entry), clock.now()), signsText: signsText(name) };
    const { recheckAtMs } = decision.election;
    if (recheckAtMs !== undefined) rechecks.set(name, recheckAtMs);
    if (entry.endpointNodes.some((node) => reports.isInDoubt(node))) inDoubt.add(name);
    const isSame = isDeepStrictEqual(old?.region.cidrs, decision.region.cidrs);
    // The same array again: what the sweep remembers of it stays valid.
    decisions.set(name, isSame && old !== undefined ? { ...decision, region: { ...decision.region, cidrs: old.region.cidrs } } : decision);
    return !isSame;
  }

  function sweepOverlaps(): void {
    const before = usable;
    usable = usableSubnets([...decisions].map(([name, { region }]) => ({ name, cidrs: region.cidrs })));
    for (const [name, { overlaps }] of usable) {
      const old = before.get(name)?.overlaps ?? [];
      if ((old.length > 0 || overlaps.length > 0) && !isDeepStrictEqual(old, overlaps)) affected.add(name);
    }
  }

  function decideAffected(): void {
    const changed = [...affected].filter(decideAnew);
    if (changed.length > 0) sweepOverlaps();
    for (const name of affected) untold.add(name);
    affected.clear();
  }

  return {
    setNode,
    deleteNode: (name) => {
      blocks.deleteNode(name);
      replaceNode(name, undefined);
    },
    setBlock: (block) => {
      for (const node of blocks.set(block)) setNode(node);
    },
    deleteBlock: (name) => {
      for (const node of blocks.delete(name)) setNode(node);
    },
    setService: (service) => replaceService(service.metadata.name, service),
    deleteService: (name) => replaceService(name, undefined),
    setSwitches: (next) => {
      if (isDeepStrictEqual(switches, next)) return;
      switches = next;
      for (const name of gateways.keys()) affected.add(name);
    },
    setGateway: (gateway) => replaceGateway(gateway.metadata.name, entryOf(gateway)),
    deleteGateway: (name) => replaceGateway(name, undefined),
    setEndpoint: (endpoint) => replaceReport(endpoint.metadata.name, endpoint),
    deleteEndpoint: (name) => void replaceReport(name, undefined),
    setLease,
    deleteLease: (name) => leases.delete(name),
    affectByTunnels: () => {
      for (const region of relinked.size > 0 ? inDoubt : []) affected.add(region);
      for (const region of relinked) untold.add(region);
      relinked.clear();
    },
    recheckAtMs: () => (rechecks.size === 0 ? undefined : Math.min(...rechecks.values())),
    affectByTime: () => {
      for (const [region, atMs] of rechecks) if (atMs <= clock.now()) affected.add(region);
    },
    takeAffected: () => {
      decideAffected();
      const names = [...untold].filter((name) => gateways.has(name));
      untold.clear();
      return names;
    },
    decide: (name, now) => {
      // What was elected is news only against the status that it was decided on.
      if (affected.has(name)) decideAffected();
      const entry = gateways.get(name);
      const decision = decisions.get(name);
      if (entry === undefined || decision === undefined) return undefined;
      return { gateway: entry.gateway, verdict: gatewayStatus(viewOf(name, entry), decision, usable.get(name)?.overlaps ?? [], now) };
    },
    count: () => ({
      gateways: gateways.size,
      withoutEndpoint: [...gateways.values()].filter(
        ({ gateway }) => !gateway.status?.activeEndpoints.some(({ type }) => type === 'tunnel'),
      ).length,
      nodes: [...nodesOfRegion.keys()].reduce((sum, region) => sum + nodesOfRegion.get(region).size, 0),
      impaired: countBy([...decisions.values()].flatMap(({ election }) => election.impaired.map(({ state }) => state))),
    }),
  };
}

function entryOf(gateway: Gateway): Entry {
  const { endpoints } = gateway.spec;
  return {
    gateway,
    defaulted: defaultGateway(gateway),
    endpointNodes: [...new Set(endpoints.map(({ nodeName }) => nodeName))],
  };
}

function countBy<T>(items: readonly T[]): Map<T, number> {
  return new Map([...Map.groupBy(items, (item) => item)].map(([item, all]) => [item, all.length]));
}
