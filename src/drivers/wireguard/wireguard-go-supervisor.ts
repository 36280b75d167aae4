import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { WIREGUARD_DEVICE } from '../../api/names.ts';
import { messageOf } from '../../lib/errors.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Exec } from '../exec/exec.ts';
import { ringOnChange } from '../tunnel/bell.ts';
import { createDeathCounter, stopChild } from '../tunnel/child.ts';
import { poll } from '../tunnel/process.ts';
import { openWireguardExchange } from './wireguard-exchange.ts';
import { answers, locateWireguardGo, WIREGUARD_GO_ENV } from './wireguard-go.ts';

export interface WireguardSupervisorOptions {
  readonly exec: Exec;
  readonly runDir: string;
  readonly log: Logger;
  /** Ends wireguard-go, and the supervisor with it. */
  readonly signal: AbortSignal;
  /** What starts a program where the device belongs, such as `ip netns exec NAME`; it must become that program (exec). */
  readonly spawnPrefix?: readonly string[];
}

const START_TIMEOUT_MS = 30_000;
const LOOK_EVERY_MS = 10;

/**
 * Runs wireguard-go for an agent in another container, as long as that agent wants one, and starts it anew when it ends. The agent may come and
 * go: device and sessions stay. Both must see the same /var/run/wireguard.
 *
 * @returns once `signal` is aborted and wireguard-go has ended
 * @throws {UserError} when one is wanted and not installed
 * @throws when it keeps dying
 */
export async function superviseWireguardGo({ exec, runDir, log, signal, spawnPrefix = [] }: WireguardSupervisorOptions): Promise<void> {
  const exchange = openWireguardExchange(runDir);
  const noteDeath = createDeathCounter('wireguard-go', log);
  await mkdir(runDir, { recursive: true, mode: 0o700 });
  await exchange.running.remove();
  const bell = ringOnChange(runDir, signal);
  try {
    while (!signal.aborted) {
      if ((await exchange.wanted.read()) === undefined) await bell.rung();
      else await runOne();
    }
  } finally {
    bell.close();
    await exchange.running.remove();
  }

  async function runOne(): Promise<void> {
    const instance = randomUUID();
    const child = await launch();
    let ended = false;
    const end = once(child, 'exit').then(([code, by]) => {
      ended = true;
      bell.ring();
      return String(by ?? code);
    });
    const isOver = (): boolean => ended || signal.aborted;
    const up = await poll(async () => (isOver() ? false : (await answers(exec)) || undefined), START_TIMEOUT_MS, LOOK_EVERY_MS);
    if (up === true) {
      await exchange.running.write({ instance });
      log.info({ pid: child.pid }, 'wireguard-go started');
      while (!isOver() && isServed(await exchange.wanted.read(), instance)) await bell.rung();
    }
    const diedByItself = ended;
    await exchange.running.remove();
    if (!ended) await stopChild(child);
    const how = await end;
    if (diedByItself || (up !== true && !signal.aborted)) noteDeath(how);
    else log.info({ pid: child.pid }, 'wireguard-go stopped');
  }

  async function launch(): Promise<ChildProcess> {
    const [program, ...args] = [...spawnPrefix, await locateWireguardGo(), '-f', WIREGUARD_DEVICE];
    const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'], env: WIREGUARD_GO_ENV });
    await once(child, 'spawn');
    child.on('error', (error) => log.error({ error: messageOf(error) }, 'wireguard-go'));
    return child;
  }
}

function isServed(wanted: { readonly replace?: string | undefined } | undefined, instance: string): boolean {
  return wanted !== undefined && wanted.replace !== instance;
}
