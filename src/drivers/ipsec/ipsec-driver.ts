import { DEFAULT_TUNNEL_PORT } from '../../api/names.ts';
import type { IpsecPlan } from '../../domain/node-plan.ts';
import { systemClock } from '../../lib/clock.ts';
import { messageOf } from '../../lib/errors.ts';
import type { Cidr } from '../../net/cidr.ts';
import { listAt } from '../../net/vici.ts';
import { createAlarm } from '../tunnel/alarm.ts';
import { createHeardFile } from '../tunnel/heard-file.ts';
import { createAttemptBook } from './attempts.ts';
import { createCharon, type RunningCharon } from './charon.ts';
import { DEFAULT_CHARON_PATH } from './charon-program.ts';
import { type Connection, planConnections } from './connection.ts';
import { createExternalCharon } from './external-charon.ts';
import { createGreetings } from './greetings.ts';
import type { IpsecDriverOptions } from './ipsec-options.ts';
import { listIkeSas, observeCharon, replacedStates, unknownStates } from './observe.ts';
import { renewableChild } from './sas.ts';
import { type Action, commandOf, decide, type Observed } from './reconcile.ts';
import { restartDelayMs } from '../tunnel/restart-delay.ts';
import { secretActions } from './secret.ts';
import type { TunnelDriver, TunnelState } from '../tunnel/tunnel-driver.ts';
import { createTunnelBook, QUIET_MS } from './tunnel-book.ts';
import { createUserDevice } from './user-device.ts';
import type { ViciClient } from './vici-client.ts';
import { deleteStates, observeXfrm, removeOurs, type XfrmState } from './xfrm.ts';

export interface IpsecDriver extends TunnelDriver<IpsecPlan> {
  /** How many changes were made so far: VICI commands that are not mere questions, and lines for `ip`. */
  writes(): number;
  /** Number of charon's process while it runs. */
  pid(): number | undefined;
}

interface Desired {
  readonly plan: IpsecPlan;
  readonly connections: readonly Connection[];
}

const HEARD_FILE = 'ipsec-heard.json';
/** Commands that only ask. */
const QUESTION = /^(version|stats|list-|get-)/;
/** A charon that lives so long counts as healthy again. */
const STABLE_MS = 30_000;
const EVENTS = ['ike-updown', 'child-updown', 'ike-rekey', 'child-rekey'] as const;

/** IPsec by a charon of our own, spoken to over VICI. It works by itself between two calls of `set`: restarts charon, calls peers again. */
export function createIpsecDriver(options: IpsecDriverOptions): IpsecDriver {
  const {
    exec,
    runDir,
    psk,
    dataPath,
    log,
    clock = systemClock,
    spawnPrefix = [],
    path = DEFAULT_CHARON_PATH,
    sysctlDir = '/proc/sys',
    random = Math.random,
  } = options;
  const listeners: (() => void)[] = [];
  const attempts = createAttemptBook(random);
  const heard = createHeardFile(runDir, HEARD_FILE);
  const greetings = createGreetings(heard);
  let desired: Desired | undefined;
  let port = DEFAULT_TUNNEL_PORT;
  let running: RunningCharon | undefined;
  let stale: readonly XfrmState[] = [];
  let tun: string | undefined;
  let writes = 0;
  let crashes = 0;
  let failures = 0;
  let closed = false;
  let last: Promise<unknown> = Promise.resolve();

  const alarm = createAlarm(clock, lookAgain);
  const book = createTunnelBook({ clock, lookAgain: (atMs) => alarm.set(atMs), onChange: notify });
  const device = createUserDevice(exec, (lines) => (writes += lines), sysctlDir);
  const onCommand = (command: string): void => void (writes += QUESTION.test(command) ? 0 : 1);
  const beforeStart = async (): Promise<void> => {
    if (dataPath === 'user') await device.remove();
    else stale = (await observeXfrm(exec)).states;
  };
  const isExternal = options.charon === 'external';
  const charon = isExternal
    ? createExternalCharon({ runDir, log, onCommand })
    : createCharon({ dataPath, runDir, log, spawnPrefix, path, onCommand, beforeStart });

  /** One thing at a time: two reconciliations at once would both call a missing peer. */
  function exclusive<T>(task: () => Promise<T>): Promise<T> {
    const result = last.then(task);
    last = result.catch(() => undefined);
    return result;
  }

  async function connected(): Promise<RunningCharon> {
    if (running !== undefined) return running;
    const now = await charon.ensure(port);
    if (now.fresh) {
      attempts.clear();
      await greetings.begin(clock.now());
    }
    // Nobody told us before it was started; what it does not know is not its own.
    if (now.fresh && isExternal && dataPath === 'kernel')
      stale = unknownStates((await observeXfrm(exec)).states, await listIkeSas(now.client));
    await adopt(now);
    running = now;
    const { client } = now;
    const sinceMs = clock.now();
    void client.closed.then(() => lost(now, sinceMs));
    if (now.fresh) notify();
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
      await client.subscribe('log', (event) => book.hear(event));
      for (const event of EVENTS) await client.subscribe(event, changed);
    } catch (error) {
      client.close();
      throw error;
    }
  }

  function selectors(): Cidr[] {
    return [...new Set(desired?.connections.flatMap(({ tunnel }) => tunnel.localTs))];
  }

  function notify(): void {
    for (const listener of listeners) listener();
  }

  function changed(): void {
    alarm.set(clock.now() + QUIET_MS);
    notify();
  }

  function lost(gone: RunningCharon, sinceMs: number): void {
    if (running !== gone) return;
    running = undefined;
    if (closed) return;
    crashes = clock.now() - sinceMs > STABLE_MS ? 1 : crashes + 1;
    log.warn({ pid: gone.pid }, 'charon has gone; starting it again');
    alarm.set(clock.now() + restartDelayMs(crashes));
    notify();
  }

  function lookAgain(): void {
    void exclusive(reconcile).catch((error: unknown) => {
      log.error({ error: messageOf(error) }, 'tunnels could not be looked after');
      failures++;
      alarm.set(clock.now() + restartDelayMs(failures + 1));
    });
  }

  async function reconcile(): Promise<void> {
    if (desired === undefined || closed) return;
    const { connections } = desired;
    if (running !== undefined && dataPath === 'user') await keepDevice(running);
    const { client } = await connected();
    const observed = await observeCharon(client, connections, dataPath === 'kernel' ? exec : undefined);
    const nowMs = clock.now();
    attempts.settle(connections, observed.ikeSas);
    const greet = await greetings.calls(desired.plan, connections, observed.ikeSas, nowMs);
    const { actions, againAtMs } = decide({ desired: connections, observed, attempts: attempts.open, nowMs, greet });
    for (const action of actions) await run(client, action, observed);
    await dropStale(connections, observed);
    describe(observed.ikeSas);
    failures = 0;
    if (againAtMs !== undefined) alarm.set(againAtMs);
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

  async function run(client: ViciClient, action: Action, { ikeSas }: Observed): Promise<void> {
    const peer = 'connection' in action ? action.connection.peer : action.peer;
    if ('why' in action) log.info({ peer, why: action.why }, 'ending an SA');
    if (action.type === 'initiate') alarm.set(attempts.add(action.connection, ikeSas, clock.now()));
    const { command, message } = commandOf(action);
    try {
      await client.request(command, message);
    } catch (error) {
      // One broken peer never stops the others; the next look finds what is still missing.
      log.error({ peer, error: messageOf(error) }, 'charon refused');
    }
  }

  /** What a killed charon left in the kernel kept packets going; once there is a new SA it only waits to expire. */
  async function dropStale(connections: readonly Connection[], { ikeSas }: Observed): Promise<void> {
    if (stale.length === 0) return;
    const done = replacedStates(stale, ikeSas, connections);
    stale = stale.filter((state) => !done.includes(state));
    await deleteStates(exec, done);
  }

  async function set(plan: IpsecPlan): Promise<void> {
    if (plan.driver !== 'ipsec') throw new Error(`a plan for ${String(plan['driver'])} was given to the IPsec driver`);
    return exclusive(async () => {
      if (plan.localPort !== port) move(plan.localPort);
      desired = { plan, connections: planConnections(plan) };
      await reconcile();
    });
  }

  /** charon reads its port when it starts. */
  function move(localPort: number): void {
    port = localPort;
    const old = running;
    running = undefined;
    old?.client.close();
  }

  async function list(): Promise<readonly TunnelState[]> {
    return describe(await currentSas());
  }

  function describe(ikeSas: Observed['ikeSas']): readonly TunnelState[] {
    return book.describe({ connections: desired?.connections ?? [], localPort: port }, ikeSas);
  }

  async function currentSas(): Promise<Observed['ikeSas']> {
    try {
      return running === undefined ? [] : await listIkeSas(running.client);
    } catch (error) {
      // It is going; the tunnels are down then, and its end is handled where it is noticed.
      log.debug({ error: messageOf(error) }, 'charon went while it was asked');
      return [];
    }
  }

  /**
   * The kernel tells charon when authenticated ESP comes from elsewhere; kernel-libipsec does not, and charon itself would ask after `dpd_delay`. Only who calls
   * can be behind the NAT. Any exchange does; renewing a CHILD_SA is one that loses no packet.
   */
  async function refreshAddress(peer: string): Promise<void> {
    const connection = desired?.connections.find((each) => each.peer === peer);
    if (dataPath !== 'user' || connection?.tunnel.initiate !== true) return;
    const child = renewableChild(await currentSas(), connection.name);
    if (child !== undefined) await running?.client.request('rekey', { 'child-id': String(child.id) });
  }

  async function close(): Promise<void> {
    closed = true;
    alarm.cancel();
    await last.catch(() => undefined);
    running?.client.close();
    await running?.client.closed;
    running = undefined;
  }

  async function cleanup(): Promise<void> {
    return exclusive(async () => {
      desired = undefined;
      alarm.cancel();
      const old = running;
      running = undefined;
      tun = undefined;
      old?.client.close();
      await charon.stop();
      // Both: nobody says with which data path the last one ran.
      await device.remove();
      await removeOurs(exec);
      book.clear();
      attempts.clear();
      greetings.end();
      await heard.remove();
    });
  }

  return {
    name: 'ipsec',
    dataPath,
    publicKey: () => undefined,
    prepare: (plan) => void (port = plan.localPort),
    start: () => exclusive(async () => void (await connected())),
    set,
    list,
    refreshAddress,
    onChange: (listener) => void listeners.push(listener),
    close,
    cleanup,
    writes: () => writes,
    pid: () => running?.pid,
  };
}
