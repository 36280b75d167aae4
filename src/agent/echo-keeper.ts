import { PROBE_PORT } from '../api/names.ts';
import type { Echo, Responder } from '../drivers/probe/echo.ts';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { Ip } from '../net/ip.ts';

/** Keeps one echo open, on an address that may change. */
export interface EchoKeeper {
  /** Opens, moves or closes it; does nothing when it is there already. */
  use(address: Ip | undefined): Promise<void>;
  current(): Echo | undefined;
  /** Who decides what requests are answered with; without one all are answered with 0. */
  respond(responder: Responder): void;
  close(): Promise<void>;
}

export type OpenEcho = (address: string, port: number, respond: Responder) => Promise<Echo>;

export function createEchoKeeper(openEcho: OpenEcho, log: Logger): EchoKeeper {
  let echo: Echo | undefined;
  let responder: Responder = () => 0;
  let last: Promise<void> = Promise.resolve();
  let closed = false;

  async function reopen(address: Ip | undefined): Promise<void> {
    if (echo?.address === address) return;
    const old = echo;
    echo = undefined;
    await old?.close();
    if (address === undefined || closed) return;
    try {
      echo = await openEcho(address, PROBE_PORT, (from, flags) => responder(from, flags));
    } catch (error) {
      log.warn({ address, port: PROBE_PORT, error: messageOf(error) }, 'cannot answer probes');
    }
  }

  return {
    use: (address) => (last = last.then(() => reopen(address))),
    current: () => echo,
    respond: (given) => void (responder = given),
    close: async () => {
      closed = true;
      await last;
      await echo?.close();
      echo = undefined;
    },
  };
}
