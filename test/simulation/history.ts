import { createHash } from 'node:crypto';
import type { Gateway } from '../../src/api/gateway.ts';
import type { TunnelEndpoint } from '../../src/api/tunnel-endpoint.ts';
import { formatReroute } from '../../src/domain/reroute.ts';
import type { ChoiceMemory, Choices } from '../../src/domain/reroute-state.ts';
import type { Logger } from '../../src/lib/logger.ts';
import { createSimAgent, createSnapshots, type SimAgent } from './agent.ts';
import { type Client, createApi } from './api.ts';
import { createSimController } from './controller.ts';
import { createConditions, drawFaults, type Fault, formatFault } from './faults.ts';
import { BOUNDS, createInvariants, type Violation } from './invariants.ts';
import { createKubelets } from './kubelets.ts';
import { createLinks } from './links.ts';
import { createNetwork } from './network.ts';
import { createProbes } from './probes.ts';
import { createRandom } from './random.ts';
import { createVirtualClock } from './virtual-clock.ts';
import { drawWorld, gatewayOf, hasShared, nodeOf, type NodeShape, type World } from './world.ts';

/** One history, played. */
export interface History {
  readonly seed: number;
  readonly world: World;
  readonly faults: readonly Fault[];
  readonly violations: readonly Violation[];
  /** Of all that happened: equal for equal seeds. */
  readonly digest: string;
  readonly timeline: readonly string[];
  /** How long pairs that must reach each other did not, each time. */
  readonly outagesMs: readonly number[];
  readonly durationMs: number;
  readonly probes: number;
}

export interface HistoryOptions {
  readonly seed: number;
  /** Others than the seed's, to shrink a history. */
  readonly faults?: readonly Fault[];
  /** Spoils the byte of statements of every probe and answer: for tests of the simulation itself. */
  readonly spoil?: (flags: number) => number;
}

/** A machine that comes back, until its agent runs. */
const BOOT_MS = { min: 800, max: 3_000 };
const CALM_MS = 3_000;

/** Plays one history to its end: all faults begin and heal, then everybody has time to agree. */
export async function playHistory(options: HistoryOptions): Promise<History> {
  const { seed } = options;
  const world = drawWorld(seed);
  const faults = options.faults ?? drawFaults(seed, world);
  const cluster = createCluster(world, options);
  const { clock, say, invariants } = cluster;
  const startMs = clock.now();
  for (const fault of faults) {
    clock.after(fault.atMs, () => cluster.begin(fault));
    clock.after(fault.atMs + fault.forMs, () => cluster.end(fault));
  }
  const healedMs = Math.max(0, ...faults.map(({ atMs, forMs }) => atMs + forMs));
  const [convergedMs, distrustMs] = hasShared(world)
    ? [BOUNDS.sharedConvergedMs, BOUNDS.sharedDistrustMs]
    : [BOUNDS.convergedMs, BOUNDS.distrustMs];
  await clock.runUntil(startMs + healedMs + convergedMs);
  const wasDistrusted = faults.some(({ kind }) => kind === 'forward');
  if (wasDistrusted && invariants.disagreement() !== undefined) await clock.runUntil(startMs + healedMs + distrustMs);
  say('the end: all must agree');
  invariants.finish();
  await clock.runUntil(clock.now() + CALM_MS);
  return {
    seed,
    world,
    faults,
    violations: invariants.violations,
    digest: createHash('sha256').update(cluster.timeline.join('\n')).digest('hex').slice(0, 16),
    timeline: cluster.timeline,
    outagesMs: invariants.outagesMs,
    durationMs: clock.now() - startMs,
    probes: cluster.probes.count(),
  };
}

/** All that a history happens to, wired up and started. */
function createCluster(world: World, { seed, spoil = (flags) => flags }: HistoryOptions) {
  const clock = createVirtualClock();
  const startMs = clock.now();
  const random = createRandom(seed ^ 0x0ddba11);
  const conditions = createConditions();
  const timeline: string[] = [];
  const say = (text: string): void => void timeline.push(`${((clock.now() - startMs) / 1000).toFixed(3).padStart(8)}  ${text}`);
  const agents = new Map<string, SimAgent>();
  const booting = new Set<string>();
  const network = createNetwork({
    world,
    conditions,
    clock,
    random,
    onChange: () => {
      invariants.changed();
      links.changed();
    },
  });
  const api = createApi({
    clock,
    random,
    onWrite: (client, object) => {
      invariants.wrote(client);
      say(`${client} writes ${object}`);
    },
  });
  const probes = createProbes({ world, network, agents, clock, spoil });
  const links = createLinks({ network, agents, clock });
  const snapshots = createSnapshots();
  const invariants = createInvariants({
    world,
    conditions,
    network,
    agents,
    api,
    snapshots,
    clock,
    say,
    onFlows: (tunnels) => probes.flow(tunnels),
  });
  const controller = createSimController({
    api,
    clock,
    log: SILENT,
    isReachable: () => !conditions.has('api-server'),
    onWritten: ({ metadata: { name }, status }) => {
      const active = (status?.activeEndpoints ?? []).map(({ nodeName }) => nodeName).join();
      say(`controller: region ${name}: active ${active === '' ? 'none' : active}`);
      invariants.decided(name, active);
    },
  });

  function addAgent(node: NodeShape): void {
    const { name } = node;
    const client: Client = api.connect({
      name,
      isReachable: () => network.reachesApi(name),
      isBlind: () => conditions.has('watch', name),
      onEvent: (event) => {
        if ('deleted' in event || event.object.kind !== 'Node') agent.take(event as { object: Gateway | TunnelEndpoint });
      },
      onSynced: (keys) => agent.synced(keys),
    });
    const agent = createSimAgent({
      node,
      world,
      clock,
      random,
      client,
      snapshots,
      log: SILENT,
      wires: {
        setRouting: (plan) => network.setRouting(name, plan),
        setTunnels: (plan) => {
          probes.retain(name, new Set(plan?.tunnels.map(({ peer }) => peer)));
          network.setTunnels(name, plan);
        },
        probe: (kind, target, flags, timeoutMs) => probes.send(node, kind, { target, flags, timeoutMs }),
        received: () => probes.received(name),
        tunnels: (plan) => links.of(name, plan),
      },
      onReroute: (reroute) => {
        say(`${name}: ${formatReroute(reroute)}`);
        invariants.rerouted(name, reroute);
      },
      onChoices: () => say(`${name}: ${formatChoices(agent.choices())}`),
      onReady: () => {
        say(`${name}: agent ready`);
        invariants.disturbed();
      },
    });
    agents.set(name, agent);
  }

  function startAgent(name: string, memory?: ChoiceMemory): void {
    const agent = agents.get(name);
    if (agent === undefined || agent.isRunning() || booting.has(name) || conditions.has('power', name) || conditions.has('agent', name))
      return;
    say(`${name}: agent starts${memory === undefined ? '' : ', remembering'}`);
    agent.start(memory);
  }

  function begin(fault: Fault): void {
    say(`FAULT ${formatFault(fault)}`);
    const { kind, target } = fault;
    conditions.begin(fault);
    if (kind === 'power' || kind === 'agent') agents.get(target)?.stop();
    if (kind === 'power') {
      network.powerOff(target);
      probes.retain(target, new Set());
    }
    if (kind === 'controller') controller.stop();
    touch();
    invariants.disturbed();
  }

  function end(fault: Fault): void {
    const { kind, target, keepsChoices } = fault;
    say(`HEALED ${kind} ${target}`);
    conditions.end(fault);
    if (kind === 'power' && !conditions.has('power', target)) boot(target);
    if (kind === 'agent') startAgent(target, keepsChoices ? agents.get(target)?.memory() : undefined);
    if (kind === 'controller' && !conditions.has('controller')) controller.start();
    touch();
    invariants.healed(fault);
  }

  function boot(name: string): void {
    booting.add(name);
    clock.after(random.int(BOOT_MS.min, BOOT_MS.max), () => {
      booting.delete(name);
      startAgent(name);
    });
  }

  function touch(): void {
    network.touched();
    api.touched();
  }

  say(`seed ${seed}`);
  for (const region of world.regions) api.put(gatewayOf(region, world));
  for (const node of world.nodes) api.put(nodeOf(node, true));
  for (const node of world.nodes) addAgent(node);
  createKubelets({ world, network, conditions, api, clock, random, say });
  controller.start();
  for (const { name } of world.nodes) clock.after(random.int(0, 1_000), () => startAgent(name));
  return { clock, say, timeline, invariants, probes, begin, end };
}

/** `exit b1, entries a: a1, c: c1`; with two lanes `exit b1 b3, …`. */
function formatChoices({ exits, entry }: Choices): string {
  const entries = [...entry].map(([region, name]) => `${region}: ${name}`).join(', ');
  const names = exits.map((exit) => exit ?? '?').join(' ');
  return `chooses exit ${exits.some((exit) => exit !== undefined) ? names : 'as the controller has it'}${entries === '' ? '' : `, entries ${entries}`}`;
}

const SILENT: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => {
    throw new Error('nobody here makes child loggers');
  },
};
