import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { DataPath } from '../../domain/node-plan.ts';
import { messageOf, UserError } from '../../lib/errors.ts';
import { fnv1a } from '../../lib/hash.ts';
import type { Logger } from '../../lib/logger.ts';
import { renderCharonConf } from './charon-conf.ts';
import { EXCHANGE_FILES } from './charon-exchange.ts';
import { charonCommand } from './charon-program.ts';
import { startDaemon } from '../tunnel/daemon.ts';
import { endProcess, isRunning, poll, type ProcessId, signalProcess } from '../tunnel/process.ts';
import { replaceFile } from '../tunnel/replace-file.ts';
import { connectVici, type ViciClient } from './vici-client.ts';

/** A charon that answers. */
export interface RunningCharon {
  readonly client: ViciClient;
  /** Absent when it runs in another container. */
  readonly pid: number | undefined;
  /** Whether it was started just now, and so knows nothing. */
  readonly fresh: boolean;
  /** Name under which charon knows its TUN device; noted by `noteTun`. */
  readonly tun: string | undefined;
}

/** Our own charon process. It is started in a session of its own and outlives the agent. */
export interface Charon {
  /**
   * The running charon, if it is ours, has this configuration and answers; otherwise a new one.
   *
   * @throws {UserError} when charon is not installed
   * @throws when it does not come up, with the end of its log
   */
  ensure(localPort: number): Promise<RunningCharon>;
  /** Remembers the name across restarts of the agent. */
  noteTun(tun: string): Promise<void>;
  /** Ends it and removes its files. Idempotent. Other processes, and later ones with the same number, are never touched. */
  stop(): Promise<void>;
}

export interface CharonOptions {
  readonly dataPath: DataPath;
  readonly runDir: string;
  readonly log: Logger;
  /** What starts a program where charon belongs, such as `ip netns exec NAME`. It must become that program (exec), as the process number counts. */
  readonly spawnPrefix: readonly string[];
  readonly path: string;
  readonly onCommand: (command: string) => void;
  /** Called before a new charon is started, when no earlier one runs any more. */
  readonly beforeStart: () => Promise<void>;
}

/** What is known of the process that was started last. */
const stateSchema = z.object({
  pid: z.int(),
  started: z.string(),
  config: z.string(),
  localPort: z.int().optional(),
  tun: z.string().optional(),
});
type State = z.infer<typeof stateSchema>;

/** Generous: loading the plugins takes 0.1 s, under software emulation on a busy machine many seconds. */
const START_TIMEOUT_MS = 30_000;
/** Packets wait for it. */
const REACH_EVERY_MS = 10;
/** An orderly end tells every peer. */
const STOP_TIMEOUT_MS = 5_000;
/** `sun_path` holds 108 bytes with the final zero (`unix(7)`). */
const MAX_SOCKET_PATH_BYTES = 107;
const LOG_TAIL_LINES = 5;

export function createCharon({ dataPath, runDir, log, spawnPrefix, path, onCommand, beforeStart }: CharonOptions): Charon {
  const file = (name: string): string => join(runDir, name);
  const socketPath = file('charon.vici');
  const logPath = file('charon.log');
  if (Buffer.byteLength(socketPath) > MAX_SOCKET_PATH_BYTES) {
    throw new UserError([
      { source: '--run-dir', message: `${runDir} is too long: the path of a socket below it can have ${MAX_SOCKET_PATH_BYTES} bytes` },
    ]);
  }

  async function ensure(localPort: number): Promise<RunningCharon> {
    const conf = renderCharonConf({ dataPath, localPort, socketPath, logPath });
    const config = fnv1a(conf).toString(16);
    const state = await readState();
    if (state !== undefined && (await isRunning(state))) {
      const client = state.config === config ? await reach(state, STOP_TIMEOUT_MS) : undefined;
      if (client !== undefined) return { client, pid: state.pid, fresh: false, tun: state.tun };
      log.warn(
        { pid: state.pid, localPort },
        state.config === config ? 'charon does not answer; replacing it' : 'charon needs another configuration; replacing it',
      );
      await end(state, localPort);
    }
    await beforeStart();
    return start(conf, { config, localPort });
  }

  /**
   * An orderly end takes the SAs down, here and at the peers. With ESP in the kernel they carry on without their charon as long as the next one
   * listens on the same port, and go when that has new ones.
   */
  async function end(state: State, nextPort: number): Promise<void> {
    if (dataPath === 'kernel' && state.localPort === nextPort) await signalProcess(state, 'SIGKILL');
    await endProcess(state, STOP_TIMEOUT_MS);
  }

  async function start(conf: string, made: Pick<State, 'config' | 'localPort'>): Promise<RunningCharon> {
    const command = [...spawnPrefix, ...(await charonCommand())];
    await mkdir(runDir, { recursive: true, mode: 0o700 });
    await rm(socketPath, { force: true });
    await writeFile(file('strongswan.conf'), conf, { mode: 0o600 });
    const id = await launch(command);
    await writeState({ ...id, ...made });
    const client = await reach(id, START_TIMEOUT_MS);
    if (client === undefined) {
      await endProcess(id, STOP_TIMEOUT_MS);
      throw new Error(`charon did not start (${command.join(' ')}); ${logPath}: ${await logTail()}`);
    }
    log.info({ pid: id.pid, log: logPath }, 'charon started');
    return { client, pid: id.pid, fresh: true, tun: undefined };
  }

  async function launch(command: readonly string[]): Promise<ProcessId> {
    const id = await startDaemon(command, { logPath, env: { PATH: path, STRONGSWAN_CONF: file('strongswan.conf') } });
    if (id === undefined) throw new Error(`${command.join(' ')} ended at once; ${logPath}: ${await logTail()}`);
    return id;
  }

  /** A connection to a charon that answers; undefined when it ends, or does not answer in time. */
  async function reach(id: ProcessId, timeoutMs: number): Promise<ViciClient | undefined> {
    const result = await poll(
      async () => {
        if (!(await isRunning(id))) return 'gone';
        let client: ViciClient | undefined;
        try {
          client = await connectVici({ path: socketPath, onCommand });
          await client.request('version');
          return client;
        } catch (error) {
          client?.close();
          log.debug({ error: messageOf(error) }, 'charon is not there yet');
          return undefined;
        }
      },
      timeoutMs,
      REACH_EVERY_MS,
    );
    return result === 'gone' ? undefined : result;
  }

  async function noteTun(tun: string): Promise<void> {
    const state = await readState();
    if (state !== undefined && state.tun !== tun) await writeState({ ...state, tun });
  }

  async function stop(): Promise<void> {
    const state = await readState();
    if (state !== undefined) await endProcess(state, STOP_TIMEOUT_MS);
    for (const name of ['charon.vici', 'charon.pid', 'charon.json', 'strongswan.conf', ...EXCHANGE_FILES])
      await rm(file(name), { force: true });
  }

  async function readState(): Promise<State | undefined> {
    try {
      return stateSchema.parse(JSON.parse(await readFile(file('charon.json'), 'utf8')));
    } catch {
      return undefined;
    }
  }

  /** charon.pid is for people and other programs; what counts for us also holds when process numbers start over. */
  async function writeState(state: State): Promise<void> {
    await replaceFile(file('charon.json'), `${JSON.stringify(state)}\n`);
    await replaceFile(file('charon.pid'), `${state.pid}\n`);
  }

  async function logTail(): Promise<string> {
    try {
      return (await readFile(logPath, 'utf8')).trim().split('\n').slice(-LOG_TAIL_LINES).join(' | ');
    } catch (error) {
      return messageOf(error);
    }
  }

  return { ensure, noteTun, stop };
}
