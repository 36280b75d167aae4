import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WIREGUARD_DEVICE } from '../../api/names.ts';
import type { DataPath, WireguardPlan } from '../../domain/node-plan.ts';
import { diffWireguard, formatWgChange, type WgChange, wgArguments } from '../../domain/wireguard-diff.ts';
import { type Clock, systemClock } from '../../lib/clock.ts';
import { messageOf } from '../../lib/errors.ts';
import type { Logger } from '../../lib/logger.ts';
import { type IpEndpoint, isSameEndpoint } from '../../net/endpoint.ts';
import type { WgDevice } from '../../net/wg-dump.ts';
import type { WgKey } from '../../net/wg-key.ts';
import type { Exec } from '../exec/exec.ts';
import { createAlarm } from '../tunnel/alarm.ts';
import { createChangeNotice } from '../tunnel/change-notice.ts';
import { createHeardFile, type HeardAt } from '../tunnel/heard-file.ts';
import { isRunning, type ProcessId } from '../tunnel/process.ts';
import { restartDelayMs } from '../tunnel/restart-delay.ts';
import type { TunnelDriver, TunnelState } from '../tunnel/tunnel-driver.ts';
import { ensureKey, type KeyFile, presharedKeyOf } from './key-file.ts';
import { describePeers, type PeerMemory, type PeerView } from './peer-state.ts';
import { createExternalWireguardGo } from './external-wireguard-go.ts';
import { createWireguardGo, observeWireguard, runWg } from './wireguard-go.ts';

export interface WireguardDriverOptions {
  readonly exec: Exec;
  /** For what a reboot may take: socket, log and number of wireguard-go. */
  readonly runDir: string;
  /** For the private key. */
  readonly stateDir: string;
  /** Mixed into every handshake when given; never written to log or command line. */
  readonly psk: string | undefined;
  readonly dataPath: DataPath;
  readonly log: Logger;
  readonly clock?: Clock;
  /** `external`: `raven charon` runs wireguard-go in the same run directory; default: it is started from here. */
  readonly daemon?: 'own' | 'external';
  /** What starts a program where the device belongs, such as `ip netns exec NAME`; nothing when we are there already. */
  readonly spawnPrefix?: readonly string[];
}

export interface WireguardDriver extends TunnelDriver<WireguardPlan> {
  /** How many changes were made so far: calls of `wg set`. */
  writes(): number;
  /** Number of wireguard-go's process while it runs. */
  pid(): number | undefined;
}

const HEARD_FILE = 'wireguard-heard.json';
/** A look this old is as good as a new one: a tick asks several times in a row. */
const FRESH_MS = 100;
/** How often the peers are looked at; nobody tells when one came up or went. */
const LOOK_MS = 5_000;
/** While one is about to come up, as both ends should notice at the same time; then more and more rarely. */
const FIRST_LOOK_MS = 200;
const LOOK_GROWTH = 20;

/**
 * WireGuard by `wg(8)`, on the kernel's device or on that of wireguard-go. The kernel's device itself is made by the link driver.
 * It works by itself between two calls of `set`: starts wireguard-go again, tells the device anew where a silent peer is.
 */
export function createWireguardDriver(options: WireguardDriverOptions): WireguardDriver {
  const { exec, runDir, stateDir, psk, dataPath, log, clock = systemClock, spawnPrefix = [] } = options;
  const isExternal = options.daemon === 'external';
  const go = isExternal
    ? createExternalWireguardGo({ exec, runDir })
    : createWireguardGo({ exec, runDir, log, spawnPrefix, beforeStart: removeLeftDevice });
  const heard = createHeardFile(runDir, HEARD_FILE);
  const listeners: (() => void)[] = [];
  const endpointsSet = new Map<string, IpEndpoint>();
  let memory: ReadonlyMap<string, PeerMemory> = new Map();
  let desired: WireguardPlan | undefined;
  let key: KeyFile | undefined;
  let daemon: ProcessId | undefined;
  let seen: { readonly device: WgDevice | undefined; readonly atMs: number } | undefined;
  let writes = 0;
  let failures = 0;
  let closed = false;
  let isAlone = false;
  let last: Promise<unknown> = Promise.resolve();
  const alarm = createAlarm(clock, lookAgain);
  const noticeChange = createChangeNotice(notify);

  /** One thing at a time. */
  function exclusive<T>(task: () => Promise<T>): Promise<T> {
    const result = last.then(task);
    last = result.catch(() => undefined);
    return result;
  }

  function lookAgain(): void {
    void exclusive(reconcile).catch((error: unknown) => {
      log.error({ error: messageOf(error) }, 'tunnels could not be looked after');
      alarm.set(clock.now() + restartDelayMs(++failures + 1));
    });
  }

  async function start(): Promise<void> {
    key ??= await ensureKey(stateDir);
    await mkdir(runDir, { recursive: true, mode: 0o700 });
    if (dataPath === 'user') return startDaemon();
    // Left by an agent that found no WireGuard in the kernel.
    if (!isAlone) await go.stop();
    isAlone = true;
  }

  async function startDaemon(): Promise<void> {
    if (isExternal && !isAlone) await removeDevice();
    isAlone = true;
    const { id, fresh } = await go.ensure();
    daemon = id;
    if (!fresh) return;
    seen = undefined;
    endpointsSet.clear();
    notify();
  }

  async function look(): Promise<WgDevice | undefined> {
    if (seen !== undefined && clock.now() - seen.atMs < FRESH_MS) return seen.device;
    const device = await observe();
    seen = { device, atMs: clock.now() };
    if (device !== undefined && desired !== undefined)
      await heard.note(
        heardIn(device, desired),
        desired.tunnels.map(({ peer }) => peer),
      );
    return device;
  }

  /** Of a wireguard-go that has ended there is no device; it is started again at once. */
  async function observe(): Promise<WgDevice | undefined> {
    const ownDaemon = dataPath === 'user' && !isExternal;
    try {
      if (!ownDaemon || (await isAlive())) return await observeWireguard(exec, dataPath, daemon);
    } catch (error) {
      if (!ownDaemon || (await isAlive())) throw error;
    }
    alarm.set(clock.now());
    return undefined;
  }

  async function isAlive(): Promise<boolean> {
    return daemon !== undefined && (await isRunning(daemon));
  }

  async function reconcile(): Promise<void> {
    if (desired === undefined || closed) return;
    if (dataPath === 'user') await startDaemon();
    seen = undefined;
    const device = await look();
    const view = describe(device);
    const done = device === undefined || (await write(device, desired, view.stuck));
    failures = done ? 0 : failures + 1;
    alarm.set(clock.now() + Math.max(lookDelayMs(view), done ? 0 : restartDelayMs(failures + 1)));
  }

  /** @returns whether everything could be written */
  async function write(device: WgDevice, plan: WireguardPlan, stuck: ReadonlySet<string>): Promise<boolean> {
    noteEndpoints(device, plan);
    const publicKey = key?.publicKey;
    const presharedKeys = publicKey === undefined ? undefined : presharedKeysFor(plan, publicKey);
    const heardAt = await heard.read();
    let done = true;
    for (const change of diffWireguard(device, { plan, publicKey, presharedKeys, endpointsSet, stuck, heardAt }))
      done = (await apply(change)) && done;
    return done;
  }

  /** Where the device is right already, a later change of the plan has to be noticed as well. */
  function noteEndpoints(device: WgDevice, { tunnels }: WireguardPlan): void {
    for (const { peer, publicKey, remote } of tunnels) {
      const endpoint = device.peers.find((each) => each.publicKey === publicKey)?.endpoint;
      if (remote === undefined) endpointsSet.delete(peer);
      else if (endpoint !== undefined && isSameEndpoint(endpoint, remote)) endpointsSet.set(peer, remote);
    }
  }

  function presharedKeysFor({ tunnels }: WireguardPlan, own: WgKey): ReadonlyMap<string, WgKey> {
    return new Map(psk === undefined ? [] : tunnels.map(({ peer, publicKey }) => [peer, presharedKeyOf(psk, own, publicKey)]));
  }

  async function apply(change: WgChange): Promise<boolean> {
    const text = formatWgChange(change);
    log.info({ change: text }, 'setting');
    writes++;
    seen = undefined;
    const presharedKey = join(runDir, 'wireguard.psk');
    try {
      if (change.type === 'peer' && change.presharedKey !== undefined && change.presharedKey !== 'none')
        await writeFile(presharedKey, `${change.presharedKey}\n`, { mode: 0o600 });
      await runWg(exec, wgArguments(change, { privateKey: key?.path ?? '', presharedKey }), daemon);
      if (change.type === 'peer' && change.endpoint !== undefined) endpointsSet.set(change.peer, change.endpoint);
      return true;
    } catch (error) {
      // One broken peer never stops the others; the next look finds what is still missing.
      log.error({ change: text, error: messageOf(error) }, 'could not set');
      return false;
    } finally {
      await rm(presharedKey, { force: true });
    }
  }

  function describe(device: WgDevice | undefined): PeerView {
    if (desired === undefined) return { states: [], memory: new Map(), stuck: new Set() };
    const view = describePeers(desired, device, memory, clock.now());
    memory = view.memory;
    noticeChange(view.states);
    return view;
  }

  function lookDelayMs({ states }: PeerView): number {
    const nowMs = clock.now();
    const youngest = Math.min(...states.filter(({ state }) => state !== 'up').map(({ sinceMs }) => nowMs - sinceMs));
    return Math.min(LOOK_MS, Math.max(FIRST_LOOK_MS, youngest / LOOK_GROWTH));
  }

  function notify(): void {
    if (closed) return;
    for (const listener of listeners) listener();
  }

  async function set(plan: WireguardPlan): Promise<void> {
    if (plan.driver !== 'wireguard') throw new Error(`a plan for ${String(plan['driver'])} was given to the WireGuard driver`);
    return exclusive(async () => {
      key ??= await ensureKey(stateDir);
      desired = plan;
      await reconcile();
    });
  }

  async function list(): Promise<readonly TunnelState[]> {
    return exclusive(async () => (desired === undefined ? [] : describe(await look()).states));
  }

  async function close(): Promise<void> {
    closed = true;
    alarm.cancel();
    await last.catch(() => undefined);
  }

  async function cleanup(): Promise<void> {
    return exclusive(async () => {
      desired = undefined;
      alarm.cancel();
      await go.stop();
      daemon = undefined;
      seen = undefined;
      memory = new Map();
      noticeChange([]);
      endpointsSet.clear();
      await heard.remove();
      await removeDevice();
    });
  }

  /** A kernel device, or that of a wireguard-go which was killed: its other threads may hold it for a moment longer than the program is seen to run. */
  async function removeLeftDevice(): Promise<void> {
    await exec(['ip', 'link', 'del', 'dev', WIREGUARD_DEVICE]).catch(() => undefined);
  }

  /** A kernel device would be in the way of wireguard-go's. */
  async function removeDevice(): Promise<void> {
    const kernels = await exec(['ip', '-o', 'link', 'show', 'type', 'wireguard']).catch(() => '');
    if (new RegExp(String.raw`^\d+: ${WIREGUARD_DEVICE}[:@]`, 'm').test(kernels))
      await exec(['ip', 'link', 'del', 'dev', WIREGUARD_DEVICE]);
  }

  return {
    name: 'wireguard',
    dataPath,
    publicKey: () => key?.publicKey,
    prepare: () => undefined,
    start: () => exclusive(start),
    set,
    list,
    refreshAddress: async () => undefined,
    onChange: (listener) => void listeners.push(listener),
    close,
    cleanup,
    writes: () => writes,
    pid: () => daemon?.pid,
  };
}

/** Peers that proved who they are, where the device has them now. */
function heardIn({ peers }: WgDevice, { tunnels }: WireguardPlan): HeardAt {
  const known = new Map(peers.map((peer) => [peer.publicKey, peer]));
  return new Map(
    tunnels.flatMap(({ peer, publicKey }): [string, IpEndpoint][] => {
      const { endpoint, latestHandshakeS = 0 } = known.get(publicKey) ?? {};
      return endpoint === undefined || latestHandshakeS === 0 ? [] : [[peer, endpoint]];
    }),
  );
}
