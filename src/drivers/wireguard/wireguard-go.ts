import { access, constants, mkdir, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DEFAULT_RUN_DIR, WIREGUARD_DEVICE } from '../../api/names.ts';
import type { DataPath } from '../../domain/node-plan.ts';
import { messageOf, UserError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/logger.ts';
import { parseWgDump, type WgDevice } from '../../net/wg-dump.ts';
import { CommandError, type Exec, isMissing } from '../exec/exec.ts';
import { startDaemon } from '../tunnel/daemon.ts';
import { endProcess, identifyProcess, isRunning, poll, type ProcessId } from '../tunnel/process.ts';
import { openWireguardExchange } from './wireguard-exchange.ts';

/** The process that carries the packets where the kernel has no WireGuard. It outlives the agent. */
export interface WireguardGo {
  /**
   * The running one, or a new one that answers. `id`: its process, absent when it runs in another container.
   *
   * @throws {UserError} when wireguard-go is not installed
   * @throws when it does not come up, with the end of its log
   */
  ensure(): Promise<{ readonly id: ProcessId | undefined; readonly fresh: boolean }>;
  /** Ends it, and with it its device. Idempotent. */
  stop(): Promise<void>;
}

export interface WireguardGoOptions {
  readonly exec: Exec;
  readonly runDir: string;
  readonly log: Logger;
  /** What starts a program where the device belongs; it must become that program (exec). */
  readonly spawnPrefix: readonly string[];
  readonly beforeStart: () => Promise<void>;
}

const PROGRAM = 'wireguard-go';
const PROGRAM_PATHS = ['/usr/bin/wireguard-go', '/usr/local/bin/wireguard-go', '/usr/sbin/wireguard-go'] as const;
/** Generous: 0.1 s, under software emulation on a busy machine many seconds. */
const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 5_000;
/** Packets wait for it. */
const LOOK_EVERY_MS = 10;
const LOG_TAIL_LINES = 5;
export const WIREGUARD_GO_ENV = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LOG_LEVEL: 'error' };

/**
 * wireguard-go listens in /var/run/wireguard, by the name of its device, which is the same on every node. Where several nodes share a file
 * system (a run directory other than the usual one tells so), each gets a view of its own with a folder of its run directory in that place.
 */
const OWN_VIEW = 'mkdir -p /var/run/wireguard && mount --bind "$0" /var/run/wireguard && exec "$@"';

export function createWireguardGo({ exec, runDir, log, spawnPrefix, beforeStart }: WireguardGoOptions): WireguardGo {
  const logPath = join(runDir, 'wireguard-go.log');
  const pidPath = join(runDir, 'wireguard-go.pid');
  const sockets = join(runDir, 'wireguard');
  const hasOwnView = runDir !== DEFAULT_RUN_DIR;
  let known: ProcessId | undefined;

  async function current(): Promise<ProcessId | undefined> {
    if (known === undefined || !(await isRunning(known))) known = await findWireguardGo(exec);
    return known;
  }

  async function ensure(): Promise<{ id: ProcessId; fresh: boolean }> {
    const running = await current();
    if (running !== undefined) return { id: running, fresh: false };
    const id = await start();
    known = id;
    return { id, fresh: true };
  }

  async function start(): Promise<ProcessId> {
    const program = await locateWireguardGo();
    await beforeStart();
    if (hasOwnView) await mkdir(sockets, { recursive: true, mode: 0o700 });
    const command = [program, '-f', WIREGUARD_DEVICE];
    const view = !hasOwnView ? [] : ['unshare', '--mount', '--propagation', 'slave', 'sh', '-c', OWN_VIEW, sockets];
    const id = await startDaemon([...spawnPrefix, ...view, ...command], { logPath, env: WIREGUARD_GO_ENV });
    const up =
      id &&
      (await poll(async () => ((await isRunning(id)) ? (await answers(exec, id)) || undefined : 'gone'), START_TIMEOUT_MS, LOOK_EVERY_MS));
    if (id === undefined || up !== true) {
      if (id !== undefined) await endProcess(id, STOP_TIMEOUT_MS);
      throw new Error(`wireguard-go did not start (${command.join(' ')}); ${logPath}: ${await logTail()}`);
    }
    await writeFile(pidPath, `${id.pid}\n`);
    log.info({ pid: id.pid, log: logPath }, 'wireguard-go started');
    return id;
  }

  async function stop(): Promise<void> {
    const running = await current();
    if (running !== undefined) await endProcess(running, STOP_TIMEOUT_MS);
    known = undefined;
    await rm(pidPath, { force: true });
    // Of a time when it ran elsewhere; should it still, this ends it.
    const { wanted, running: elsewhere } = openWireguardExchange(runDir);
    await wanted.remove();
    await elsewhere.remove();
    if (hasOwnView) await rm(sockets, { recursive: true, force: true });
  }

  async function logTail(): Promise<string> {
    try {
      return (await readFile(logPath, 'utf8')).trim().split('\n').slice(-LOG_TAIL_LINES).join(' | ');
    } catch (error) {
      return messageOf(error);
    }
  }

  return { ensure, stop };
}

/**
 * Runs `wg` where it finds the device.
 *
 * @param daemon wireguard-go's process, whose view of the file system has its socket; undefined: the kernel's device
 * @throws {CommandError}
 */
export async function runWg(exec: Exec, args: readonly string[], daemon: ProcessId | undefined): Promise<string> {
  const view = daemon === undefined || (await isSameView(daemon.pid)) ? [] : ['nsenter', '--target', String(daemon.pid), '--mount'];
  const [first = 'wg', ...rest] = [...view, 'wg', ...args];
  return exec([first, ...rest]);
}

/** Whether wireguard-go can be asked about its device. */
export async function answers(exec: Exec, daemon?: ProcessId): Promise<boolean> {
  try {
    await runWg(exec, ['show', WIREGUARD_DEVICE, 'listen-port'], daemon);
    return true;
  } catch {
    return false;
  }
}

/** The device as it is now, wherever it is; undefined when there is none. Reads only. */
export async function observeWireguard(exec: Exec, dataPath: DataPath, known?: ProcessId): Promise<WgDevice | undefined> {
  // None to be found: it may run in another container, and is asked all the same.
  const daemon = dataPath === 'kernel' ? undefined : (known ?? (await findWireguardGo(exec)));
  try {
    return parseWgDump(await runWg(exec, ['show', WIREGUARD_DEVICE, 'dump'], daemon));
  } catch (error) {
    if (isNoDevice(error)) return undefined;
    throw error;
  }
}

/** Whether `wg` said that there is no such device, or that nobody answers any more for it. */
function isNoDevice(error: unknown): boolean {
  return (
    error instanceof CommandError &&
    /Unable to access interface: (No such device|Protocol not supported|Connection refused)/.test(error.stderr)
  );
}

/** The wireguard-go of our device in the network namespace of `exec`, whoever started it. */
export async function findWireguardGo(exec: Exec): Promise<ProcessId | undefined> {
  const pids = (await readdir('/proc')).map(Number).filter((pid) => pid > 1);
  const named = (await Promise.all(pids.map(async (pid) => ((await hasItsName(pid)) ? [pid] : [])))).flat();
  if (named.length === 0) return undefined;
  const home = await homeOf(exec);
  for (const pid of named) if ((await readlink(`/proc/${pid}/ns/net`).catch(() => '')) === home) return identifyProcess(pid);
  return undefined;
}

/** Where `exec` leads to, only a program that it runs can tell; where that program is missing, `exec` is this machine's own, which runs none elsewhere. */
async function homeOf(exec: Exec): Promise<string> {
  try {
    return (await exec(['readlink', '/proc/self/ns/net'])).trim();
  } catch (error) {
    if (error instanceof CommandError && isMissing(error)) return readlink('/proc/self/ns/net');
    throw error;
  }
}

async function hasItsName(pid: number): Promise<boolean> {
  if ((await textOf(`/proc/${pid}/comm`)).trim() !== PROGRAM) return false;
  return (await textOf(`/proc/${pid}/cmdline`)).split('\0').includes(WIREGUARD_DEVICE);
}

async function isSameView(pid: number): Promise<boolean> {
  const [own, theirs] = await Promise.all(['self', pid].map((who) => readlink(`/proc/${who}/ns/mnt`).catch(() => '')));
  return own === theirs;
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return '';
  }
}

export async function locateWireguardGo(): Promise<string> {
  for (const path of PROGRAM_PATHS) {
    try {
      await access(path, constants.X_OK);
      return path;
    } catch {
      // Not there.
    }
  }
  throw new UserError(`the kernel has no WireGuard, and wireguard-go is not installed (looked for ${PROGRAM_PATHS.join(', ')})`);
}
