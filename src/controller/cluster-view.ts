import { isDeepStrictEqual } from 'node:util';
import { compareText } from '../lib/compare.ts';
import type { BlockAffinity, Node, Service } from '../api/core.ts';
import { defaultGateway, type Gateway } from '../api/gateway.ts';
import { type TunnelEndpoint, type TunnelLink, upOfTotal } from '../api/tunnel-endpoint.ts';
import { exposedGatewayOf } from '../domain/exposure.ts';
import { DEFAULT_SWITCHES, type Switches } from '../domain/election.ts';
import { decideRegion, gatewayStatus, type GatewayVerdict, type RegionDecision, type RegionView } from '../domain/gateway-status.ts';
import { hasCalico, type NodeFacts, nodeFacts } from '../domain/node-facts.ts';
import { type UsableSubnets, usableSubnets } from '../domain/overlap.ts';
import { createMultiMap } from './multi-map.ts';

/** The controller's picture of the cluster, with the indexes that keep the cost of one event independent of the cluster's size. */
export interface ClusterView {
  setNode(node: Node): void;
  deleteNode(name: string): void;
  setGateway(gateway: Gateway): void;
  deleteGateway(name: string): void;
  setEndpoint(endpoint: TunnelEndpoint): void;
  deleteEndpoint(name: string): void;
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
  /** Names of the Gateways whose status may have become another since the last call. */
  takeAffected(): readonly string[];
  /** What a Gateway's status should be, and the Gateway as it was read; undefined when there is no such Gateway. */
  decide(name: string, now: string): { readonly gateway: Gateway; readonly verdict: GatewayVerdict } | undefined;
  /** How many there are, for metrics. */
  count(): { readonly gateways: number; readonly withoutEndpoint: number; readonly nodes: number };
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
export function createClusterView(): ClusterView {
  let switches = DEFAULT_SWITCHES;
  const gateways = new Map<string, Entry>();
  const nodes = new Map<string, NodeFacts>();
  const nodesOfRegion = createMultiMap();
  const listedBy = createMultiMap();
  const decisions = new Map<string, RegionDecision>();
  /** Regions to decide anew. */
  const affected = new Set<string>();
  /** Gateways whose status may be another for it. */
  const untold = new Set<string>();
  const links = new Map<string, { readonly region: string; readonly links: readonly TunnelLink[] }>();
  /** Regions whose tunnels changed. */
  const relinked = new Set<string>();
  /** Nodes with Calico, whose facts depend on blocks too. */
  const calicoNodes = new Map<string, Node>();
  const blocks = new Map<string, { readonly node: string; readonly cidr: string }>();
  const blocksOfNode = createMultiMap();
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
    if (hasCalico(node)) calicoNodes.set(name, node);
    else calicoNodes.delete(name);
    replaceNode(name, nodeFacts(node, blocks.size === 0 ? undefined : cidrsOf(name)));
  }

  function cidrsOf(node: string): string[] {
    const names = [...blocksOfNode.get(node)].toSorted(compareText);
    return names.map((name) => blocks.get(name)?.cidr).filter((cidr) => cidr !== undefined);
  }

  function replaceBlock(name: string, next: { readonly node: string; readonly cidr: string } | undefined): void {
    const old = blocks.get(name);
    const hadSome = blocks.size > 0;
    if (old !== undefined) blocksOfNode.delete(old.node, name);
    if (next === undefined) blocks.delete(name);
    else {
      blocks.set(name, next);
      blocksOfNode.add(next.node, name);
    }
    // The first block and the last say for all nodes where their addresses come from.
    const touched = hadSome === blocks.size > 0 ? [old?.node, next?.node] : [...calicoNodes.keys()];
    for (const each of touched) {
      const node = each === undefined ? undefined : calicoNodes.get(each);
      if (node !== undefined) setNode(node);
    }
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

  function replaceLinks(name: string, next: TunnelEndpoint | undefined): void {
    const old = links.get(name);
    const found = next && { region: next.spec.gateway, links: next.status?.links ?? [] };
    if (found === undefined) links.delete(name);
    else links.set(name, found);
    const isSame = old?.region === found?.region && shownOf(old?.links) === shownOf(found?.links);
    for (const region of isSame ? [] : [old?.region, found?.region]) if (region !== undefined) relinked.add(region);
  }

  function factsOf(region: string): NodeFacts[] {
    return [...nodesOfRegion.get(region)].map((name) => nodes.get(name)).filter((facts) => facts !== undefined);
  }

  function viewOf(name: string, { defaulted }: Entry): RegionView {
    return {
      gateway: defaulted,
      nodes: factsOf(name),
      lookup,
      switches,
      linksOf: (node) => links.get(node)?.links,
      services: servicesOf(name),
    };
  }

  function servicesOf(region: string): Service[] {
    return [...services.values()].filter((service) => exposedGatewayOf(service) === region);
  }

  function replaceService(name: string, next: Service | undefined): void {
    const old = services.get(name);
    const region = next && exposedGatewayOf(next);
    if (next === undefined || region === undefined) services.delete(name);
    else services.set(name, next);
    for (const each of [old && exposedGatewayOf(old), region]) if (each !== undefined) untold.add(each);
  }

  function lookup(name: string): NodeFacts | undefined {
    return nodes.get(name);
  }

  /** @returns whether the region's subnets are others than before */
  function decideAnew(name: string): boolean {
    const old = decisions.get(name);
    const entry = gateways.get(name);
    if (entry === undefined) return decisions.delete(name);
    const decision = decideRegion(viewOf(name, entry));
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
      calicoNodes.delete(name);
      replaceNode(name, undefined);
    },
    setBlock: ({ metadata, spec: { node, cidr, state } }) =>
      replaceBlock(metadata.name, state === 'confirmed' ? { node, cidr } : undefined),
    deleteBlock: (name) => replaceBlock(name, undefined),
    setService: (service) => replaceService(service.metadata.name, service),
    deleteService: (name) => replaceService(name, undefined),
    setSwitches: (next) => {
      if (isDeepStrictEqual(switches, next)) return;
      switches = next;
      for (const name of gateways.keys()) affected.add(name);
    },
    setGateway: (gateway) => replaceGateway(gateway.metadata.name, entryOf(gateway)),
    deleteGateway: (name) => replaceGateway(name, undefined),
    setEndpoint: (endpoint) => replaceLinks(endpoint.metadata.name, endpoint),
    deleteEndpoint: (name) => replaceLinks(name, undefined),
    affectByTunnels: () => {
      for (const region of relinked) untold.add(region);
      relinked.clear();
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
    }),
  };
}

/** All of it that a Gateway shows; round trips are not. */
function shownOf(links: readonly TunnelLink[] | undefined): string | undefined {
  const down = links?.filter(({ state }) => state !== 'Up').map(({ peer, state, message }) => [peer, state, message]);
  return links && `${upOfTotal(links)} ${JSON.stringify(down)}`;
}

function entryOf(gateway: Gateway): Entry {
  const { endpoints } = gateway.spec;
  return {
    gateway,
    defaulted: defaultGateway(gateway),
    endpointNodes: [...new Set(endpoints.map(({ nodeName }) => nodeName))],
  };
}
