import { laneCount, laneOf } from '../../src/domain/lanes.ts';
import type { Reroute } from '../../src/domain/reroute.ts';
import type { Snapshot } from '../../src/domain/snapshot.ts';
import { probeAddress } from '../../src/net/probe-address.ts';
import type { SimAgent, Snapshots } from './agent.ts';
import type { Api } from './api.ts';
import { createEligible, TURN_MS } from './eligible.ts';
import type { Conditions, Fault, FaultKind } from './faults.ts';
import { type Lane, lanesOf } from './lanes-of.ts';
import type { Network, Walk } from './network.ts';
import type { VirtualClock } from './virtual-clock.ts';
import type { World } from './world.ts';

export const INVARIANTS = ['loop', 'reachable', 'converged', 'bounce', 'flapping', 'writes', 'deterministic'] as const;
export type Invariant = (typeof INVARIANTS)[number];

export interface Violation {
  readonly invariant: Invariant;
  readonly atMs: number;
  readonly text: string;
}

/** See docs/simulation.md for why each is what it is. */
export const BOUNDS = {
  loopMs: 600,
  reachableMs: 3_000,
  /** Where no packets pass, what carries nothing is probed each 5 s. */
  idleReachableMs: 8_000,
  convergedMs: 20_000,
  /** An endpoint that was said not to forward says so for a minute. */
  distrustMs: 75_000,
  /** An endpoint gets its lane back when it has been well for half a minute. */
  sharedConvergedMs: 60_000,
  /** Then the controller's new order waits half a minute for it. */
  sharedDistrustMs: 120_000,
  movesPerDisturbance: 6,
  writesPerEvent: 6,
  controllerWritesPerEvent: 4,
} as const;

export interface Invariants {
  /** Ways of packets may be others. */
  changed(): void;
  /** Something broke, healed, or an agent came up: budgets begin anew. */
  disturbed(): void;
  healed(fault: Fault): void;
  rerouted(node: string, reroute: Reroute): void;
  /** The controller wrote a region's status. */
  decided(region: string, active: string): void;
  wrote(client: string): void;
  /** undefined: all agree. */
  disagreement(): string | undefined;
  /** Judges what can be judged at the end only. */
  finish(): void;
  readonly violations: readonly Violation[];
  /** How long pairs that must reach each other did not, after each fault or move. */
  readonly outagesMs: readonly number[];
}

export interface InvariantParts {
  readonly world: World;
  readonly conditions: Conditions;
  readonly network: Network;
  readonly agents: ReadonlyMap<string, SimAgent>;
  readonly api: Api;
  readonly snapshots: Snapshots;
  readonly clock: VirtualClock;
  readonly say: (text: string) => void;
  /** `from>to` of tunnels that packets come out of. */
  readonly onFlows: (tunnels: ReadonlySet<string>) => void;
}

/** After these an endpoint may be blamed: rightly, for a peer whose agent is away, or by a node that was off the LAN. */
const DOUBTFUL: ReadonlySet<string> = new Set(['forward', 'agent', 'lan'] satisfies FaultKind[]);
/** Changes of one moment are judged together. */
const LOOK_MS = 40;

interface Since {
  readonly sinceMs: number;
  readonly walk: Walk;
}

export function createInvariants(parts: InvariantParts): Invariants {
  const { world, conditions, network, agents, api, snapshots, clock, say, onFlows } = parts;
  const violations: Violation[] = [];
  const outagesMs: number[] = [];
  const eligible = createEligible({ world, conditions, agents, api, clock });
  const pairs = world.nodes.flatMap((from) => world.nodes.filter((to) => to.region !== from.region).map((to) => ({ from, to })));
  const budgetMs = world.isBusy ? BOUNDS.reachableMs : BOUNDS.idleReachableMs;
  let outages = new Map<string, Since>();
  let loops = new Map<string, Since>();
  let isDue = false;
  const startMs = clock.now();
  let disturbances = 0;
  let disturbedMs = startMs;
  let moves = new Map<string, number>();
  /** By lane: the carrier that was well, and that all used, when something else came back. */
  let expected = new Map<string, string>();
  /** It may try several before it knows who carries. */
  let returned = '';
  const lastMoveMs = new Map<string, number>();
  const decidedMs = new Map<string, number>();
  const active = new Map<string, string>();
  const writes = new Map<string, number>();
  let decisions = 0;
  /** Some endpoint dropped packets, or may have been blamed for it, and is given nothing back for ten minutes. */
  let isDoubted = false;

  function violate(invariant: Invariant, text: string): void {
    violations.push({ invariant, atMs: clock.now() - startMs, text });
    say(`VIOLATED ${invariant}: ${text}`);
  }

  function changed(): void {
    if (isDue) return;
    isDue = true;
    clock.after(LOOK_MS, () => {
      isDue = false;
      look();
    });
  }

  function look(): void {
    eligible.refresh();
    const now = clock.now();
    const [nextOutages, nextLoops] = [new Map<string, Since>(), new Map<string, Since>()];
    const flows = new Set<string>();
    for (const { from, to } of pairs) {
      const walk = network.walk(from.name, { src: from.podIp, dst: to.podIp, kind: 'pod' });
      if (world.isBusy) for (const tunnel of walk.tunnels) flows.add(tunnel);
      const key = `${from.name} → ${to.name}`;
      if (walk.end === 'loops') nextLoops.set(key, loops.get(key) ?? { sinceMs: now, walk });
      if (walk.end !== 'delivered' && eligible.isDue(from, to)) {
        nextOutages.set(key, { sinceMs: outages.get(key)?.sinceMs ?? now, walk });
        if (!outages.has(key)) clock.after(budgetMs + 1, changed);
      }
    }
    for (const [key, { sinceMs }] of outages) if (!nextOutages.has(key)) outagesMs.push(now - sinceMs);
    if (nextLoops.size > loops.size) clock.after(BOUNDS.loopMs + 1, changed);
    report(outages, nextOutages);
    outages = nextOutages;
    loops = nextLoops;
    onFlows(flows);
    judgeTimes(now);
  }

  function report(before: ReadonlyMap<string, Since>, after: ReadonlyMap<string, Since>): void {
    const began = [...after].filter(([key]) => !before.has(key));
    if (began.length > 0) say(`${began.length} pairs unreachable that should not be: ${began[0]?.[0]}: ${began[0]?.[1].walk.why}`);
    if (before.size > 0 && after.size === 0) say('all pairs reachable that should be');
  }

  function judgeTimes(now: number): void {
    for (const [key, { sinceMs, walk }] of loops)
      if (now - sinceMs > BOUNDS.loopMs) violateOnce('loop', `${key}: packets circle for ${now - sinceMs} ms: ${walk.why}`);
    for (const [key, { sinceMs, walk }] of outages)
      if (now - sinceMs > budgetMs) violateOnce('reachable', `${key}: not reached for ${now - sinceMs} ms: ${walk.why}`);
  }

  /** One of a kind tells all; the history goes on, for what else it shows. */
  function violateOnce(invariant: Invariant, text: string): void {
    if (!violations.some((each) => each.invariant === invariant)) violate(invariant, text);
  }

  function disturbed(): void {
    const now = clock.now();
    disturbances++;
    disturbedMs = now;
    moves = new Map();
    expected = new Map();
    outages = new Map([...outages].map(([key, { walk }]) => [key, { sinceMs: now, walk }]));
    loops = new Map([...loops].map(([key, { walk }]) => [key, { sinceMs: now, walk }]));
    if (outages.size > 0) clock.after(budgetMs + 1, changed);
    // An excuse ends then.
    clock.after(TURN_MS + 1, changed);
    changed();
  }

  /** What all would know who had heard everything. */
  function truth(): Snapshot {
    return snapshots.of(api.gateways(), api.endpoints());
  }

  /** By node of the region, and of others that have a say in it: which endpoint of the region gets the packets of a lane. One for each, where all is well. */
  function carriersOf({ region, others }: Lane): Map<string, string> {
    const ways = [...agents].flatMap(([name, agent]): [string, string][] => {
      if (!agent.isSynced()) return [];
      const asked = agent.node.region === region.name ? others : others.filter((each) => each === agent.node.region);
      const isAsked = agent.node.region === region.name || agent.reaches(region.name);
      const used = new Set(asked.map((other) => agent.carrier(region.name, other) ?? 'none'));
      return isAsked && used.size > 0 ? [[name, [...used].join(' and ')]] : [];
    });
    return new Map(ways);
  }

  function disagreement(): string | undefined {
    for (const lane of lanesOf(truth())) {
      const { key, region, wanted } = lane;
      const used = carriersOf(lane);
      const carriers = [...new Set(used.values())];
      const text = [...used].map(([node, carrier]) => `${node}: ${carrier}`).join(', ');
      if (carriers.length > 1) return `lane ${key} has several carriers: ${text}`;
      const [carrier] = carriers;
      if (carrier === undefined || carrier === wanted) continue;
      if (laneCount(region) > 1 && !isDoubted) return `lane ${key} is carried by ${carrier}, and was not given back to ${wanted ?? 'none'}`;
      // Moved by the nodes themselves, and the controller has said nothing new since: then it stays.
      if ((lastMoveMs.get(`${key} ${carrier}`) ?? 0) < (decidedMs.get(region.name) ?? 0))
        return `lane ${key} is carried by ${carrier}, the controller chose ${wanted ?? 'none'} later`;
    }
    return undefined;
  }

  /** Regions that reach any other one: a carrier that had nowhere to carry to was not known to be well. */
  function dueRegions(): string[] {
    return pairs.filter(({ from, to }) => eligible.isDue(from, to)).map(({ from }) => from.region);
  }

  function healed({ kind, target }: Fault): void {
    const isSettled = clock.now() - disturbedMs >= budgetMs && outages.size === 0;
    const serving = new Set(dueRegions());
    isDoubted ||= DOUBTFUL.has(kind);
    eligible.refresh();
    disturbed();
    // Halves of a region that was torn must find one carrier again; all else moves nothing by coming back.
    if (!isSettled || kind === 'lan' || kind === 'region') return;
    returned = target;
    for (const lane of lanesOf(truth())) {
      const { name } = lane.region;
      const carriers = [...new Set([...carriersOf(lane)].filter(([node]) => node !== target).map(([, carrier]) => carrier))];
      const [carrier] = carriers;
      const isFit =
        serving.has(name) && carrier !== undefined && eligible.fit(name).includes(carrier) && eligible.excuse(name) === undefined;
      if (carriers.length === 1 && isFit) expected.set(lane.key, carrier);
    }
  }

  function isTunnelUp(node: string, peer: string): boolean {
    return network.walk(node, { src: probeAddress(node), dst: probeAddress(peer), kind: 'probe' }).end === 'delivered';
  }

  function rerouted(node: string, { kind, region, lane: ownLane, from, to, why }: Reroute): void {
    const { regions } = truth();
    const [entered, own] = [region, agents.get(node)?.node.region].map((name) => regions.find((each) => each.name === name));
    const lane = kind === 'exit' ? (ownLane ?? 0) : entered === undefined || own === undefined ? 0 : laneOf(entered, own, regions);
    const laneKey = `${region}/${lane}`;
    lastMoveMs.set(`${laneKey} ${to}`, clock.now());
    // The carrier hands its lane over, or its owner takes it: the others come after.
    const isHandedOver = why === `${to} is well again` || (ownLane !== undefined && why === 'the controller chose it');
    if (isHandedOver && (from === node || to === node)) expected.delete(laneKey);
    const key = `${node} ${kind}/${laneKey}`;
    const count = (moves.get(key) ?? 0) + 1;
    moves.set(key, count);
    if (count > BOUNDS.movesPerDisturbance) violateOnce('flapping', `${node} moved its ${kind} of region ${region} ${count} times`);
    const carrier = expected.get(laneKey);
    const isRuled = why === 'the controller chose it' || node === returned;
    // One that has not heard that it is no endpoint any more loses its tunnels.
    const isEntitled = kind === 'exit' || own?.live.some(({ name }) => name === node) === true;
    const isJoined = kind === 'exit' || isTunnelUp(node, from);
    if (carrier !== undefined && from === carrier && !isRuled && isEntitled && isJoined)
      violateOnce('bounce', `${node}: ${from} → ${to}: ${why}; ${from} was well`);
  }

  function decided(region: string, chosen: string): void {
    decisions++;
    if (active.get(region) === chosen) return;
    active.set(region, chosen);
    decidedMs.set(region, clock.now());
    for (const key of expected.keys()) if (key.startsWith(`${region}/`)) expected.delete(key);
    moves = new Map();
  }

  function finish(): void {
    const text = disagreement();
    if (text !== undefined) violate('converged', text);
    const events = disturbances + decisions;
    const seconds = (clock.now() - startMs) / 1000;
    for (const [client, count] of writes) {
      const node = world.nodes.find(({ name }) => name === client);
      const allowed =
        node === undefined
          ? BOUNDS.controllerWritesPerEvent * world.regions.length * disturbances
          : node.isEndpoint
            ? seconds / 10 + BOUNDS.writesPerEvent * events
            : 0;
      if (count > allowed) violate('writes', `${client} wrote ${count} times in ${Math.round(seconds)} s with ${events} events`);
    }
  }

  return {
    changed,
    disturbed,
    healed,
    rerouted,
    decided,
    wrote: (client) => void writes.set(client, (writes.get(client) ?? 0) + 1),
    disagreement,
    finish,
    violations,
    outagesMs,
  };
}
