import { lookup } from 'node:dns/promises';
import { formatChange } from '../domain/kernel-diff.ts';
import { judgeLiveness, judgeReadiness } from '../domain/agent-health.ts';
import { hostExec } from '../drivers/exec/exec.ts';
import { readTunnelPackets } from '../drivers/facts/traffic.ts';
import { createHostFirewall } from '../drivers/host-firewall/host-firewall.ts';
import { createKernel, removalsOf } from '../drivers/kernel.ts';
import { watchKernel } from '../drivers/monitor.ts';
import { type ObservabilityOptions, type ObservabilityServer, startObservabilityServer } from '../drivers/observability/server.ts';
import { openEcho } from '../drivers/probe/echo.ts';
import { removeKey } from '../drivers/wireguard/key-file.ts';
import { systemClock } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import { createLogger, type Logger } from '../lib/logger.ts';
import { removeMirror } from '../store/mirror/copy-file.ts';
import { type AgentMetrics, createAgentMetrics } from './agent-metrics.ts';
import { createEchoKeeper } from './echo-keeper.ts';
import { drain } from './drain.ts';
import { markDraining, unmarkDraining } from './drain-marker.ts';
import { createLeaseKeeper, type LeaseKeeper } from './lease-keeper.ts';
import { type Agent, createAgent } from './loop.ts';
import { followMembership, type Membership } from './membership.ts';
import { openCluster } from './open-cluster.ts';
import { type AgentOptions, parseAgentOptions } from './options.ts';
import { openLookout } from './open-lookout.ts';
import { createPathMtuProber } from './path-mtu-prober.ts';
import { createProber } from './prober.ts';
import { createNameResolver } from './name-resolver.ts';
import { gatewayInspection, type UnfitParts, waitUntilFit } from './unfit.ts';
import { idleDriver, openVpn, readSecret, removeTunnels } from './vpn.ts';

/** `raven agent`: builds the real parts, and works until SIGTERM or SIGINT. */
export async function runAgent(input: Readonly<Record<string, unknown>>, env: NodeJS.ProcessEnv): Promise<void> {
  const options = parseAgentOptions(input, env);
  const { node, logLevel } = options;
  const log = createLogger('agent', logLevel);
  if (options.cleanup) return cleanUp(options, log);
  const exec = hostExec;
  const secret = await readSecret(options);
  const stopping = stopSignal();
  const metrics = createAgentMetrics();
  const store = await openCluster({ ...options, env, metrics, log });
  let agent: Agent | undefined;
  const isWorking = (): boolean => agent === undefined || judgeLiveness(agent.progress(), systemClock.now()) === undefined;
  const lease = createLeaseKeeper({ node, namespace: options.namespace, store, clock: systemClock, log, isWorking });
  const membership = followMembership(store, node);
  metrics.connectLease({ renewedMs: () => lease.renewedMs(), now: () => systemClock.now() });
  const servers = await startServers(options, metrics, log, () => agent);
  /** Sets nothing, so that its drivers are never started. */
  const createReporter: UnfitParts['createReporter'] = (inspect) =>
    (agent = createAgent({
      node,
      store,
      exec,
      inspect,
      kernel: createKernel(exec, { log }),
      tunnels: idleDriver(options, log),
      dataPathReason: 'not looked for while this machine lacks the tools for it',
      prober: createProber(createEchoKeeper(openEcho, log)),
      names: createNameResolver({ lookup: lookUpAll, clock: systemClock, log }),
      clock: systemClock,
      log,
      observer: metrics.observer,
    }));
  try {
    if (!(await waitUntilFit({ exec, log, createReporter }, stopping))) return;
    const vpn = await openVpn({ ...options, secret }, stopping, log);
    if (vpn === undefined) return;
    const { driver, reason } = vpn;
    const overlay = createEchoKeeper(openEcho, log);
    const prober = createProber(overlay);
    const lookout = await openLookout({ overlay, driver, runDir: options.runDir, observer: metrics.observer, log });
    agent = createAgent({
      node,
      store,
      exec,
      inspect: gatewayInspection(exec, { driver: driver.name, dataPath: driver.dataPath, reason }, options.charon),
      firewall: createHostFirewall(exec, { log }),
      kernel: createKernel(exec, { log, sysctlRoot: options.sysctlDir }),
      tunnels: driver,
      dataPathReason: reason,
      forwardNodeIp: options.forwardNodeIp,
      prober,
      lookout,
      pathMtus: createPathMtuProber({ measure: (...question) => prober.measure(...question), clock: systemClock, log }),
      names: createNameResolver({ lookup: lookUpAll, clock: systemClock, log }),
      clock: systemClock,
      log,
      observer: metrics.observer,
    });
    store.onProblems((problems) => log.warn({ problems }, 'objects in the store are wrong'));
    log.info({ node, store: options.store, vpnDriver: driver.name, dataPath: driver.dataPath, reason }, 'started');
    // Of an agent that was killed while it drained.
    await unmarkDraining(options.runDir);
    membership.onChange(() => lease.set(membership.gateways().length > 0));
    await work(agent, stopping, () => leave(options, { lease, membership, log }));
    await overlay.close();
  } finally {
    log.info('stopping; everything stays in place');
    membership.close();
    await lease.close();
    for (const server of servers) await server.close();
    await store.close();
  }
}

/** As getaddrinfo(3) of this machine has it. */
async function lookUpAll(name: string): Promise<readonly string[]> {
  return (await lookup(name, { all: true })).map(({ address }) => address);
}

interface Leaving {
  readonly lease: LeaseKeeper;
  readonly membership: Membership;
  readonly log: Logger;
}

async function leave({ node, runDir, drainTimeoutMs }: AgentOptions, parts: Leaving): Promise<void> {
  if (drainTimeoutMs === undefined) return;
  await markDraining(runDir);
  try {
    await drain({ node, ...parts, tunnelPackets: readTunnelPackets, clock: systemClock, timeoutMs: drainTimeoutMs });
  } finally {
    await unmarkDraining(runDir);
  }
}

/** @param beforeStop is awaited after the signal to stop, while the agent still works */
async function work(agent: Agent, stopping: AbortSignal, beforeStop: () => Promise<void>): Promise<void> {
  agent.start();
  process.on('SIGHUP', () => agent.resync());
  const monitor = watchKernel({}, () => agent.touched());
  await aborted(stopping);
  await beforeStop();
  await monitor.close();
  await agent.stop();
}

/** A port that is taken is no reason to leave a node without its tunnels. */
async function startServers(
  { metrics, health }: AgentOptions,
  { registry }: AgentMetrics,
  log: Logger,
  agent: () => Agent | undefined,
): Promise<ObservabilityServer[]> {
  const live = (): string | undefined => {
    const running = agent();
    return running && judgeLiveness(running.progress(), systemClock.now());
  };
  const ready = (): string | undefined => {
    const running = agent();
    return running === undefined ? 'starting, or waiting for `raven charon`' : judgeReadiness(running.progress());
  };
  const wanted: ObservabilityOptions[] = [
    ...(health === 'off' ? [] : [{ health: { ...health, live, ready }, log }]),
    ...(metrics === 'off' ? [] : [{ metrics: { ...metrics, registry }, log }]),
  ];
  const started = await Promise.allSettled(wanted.map(startObservabilityServer));
  return started.flatMap((result) => {
    if (result.status === 'fulfilled') return [result.value];
    log.error({ error: messageOf(result.reason) }, 'metrics or health cannot be served');
    return [];
  });
}

async function cleanUp(options: AgentOptions, log: Logger): Promise<void> {
  const kernel = createKernel(hostExec, { log });
  // A device that is a daemon's goes with it, and all that stands on it: gone before the kernel's turn comes.
  const had = removalsOf(await kernel.observe()).map(formatChange);
  await removeTunnels(options, log);
  const removed = new Set([...had, ...(await kernel.cleanup())]);
  for (const line of removed) process.stdout.write(`${line}\n`);
  await removeMirror(options.stateDir);
  await removeKey(options.stateDir);
  process.stderr.write(`raven: removed ${removed.size} objects\n`);
}

function stopSignal(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => controller.abort());
  return controller.signal;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
