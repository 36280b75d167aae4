import { DEFAULT_TUNNEL_PORT } from '../../api/names.ts';
import type { DataPath, TunnelPlan } from '../../domain/node-plan.ts';
import { type Clock, systemClock } from '../../lib/clock.ts';
import { messageOf } from '../../lib/errors.ts';
import type { Cidr } from '../../net/cidr.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Exec } from '../exec/exec.ts';
import { createCharon, type RunningCharon } from './charon.ts';
import { type Connection, planConnections } from './connection.ts';
import { type Action, type Attempts, decide, isPlanned, type Observed, retryDelayMs } from './reconcile.ts';
import { reasonOf } from './reasons.ts';
import { isCarrying, parseConnections, parseIkeSas } from './sas.ts';
import { secretActions } from './secret.ts';
import type { TunnelDriver, TunnelState } from './tunnel-driver.ts';
import { describeTunnels, remember, type TunnelMemory } from './tunnel-state.ts';
import { createUserDevice } from './user-device.ts';
import { listAt } from '../../net/vici.ts';
import { deleteStates, observeXfrm, removeOurs, type XfrmState, type XfrmView } from './xfrm.ts';

export interface IpsecDriverOptions {
  readonly exec: Exec;
  /** For what a reboot may take: configuration, socket, log, process number. */
  readonly runDir: string;
  /** For what must outlive a reboot; nothing so far. */
  readonly stateDir: string;
  /** Given to charon over its socket; never written to disk or log. */
  readonly psk: string;
  readonly dataPath: DataPath;
  readonly log: Logger;
  readonly clock?: Clock;
  /** What starts a program where charon belongs, such as `ip netns exec NAME`; nothing when we are there already. */
  readonly spawnPrefix?: readonly string[];
  /** PATH of charon. */
  readonly path?: string;
  /** In [0, 1). */
  readonly random?: () => number;
}

export interface IpsecDriver extends TunnelDriver {
  /** How many changes were made so far: VICI commands that are not mere questions, and lines for `ip`. */
  writes(): number;
  /** Number of charon's process while it runs. */
  pid(): number | undefined;
}

const DEFAULT_PATH = '/usr/sbin:/usr/bin:/sbin:/bin';
/** Commands that only ask. */
const QUESTION = /^(version|stats|list-|get-)/;
/** After an event: others of the same moment are still to come. */
const QUIET_MS = 100;
const FIRST_RESTART_MS = 100;
const LAST_RESTART_MS = 10_000;
/** A charon that lives so long counts as healthy again. */
const STABLE_MS = 30_000;
/** So long peers that should call us are called by us, after our charon crashed. */
const GREET_MS = 15_000;
const EVENTS = ['ike-updown', 'child-updown', 'ike-rekey', 'child-rekey'] as const;

/** IPsec by a charon of our own, spoken to over VICI. It works by itself between two calls of `set`: restarts charon, calls peers again. */
export function createIpsecDriver(options: IpsecDriverOptions): IpsecDriver {
  const { exec, runDir, psk, dataPath, log, clock = systemClock, spawnPrefix = [], path = DEFAULT_PATH, random = Math.random } = options;
  const listeners: (() => void)[] = [];
  const attempts = new Map<string, Attempts & { readonly child: string }>();
  const greetUntilMs = new Map<string, number>();
  let memory: ReadonlyMap<string, TunnelMemory> = new Map();
  let desired: { readonly plan: TunnelPlan; readonly connections: readonly Connection[] } | undefined;
  let port = DEFAULT_TUNNEL_PORT;
  let running: RunningCharon | undefined;
  let stale: readonly XfrmState[] = [];
  let tun: string | undefined;
  let writes = 0;
  let crashes = 0;
  let failures = 0;
  let closed = false;
  let last: Promise<unknown> = Promise.resolve();
  let wakeAtMs = Infinity;
  let cancelWake = (): void => undefined;

  const device = createUserDevice(exec, (lines) => (writes += lines));
  const charon = createCharon({
    dataPath,
    runDir,
    log,
    spawnPrefix,
    path,
    onCommand: (command) => (writes += QUESTION.test(command) ? 0 : 1),
    beforeStart: async () => {
      if (dataPath === 'user') await device.remove();
      else stale = (await observeXfrm(exec)).states;
    },
  });

  /** One thing at a time: two reconciliations at once would both call a missing peer. */
  function exclusive<T>(task: () => Promise<T>): Promise<T> {
    const result = last.then(task);
    last = result.catch(() => undefined);
    return result;
  }

  async function connected(): Promise<RunningCharon> {
    if (running !== undefined) return running;
    const now = await charon.ensure(port);
    if (now.fresh) attempts.clear();
    await adopt(now);
    running = now;
    const { client } = now;
    const sinceMs = clock.now();
    void client.closed.then(() => lost(now, sinceMs));
    return now;
  }

  async function adopt({ client, pid, tun: known }: RunningCharon): Promise<void> {
    try {
      if (dataPath === 'user') {
        tun = await device.keep(pid, known, selectors());
        if (tun === undefined) throw new Error('charon has no TUN device (any more)');
        await charon.noteTun(tun);
      }
      const ids = listAt(await client.request('get-shared'), 'keys');
      for (const { command, message } of secretActions(ids, psk)) await client.request(command, message);
      await client.subscribe('log', (event) => {
        const reason = reasonOf(event);
        if (reason !== undefined) memory = new Map(memory).set(reason.peer, remember(memory.get(reason.peer), reason, clock.now()));
      });
      for (const event of EVENTS) await client.subscribe(event, changed);
    } catch (error) {
      client.close();
      throw error;
    }
  }

  function selectors(): Cidr[] {
    return [...new Set(desired?.connections.flatMap(({ tunnel }) => tunnel.localTs))];
  }

  function changed(): void {
    wake(clock.now() + QUIET_MS);
    for (const listener of listeners) listener();
  }

  function lost(gone: RunningCharon, sinceMs: number): void {
    if (running !== gone) return;
    running = undefined;
    if (closed) return;
    crashes = clock.now() - sinceMs > STABLE_MS ? 0 : crashes + 1;
    log.warn({ pid: gone.pid }, 'charon has gone; starting it again');
    for (const { peer } of desired?.connections ?? []) greetUntilMs.set(peer, clock.now() + GREET_MS);
    wake(clock.now() + Math.min(LAST_RESTART_MS, FIRST_RESTART_MS * 2 ** crashes));
    for (const listener of listeners) listener();
  }

  /** Looks again at `atMs`, or earlier if that was asked for. */
  function wake(atMs: number): void {
    if (closed || atMs >= wakeAtMs) return;
    cancelWake();
    wakeAtMs = atMs;
    cancelWake = clock.after(Math.max(0, atMs - clock.now()), () => {
      wakeAtMs = Infinity;
      void exclusive(reconcile).catch((error: unknown) => {
        log.error({ error: messageOf(error) }, 'tunnels could not be looked after');
        failures++;
        wake(clock.now() + Math.min(LAST_RESTART_MS, FIRST_RESTART_MS * 2 ** failures));
      });
    });
  }

  async function reconcile(): Promise<void> {
    if (desired === undefined || closed) return;
    const { connections } = desired;
    if (running !== undefined && dataPath === 'user') await keepDevice(running);
    const { client } = await connected();
    const observed = await observe();
    const nowMs = clock.now();
    forgetAttempts(connections, observed);
    const greet = new Set([...greetUntilMs].filter(([, untilMs]) => untilMs > nowMs).map(([peer]) => peer));
    const { actions, againAtMs } = decide({ desired: connections, observed, attempts, nowMs, greet });
    for (const action of actions) await run(client, action, observed);
    await dropStale(connections, observed);
    memory = describeTunnels({ connections, localPort: port }, observed.ikeSas, memory, clock.now()).memory;
    failures = 0;
    if (againAtMs !== undefined) wake(againAtMs);
  }

  /** A TUN device that someone deleted cannot be given back to charon. */
  async function keepDevice(now: RunningCharon): Promise<void> {
    tun = await device.keep(now.pid, tun, selectors());
    if (tun !== undefined || running !== now) return;
    log.warn({ pid: now.pid }, "charon's device is gone; replacing charon");
    running = undefined;
    now.client.close();
    await charon.stop();
  }

  async function observe(): Promise<Observed> {
    const { client } = await connected();
    const loaded = parseConnections(await client.stream('list-conns', 'list-conn'));
    const ikeSas = parseIkeSas(await client.stream('list-sas', 'list-sa', { noblock: 'yes' }));
    return { loaded, ikeSas, lost: dataPath === 'kernel' ? lostChildren(ikeSas, await observeXfrm(exec)) : new Set() };
  }

  function lostChildren(ikeSas: Observed['ikeSas'], { states, policies }: XfrmView): Set<number> {
    const spis = new Set(states.map(({ spi }) => spi));
    const ifIds = new Map(desired?.connections.map(({ name, tunnel }) => [name, tunnel.ifId]));
    const isLost = (name: string, child: Observed['ikeSas'][number]['children'][number]): boolean => {
      const ifId = ifIds.get(name);
      const complete = spis.has(child.spiIn) && spis.has(child.spiOut) && (ifId === undefined || policies.has(ifId));
      // In its first seconds it may be half written while we look.
      return isCarrying(child) && child.installedS >= 1 && !complete;
    };
    return new Set(ikeSas.flatMap(({ name, children }) => children.filter((child) => isLost(name, child)).map(({ id }) => id)));
  }

  /** A call that succeeded, or that had another aim, says nothing about the next. */
  function forgetAttempts(connections: readonly Connection[], { ikeSas }: Observed): void {
    for (const connection of connections) {
      const good = ikeSas.some(
        (sa) => sa.name === connection.name && sa.children.some((child) => isCarrying(child) && isPlanned(child, connection)),
      );
      if (good) greetUntilMs.delete(connection.peer);
      if (good || attempts.get(connection.peer)?.child !== connection.children[0]) attempts.delete(connection.peer);
    }
  }

  async function run(client: RunningCharon['client'], action: Action, { ikeSas }: Observed): Promise<void> {
    try {
      switch (action.type) {
        case 'load':
          await client.request('load-conn', { [action.connection.name]: action.connection.config(action.child) });
          return;
        case 'unload':
          await client.request('unload-conn', { name: action.name });
          return;
        case 'initiate':
          noteAttempt(action.connection, ikeSas);
          // -1: do not wait.
          await client.request('initiate', {
            child: action.child,
            ike: action.connection.name,
            timeout: '-1',
            'init-limits': 'no',
          });
          return;
        case 'terminateIke':
          log.info({ peer: action.peer, why: action.why }, 'ending an IKE_SA');
          await client.request('terminate', { 'ike-id': String(action.id), force: 'yes', timeout: '-1' });
          return;
        case 'terminateChild':
          log.info({ peer: action.peer, why: action.why }, 'ending a CHILD_SA');
          await client.request('terminate', { 'child-id': String(action.id), force: 'yes', timeout: '-1' });
      }
    } catch (error) {
      // One broken peer never stops the others; the next look finds what is still missing.
      log.error(
        { peer: 'connection' in action ? action.connection.peer : action.peer, action: action.type, error: messageOf(error) },
        'charon refused',
      );
    }
  }

  function noteAttempt({ peer, name, children }: Connection, ikeSas: Observed['ikeSas']): void {
    const count = (attempts.get(peer)?.count ?? 0) + 1;
    const narrow = ikeSas.some((sa) => sa.name === name && sa.children.some((each) => isCarrying(each) && children.includes(each.name)));
    const notBeforeMs = clock.now() + retryDelayMs(count, random(), narrow);
    attempts.set(peer, { child: children[0], count, notBeforeMs });
    wake(notBeforeMs);
  }

  /** What a killed charon left in the kernel kept packets going; once there is a new SA it only waits to expire. */
  async function dropStale(connections: readonly Connection[], { ikeSas }: Observed): Promise<void> {
    if (stale.length === 0) return;
    const settled = new Set(
      connections
        .filter(({ name }) =>
          ikeSas.some((sa) => sa.name === name && sa.children.some((child) => isCarrying(child) && child.installedS > 2)),
        )
        .map(({ tunnel }) => tunnel.ifId),
    );
    const done = stale.filter(({ ifId }) => settled.has(ifId));
    if (done.length === 0) return;
    stale = stale.filter(({ ifId }) => !settled.has(ifId));
    await deleteStates(exec, done);
  }

  async function set(plan: TunnelPlan): Promise<void> {
    return exclusive(async () => {
      if (plan.localPort !== port) await move(plan.localPort);
      desired = { plan, connections: planConnections(plan) };
      await reconcile();
    });
  }

  /** charon reads its port when it starts. */
  async function move(localPort: number): Promise<void> {
    port = localPort;
    const old = running;
    running = undefined;
    old?.client.close();
  }

  async function list(): Promise<readonly TunnelState[]> {
    const connections = desired?.connections ?? [];
    const ikeSas = await currentSas();
    const described = describeTunnels({ connections, localPort: port }, ikeSas, memory, clock.now());
    memory = described.memory;
    return described.states;
  }

  async function currentSas(): Promise<Observed['ikeSas']> {
    try {
      return running === undefined ? [] : parseIkeSas(await running.client.stream('list-sas', 'list-sa', { noblock: 'yes' }));
    } catch (error) {
      // It is going; the tunnels are down then, and its end is handled where it is noticed.
      log.debug({ error: messageOf(error) }, 'charon went while it was asked');
      return [];
    }
  }

  async function close(): Promise<void> {
    closed = true;
    cancelWake();
    await last.catch(() => undefined);
    running?.client.close();
    await running?.client.closed;
    running = undefined;
  }

  async function cleanup(): Promise<void> {
    return exclusive(async () => {
      desired = undefined;
      cancelWake();
      wakeAtMs = Infinity;
      const old = running;
      running = undefined;
      tun = undefined;
      old?.client.close();
      await charon.stop();
      await device.remove();
      if (dataPath === 'kernel') await removeOurs(exec);
      memory = new Map();
      attempts.clear();
      greetUntilMs.clear();
    });
  }

  return {
    name: 'ipsec',
    dataPath,
    prepare: (plan) => void (port = plan.localPort),
    start: () => exclusive(async () => void (await connected())),
    set,
    list,
    onChange: (listener) => void listeners.push(listener),
    close,
    cleanup,
    writes: () => writes,
    pid: () => running?.pid,
  };
}
