import { join } from 'node:path';
import { messageOf } from '../../lib/errors.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Charon, RunningCharon } from './charon.ts';
import { type AnsweringCharon, openCharonExchange } from './charon-exchange.ts';
import { poll } from '../tunnel/process.ts';
import { connectVici, type ViciClient } from './vici-client.ts';

export interface ExternalCharonOptions {
  readonly runDir: string;
  readonly log: Logger;
  readonly onCommand: (command: string) => void;
}

/** Not so long that a node without its charon container looks dead: the caller comes again. */
const START_TIMEOUT_MS = 10_000;
/** `raven charon` gives a charon 5 s to end in order, then kills it. */
const STOP_TIMEOUT_MS = 8_000;

/** A charon that `raven charon` runs elsewhere: asked for, and never started or ended from here. */
export function createExternalCharon({ runDir, log, onCommand }: ExternalCharonOptions): Charon {
  const exchange = openCharonExchange(runDir);
  const socketPath = join(runDir, 'charon.vici');
  let seen: string | undefined;

  async function ensure(localPort: number): Promise<RunningCharon> {
    if ((await exchange.wanted.read())?.localPort !== localPort) await exchange.wanted.write({ localPort });
    const found = await poll(async () => {
      const running = await exchange.running.read();
      const client = running?.localPort === localPort ? await reach() : undefined;
      return running === undefined || client === undefined ? undefined : { running, client };
    }, START_TIMEOUT_MS);
    if (found !== undefined) return adopt(found.running, found.client);
    const stuck = await exchange.running.read();
    if (stuck?.localPort === localPort) await exchange.wanted.write({ localPort, replace: stuck.instance });
    throw new Error(`no charon answers at ${socketPath}; is \`raven charon --run-dir ${runDir}\` running, and what does it say?`);
  }

  function adopt({ instance, tun }: AnsweringCharon, client: ViciClient): RunningCharon {
    const fresh = instance !== seen;
    seen = instance;
    return { client, pid: undefined, fresh, tun };
  }

  async function reach(): Promise<ViciClient | undefined> {
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
  }

  async function stop(): Promise<void> {
    const running = await exchange.running.read();
    await exchange.wanted.remove();
    if (running === undefined) return;
    const gone = await poll(async () => {
      if ((await exchange.running.read())?.instance !== running.instance) return true;
      const client = await reach();
      client?.close();
      return client === undefined ? true : undefined;
    }, STOP_TIMEOUT_MS);
    if (gone === undefined) log.warn({ runDir }, 'charon goes on although it is not wanted any more');
  }

  return { ensure, noteTun: () => Promise.resolve(), stop };
}
