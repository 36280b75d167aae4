import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../lib/errors.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Exec } from '../exec/exec.ts';
import { renderCharonConf } from './charon-conf.ts';
import { type AnsweringCharon, openCharonExchange, type WantedCharon } from './charon-exchange.ts';
import { charonCommand, DEFAULT_CHARON_PATH } from './charon-program.ts';
import { detectDataPath } from './data-path.ts';
import { ringOnChange } from '../tunnel/bell.ts';
import { createDeathCounter, stopChild } from '../tunnel/child.ts';
import { poll } from '../tunnel/process.ts';
import { createUserDevice, findTun } from './user-device.ts';
import { connectVici } from './vici-client.ts';

export interface SupervisorOptions {
  readonly exec: Exec;
  readonly runDir: string;
  readonly log: Logger;
  /** Ends charon in order, which tells every peer, and the supervisor with it. */
  readonly signal: AbortSignal;
  /** As in `IpsecDriverOptions`. */
  readonly spawnPrefix?: readonly string[];
  readonly path?: string;
  /** Where charon logs to; default: this process's stderr, which a container's log collects. */
  readonly logPath?: string;
}

const START_TIMEOUT_MS = 30_000;

/**
 * Runs charon for an agent in another container (`charon: external`), as long as that agent wants one, and starts it anew when it ends or when
 * the agent wants another port. The agent may come and go: tunnels stay.
 *
 * @returns once `signal` is aborted and charon has ended
 * @throws {UserError} when charon is not installed
 * @throws when charon keeps dying
 */
export async function superviseCharon(options: SupervisorOptions): Promise<void> {
  const { exec, runDir, log, signal, spawnPrefix = [], path = DEFAULT_CHARON_PATH, logPath = 'stderr' } = options;
  const exchange = openCharonExchange(runDir);
  const socketPath = join(runDir, 'charon.vici');
  const confPath = join(runDir, 'strongswan.conf');
  const noteDeath = createDeathCounter('charon', log);
  const command = [...spawnPrefix, ...(await charonCommand())];
  await mkdir(runDir, { recursive: true, mode: 0o700 });
  await exchange.running.remove();
  const choice = await detectDataPath(exec);
  await exchange.dataPath.write(choice);
  log.info({ ...choice, runDir }, 'waiting for the agent to want a charon');
  const bell = ringOnChange(runDir, signal);
  try {
    while (!signal.aborted) {
      const wanted = await exchange.wanted.read();
      if (wanted === undefined) await bell.rung();
      else await runOne(wanted);
    }
  } finally {
    bell.close();
    await exchange.running.remove();
  }

  async function runOne(wanted: WantedCharon): Promise<void> {
    const instance = randomUUID();
    const child = await launch(wanted.localPort);
    let ended = false;
    const end = once(child, 'exit').then(([code, by]) => {
      ended = true;
      bell.ring();
      return String(by ?? code);
    });
    const tun = await waitUntilItAnswers(child, () => ended || signal.aborted);
    if (!ended && tun !== undefined) {
      const running: AnsweringCharon = { instance, localPort: wanted.localPort, ...(tun !== '' && { tun }) };
      await exchange.running.write(running);
      log.info({ pid: child.pid, localPort: wanted.localPort }, 'charon started');
      while (!ended && !signal.aborted && isServed(await exchange.wanted.read(), wanted, instance)) await bell.rung();
    }
    const diedByItself = ended;
    if (!ended) await stopChild(child);
    await exchange.running.remove();
    const how = await end;
    if (diedByItself || (tun === undefined && !signal.aborted)) noteDeath(how);
    else log.info({ pid: child.pid }, 'charon stopped');
  }

  async function launch(localPort: number): Promise<ChildProcess> {
    if (choice.dataPath === 'user') await createUserDevice(exec, () => undefined).remove();
    await rm(socketPath, { force: true });
    await writeFile(confPath, renderCharonConf({ dataPath: choice.dataPath, localPort, socketPath, logPath }), { mode: 0o600 });
    const [program = '', ...args] = command;
    const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'], env: { PATH: path, STRONGSWAN_CONF: confPath } });
    await once(child, 'spawn');
    child.on('error', (error) => log.error({ error: messageOf(error) }, 'charon'));
    return child;
  }

  /** @returns charon's name for its TUN device, empty when it needs none; undefined when it does not come up */
  async function waitUntilItAnswers({ pid = 0 }: ChildProcess, isOver: () => boolean): Promise<string | undefined> {
    const name = await poll(async () => {
      if (isOver() || !(await answers(socketPath))) return isOver() ? false : undefined;
      return choice.dataPath === 'user' ? await findTun(pid) : '';
    }, START_TIMEOUT_MS);
    return name === false ? undefined : name;
  }
}

function isServed(now: WantedCharon | undefined, { localPort }: WantedCharon, instance: string): boolean {
  return now?.localPort === localPort && now.replace !== instance;
}

async function answers(socketPath: string): Promise<boolean> {
  try {
    const client = await connectVici({ path: socketPath });
    try {
      await client.request('version');
    } finally {
      client.close();
    }
    return true;
  } catch {
    return false;
  }
}
