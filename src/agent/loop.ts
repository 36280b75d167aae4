import type { Gateway } from '../api/gateway.ts';
import type { TunnelEndpoint } from '../api/tunnel-endpoint.ts';
import type { LoopProgress } from '../domain/agent-health.ts';
import type { LocalFacts } from '../domain/facts.ts';
import { diffKernel, formatChange } from '../domain/kernel-diff.ts';
import type { NodePlan } from '../domain/node-plan.ts';
import type { LinkHealth } from '../domain/paths.ts';
import { HOST_UNFIT, type HostLacks } from '../domain/host-needs.ts';
import { plan } from '../domain/plan.ts';
import { describeEndpoint } from '../domain/report.ts';
import { hasClosedFirewall } from '../domain/host-findings.ts';
import { planWatch } from '../domain/reroute-view.ts';
import { buildSnapshot, regionOfNode, type Snapshot } from '../domain/snapshot.ts';
import type { Exec } from '../drivers/exec/exec.ts';
import type { HostFirewall } from '../drivers/host-firewall/host-firewall.ts';
import type { TunnelDriver, TunnelState } from '../drivers/tunnel/tunnel-driver.ts';
import type { Kernel } from '../drivers/kernel.ts';
import type { Clock } from '../lib/clock.ts';
import { type Coalescer, createCoalescer } from '../lib/coalesce.ts';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { parseIp } from '../net/ip.ts';
import type { ClusterStore } from '../store/cluster-store.ts';
import { createFindingLog } from './finding-log.ts';
import { createMachine, factsQuery } from './machine.ts';
import type { NameResolver } from './name-resolver.ts';
import { type Lookout, noLookout } from './lookout.ts';
import { type AgentObserver, noObserver } from './observer.ts';
import { type PathMtuProber, noPathMtus } from './path-mtu-prober.ts';
import type { Prober } from './prober.ts';
import { createPublisher } from './publisher.ts';

export interface AgentParts {
  readonly node: string;
  readonly store: ClusterStore;
  readonly exec: Exec;
  readonly kernel: Kernel;
  readonly tunnels: TunnelDriver;
  /** Why `tunnels` uses the data path that it uses. */
  readonly dataPathReason: string;
  /** `--forward-node-ip` */
  readonly forwardNodeIp?: boolean;
  /** What this machine lacks; asked at each look at the kernel, so cheap when nothing is missing. Absent: nothing. */
  readonly inspect?: () => Promise<HostLacks>;
  /** Absent: what others filter is not looked at. */
  readonly firewall?: HostFirewall;
  readonly prober: Prober;
  /** Absent: packets go as the controller has it. */
  readonly lookout?: Lookout;
  readonly pathMtus?: PathMtuProber;
  readonly names: NameResolver;
  readonly clock: Clock;
  readonly log: Logger;
  readonly observer?: AgentObserver;
}

export interface Agent {
  /** Begins to watch and to work. */
  start(): void;
  /** Someone changed our objects, or the machine's links: look at once. */
  touched(): void;
  /** As `touched`, because an operator asked: the log tells when it is done. */
  resync(): void;
  /** How far it has come, for probes. */
  progress(): LoopProgress;
  /** Stops working and leaves everything as it is: packets go on. */
  stop(): Promise<void>;
}

/** How often the kernel is compared with the plan although nothing seems to have happened. */
const RESYNC_MS = 10_000;
/** After a failed write: soon, since a device may be about to appear. */
const RETRY_MS = 1_000;
/** While a firewall of the host is in the way: whoever opens it should see soon that it was enough. */
const BLOCKED_MS = 4_000;
/** Collects the changes of one burst. */
const QUIET_MS = 15;
/** Long enough for the other side's calls, with retransmissions, to have failed. */
const STUCK_MS = 15_000;

/** The loop of one node: observe, plan, set. See `docs/architecture.md`. */
export function createAgent(parts: AgentParts): Agent {
  const {
    node,
    store,
    exec,
    kernel,
    tunnels,
    dataPathReason,
    inspect,
    firewall,
    forwardNodeIp = false,
    prober,
    lookout = noLookout,
    pathMtus = noPathMtus,
    names,
    clock,
    log,
    observer = noObserver,
  } = parts;
  const gateways = new Map<string, Gateway>();
  const endpoints = new Map<string, TunnelEndpoint>();
  const synced = new Set<string>();
  const machine = createMachine({ exec, ...(inspect && { inspect }), ...(firewall && { firewall }) });
  const findings = createFindingLog(log);
  let appliedText: string | undefined;
  let lookAtKernel = true;
  let resyncAsked = false;
  let vpnStarted = false;
  let vpnCleaned = false;
  let cancelTimer = (): void => undefined;
  let stopped = false;
  let isApplied = false;
  let obstacle: string | undefined;
  let tickSinceMs: number | undefined;
  let lastTickMs: number | undefined;
  let seen: readonly TunnelState[] = [];
  const publisher = createPublisher({ node, store, clock, log });
  const ticks: Coalescer = createCoalescer(runTick, (error) => log.error({ error: messageOf(error) }, 'tick'), QUIET_MS);

  async function runTick(): Promise<void> {
    if (!isSynced() || stopped) return;
    tickSinceMs = clock.now();
    obstacle = undefined;
    try {
      await tick();
    } catch (error) {
      obstacle = messageOf(error);
      log.error({ error: obstacle }, 'tick failed');
      schedule(RETRY_MS);
    }
    lastTickMs = clock.now();
    observer.ticked({ ok: obstacle === undefined, durationMs: lastTickMs - tickSinceMs, tunnels: seen, rtts: prober.rtts() });
    tickSinceMs = undefined;
  }

  async function tick(): Promise<void> {
    const full = lookAtKernel;
    lookAtKernel = false;
    const asked = resyncAsked;
    resyncAsked = false;
    const snapshot = buildSnapshot([...gateways.values()], [...endpoints.values()]);
    const facts = await machine.look(factsQuery(snapshot, node), full);
    const local: LocalFacts = { ...facts, driver: tunnels.name, dataPath: tunnels.dataPath, forwardNodeIp };
    const health = healthOf(await listTunnels());
    const plannedAt = performance.now();
    const next = plan({ node, snapshot, facts: local, health, pathMtus: pathMtus.found(), choices: lookout.choices() });
    observer.planned(next, performance.now() - plannedAt);
    findings.log(next);
    // An address that is away for a moment (link down, DHCP) is no reason to take tunnels down; nor is a tool that is.
    const missing = next.findings.find(({ reason }) => reason === 'NodeAddressMissing' || reason === HOST_UNFIT);
    if (missing !== undefined) {
      obstacle = missing.message;
      if (missing.reason === HOST_UNFIT) await publish(snapshot, next, local);
      return schedule(missing.reason === HOST_UNFIT ? RESYNC_MS : RETRY_MS);
    }
    await startVpn(next, full);
    const failed = await setKernel(next, full);
    await setTunnels(next);
    prober.set({ address: local.hostSources[4] ?? local.hostSources[6], peers: next.paths });
    lookout.set(planWatch(snapshot, node, next));
    await publish(snapshot, next, local);
    pathMtus.set(next.paths, seen);
    isApplied ||= !failed;
    if (asked) log.info('resync');
    schedule(failed ? RETRY_MS : hasClosedFirewall(next) ? BLOCKED_MS : RESYNC_MS);
  }

  function healthOf(states: readonly TunnelState[]): ReadonlyMap<string, LinkHealth> {
    const now = clock.now();
    return new Map(
      states.map(({ peer, state, sinceMs }) => [peer, { up: state === 'up', stuck: state !== 'up' && now - sinceMs > STUCK_MS }]),
    );
  }

  /** The user-space VPN makes the device that routes point to, so it comes first. */
  async function startVpn(next: NodePlan, full: boolean): Promise<void> {
    if (next.tunnels === undefined) return;
    // One that ended took its device along: that it is there again is seen before the kernel is compared. What fails here fails in `setTunnels` too.
    if (vpnStarted) return full ? tunnels.start().catch(() => undefined) : undefined;
    tunnels.prepare(next.tunnels);
    await tunnels.start();
    vpnStarted = true;
    vpnCleaned = false;
  }

  /** @returns whether something could not be written */
  async function setKernel(next: NodePlan, full: boolean): Promise<boolean> {
    const text = JSON.stringify({ ...next, tunnels: undefined, findings: undefined, paths: undefined });
    if (!full && text === appliedText) return false;
    const changes = diffKernel(await kernel.observe(), next);
    if (changes.length > 0) log.info({ changes: changes.map(formatChange) }, 'setting');
    const { failed } = await kernel.apply(changes);
    observer.compared({ writes: changes.length, failed: failed.length });
    for (const { change, error } of failed) log.error({ change: formatChange(change), error }, 'could not set');
    const [first] = failed;
    if (first !== undefined) obstacle = `${formatChange(first.change).split('\n')[0]}: ${first.error}`;
    appliedText = failed.length === 0 ? text : undefined;
    return failed.length > 0;
  }

  async function setTunnels(next: NodePlan): Promise<void> {
    if (next.tunnels !== undefined) return tunnels.set(next.tunnels);
    if (vpnCleaned) return;
    // No gateway (any more): its daemon may still run, also from before our start.
    await tunnels.cleanup();
    vpnStarted = false;
    vpnCleaned = true;
  }

  async function publish(snapshot: Snapshot, next: NodePlan, local: LocalFacts): Promise<void> {
    const previous = endpoints.get(node);
    seen = await listTunnels();
    const report = describeEndpoint({
      node,
      snapshot,
      plan: next,
      facts: local,
      dataPathReason,
      publicKey: tunnels.publicKey(),
      tunnels: seen,
      rtts: prober.rtts(),
      resolved: names.follow(ownHostNames(snapshot)),
      forwarding: lookout.fault(),
      previous,
      nowMs: clock.now(),
    });
    publisher.set(report, previous);
  }

  /** Of the load balancer in front of this node. */
  function ownHostNames(snapshot: Snapshot): readonly string[] {
    const self = regionOfNode(snapshot, node)?.active.find(({ name }) => name === node);
    return (self?.exposed?.hosts ?? []).filter((host) => parseIp(host) === undefined);
  }

  async function listTunnels(): Promise<readonly TunnelState[]> {
    return vpnStarted ? tunnels.list() : [];
  }

  function isSynced(): boolean {
    return synced.size === 2;
  }

  function schedule(delayMs: number): void {
    cancelTimer();
    if (!stopped) cancelTimer = clock.after(delayMs, touched);
  }

  function touched(): void {
    lookAtKernel = true;
    void ticks.request();
  }

  function resync(): void {
    resyncAsked = true;
    pathMtus.recheck();
    touched();
  }

  function start(): void {
    store.watch('Gateway', follow(gateways, 'Gateway'));
    store.watch('TunnelEndpoint', follow(endpoints, 'TunnelEndpoint'));
    tunnels.onChange(touched);
    prober.onChange(() => void ticks.request());
    lookout.onChange(() => void ticks.request());
    pathMtus.onChange(() => void ticks.request());
    names.onChange(() => void ticks.request());
  }

  function follow<T extends { metadata: { name: string } }>(cache: Map<string, T>, kind: string) {
    return (event: { type: 'set'; object: T } | { type: 'delete'; name: string } | { type: 'synced' }): void => {
      if (event.type === 'set') cache.set(event.object.metadata.name, event.object);
      else if (event.type === 'delete') cache.delete(event.name);
      else synced.add(kind);
      void ticks.request();
    };
  }

  async function stop(): Promise<void> {
    stopped = true;
    cancelTimer();
    names.stop();
    await ticks.stop();
    await publisher.close();
    await lookout.close();
    pathMtus.close();
    await prober.close();
    await tunnels.close();
  }

  function progress(): LoopProgress {
    return { isSynced: isSynced(), isApplied, tickSinceMs, lastTickMs, obstacle };
  }

  return { start, touched, resync, progress, stop };
}
