import { liveEndpoints } from '../../src/domain/live-endpoints.ts';
import type { SimAgent } from './agent.ts';
import type { Api } from './api.ts';
import type { Conditions } from './faults.ts';
import type { VirtualClock } from './virtual-clock.ts';
import type { NodeShape, World } from './world.ts';

/** Which pairs of nodes must reach each other, whatever is broken: there is a live endpoint, and a live path, on both sides. */
export interface Eligible {
  /** Takes in what is true now; called after each change. */
  refresh(): void;
  isDue(from: NodeShape, to: NodeShape): boolean;
  /** Endpoints of a region that can carry. */
  fit(region: string): readonly string[];
  /** Why nothing is asked of a region although it has one; see docs/simulation.md, "Excuses". */
  excuse(region: string): string | undefined;
}

export interface EligibleParts {
  readonly world: World;
  readonly conditions: Conditions;
  readonly agents: ReadonlyMap<string, SimAgent>;
  readonly api: Api;
  readonly clock: Pick<VirtualClock, 'now'>;
}

/** What a gateway whose agent is away would have to act upon. */
const HARD = ['power', 'uplink', 'lan', 'forward', 'region'] as const;

/** Endpoints that all dropped packets take turns each 10 s (`FORGIVE_MS`); then as long as any failover may take. */
export const TURN_MS = 13_000;

export function createEligible({ world, conditions, agents, api, clock }: EligibleParts): Eligible {
  /** When each endpoint dropped packets last. */
  const droppedMs = new Map<string, number>();
  /** Endpoints whose agent is, or was, away while something happened that it should have acted upon. */
  const overtaken = new Set<string>();
  let fitOf = new Map<string, readonly string[]>();
  let excuseOf = new Map<string, string | undefined>();

  function refresh(): void {
    const live = new Map(world.regions.map(({ name }) => [name, liveNow(name)]));
    const isHard = conditions.current().some(({ kind }) => (HARD as readonly string[]).includes(kind));
    for (const { name } of world.nodes.filter(({ isEndpoint }) => isEndpoint)) {
      if (isAwake(name) || conditions.has('power', name)) overtaken.delete(name);
      else if (isHard) overtaken.add(name);
    }
    for (const { name } of world.nodes) if (conditions.has('forward', name)) droppedMs.set(name, clock.now());
    fitOf = new Map(world.regions.map(({ name }) => [name, conditions.has('region', name) ? [] : everywhereLive(name).filter(isFit)]));
    excuseOf = new Map(
      [...live].map(([name, names]) => {
        const lost = names.find((node) => conditions.has('lan', node) && !conditions.has('power', node));
        if (lost !== undefined && !hasOrdinary(name)) return [name, `${lost} lost its LAN, and nobody misses it`];
        const unaware = names.find((node) => isAwake(node) && !liveAsSeenBy(node, name).includes(node));
        if (unaware !== undefined) return [name, `${unaware} has not heard that it is an endpoint now`];
        const dropping = names.find((node) => conditions.has('forward', node));
        if (dropping !== undefined && !hasOrdinary(name)) return [name, `nobody of region ${name} sends packets through ${dropping}`];
        const isInTurns = names.length > 1 && names.every((node) => clock.now() - (droppedMs.get(node) ?? -Infinity) < TURN_MS);
        if (isInTurns) return [name, `all of ${names.join(' and ')} dropped packets of late: they take turns`];
        const asleep = names.find((node) => overtaken.has(node));
        return [name, asleep && `the agent of ${asleep} is away while others fail`];
      }),
    );
  }

  /** A node that notices by its own packets that they do not cross an endpoint. */
  function hasOrdinary(region: string): boolean {
    const live = new Set(liveNow(region));
    return world.nodes.some((node) => node.region === region && !live.has(node.name) && isWell(node));
  }

  function liveAsSeenBy(node: string, region: string): string[] {
    const gateway = agents.get(node)?.gateway(region);
    return gateway === undefined ? [] : liveEndpoints(gateway).map(({ nodeName }) => nodeName);
  }

  function liveNow(region: string): string[] {
    const gateway = api.gateways().find(({ metadata }) => metadata.name === region);
    return gateway === undefined ? [] : liveEndpoints(gateway).map(({ nodeName }) => nodeName);
  }

  /** By what every agent knows: where some know less, the controller's word has not reached them. */
  function everywhereLive(region: string): string[] {
    const seen = [...agents.values()].filter((agent) => agent.isSynced()).map((agent) => agent.gateway(region));
    const sets = [...new Set(seen)].map((gateway) => new Set(gateway && liveEndpoints(gateway).map(({ nodeName }) => nodeName)));
    return liveNow(region).filter((name) => sets.every((set) => set.has(name)));
  }

  function isAwake(name: string): boolean {
    return agents.get(name)?.isSynced() === true;
  }

  function isFit(name: string): boolean {
    return isAwake(name) && !(['power', 'uplink', 'lan', 'forward'] as const).some((kind) => conditions.has(kind, name));
  }

  function isWell({ name }: NodeShape): boolean {
    return isAwake(name) && !(['power', 'lan', 'forward'] as const).some((kind) => conditions.has(kind, name));
  }

  return {
    refresh,
    fit: (region) => fitOf.get(region) ?? [],
    excuse: (region) => excuseOf.get(region),
    isDue: (from, to) => {
      const involved = [from.region, to.region, ...relays(world, from.region, to.region)];
      return isWell(from) && isWell(to) && involved.every((name) => fitOf.get(name)?.length !== 0 && excuseOf.get(name) === undefined);
    },
  };
}

/** Between regions that cannot call each other: the oldest that both can call, which is the last public one of the list (`gatewayOf`). */
function relays({ regions }: World, a: string, b: string): string[] {
  const isDirect = regions.some(({ name, isPublic }) => isPublic && (name === a || name === b));
  const relay = regions.filter(({ isPublic }) => isPublic).at(-1);
  return isDirect || relay === undefined ? [] : [relay.name];
}
