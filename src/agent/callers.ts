import { PROBE_PORT } from '../api/names.ts';
import type { Caller, Outcome } from '../drivers/probe/echo.ts';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { Ip } from '../net/ip.ts';

export type OpenCaller = (address: string, target: string, port: number) => Promise<Caller>;

/** Keeps one connected socket for each endpoint of the own region. */
export interface Callers {
  /** Opens and closes what differs from before. */
  use(address: Ip | undefined, targets: ReadonlyMap<string, Ip>): void;
  /** undefined while there is no socket to `target`. */
  probe(target: Ip, flags: number, timeoutMs: number): Promise<Outcome | undefined>;
  close(): Promise<void>;
}

export function createCallers(openCaller: OpenCaller, log: Logger): Callers {
  let open = new Map<Ip, Promise<Caller | undefined>>();
  let from: Ip | undefined;

  async function tryOpen(address: Ip, target: Ip): Promise<Caller | undefined> {
    try {
      return await openCaller(address, target, PROBE_PORT);
    } catch (error) {
      log.warn({ address, target, error: messageOf(error) }, 'cannot watch an endpoint');
      return undefined;
    }
  }

  async function closeAll(callers: Iterable<Promise<Caller | undefined>>): Promise<void> {
    for (const caller of callers) await (await caller)?.close();
  }

  return {
    use: (address, targets) => {
      const wanted = new Set(address === undefined ? [] : targets.values());
      const before = address === from ? open : new Map<Ip, Promise<Caller | undefined>>();
      const surplus = [...open].filter(([target]) => !before.has(target) || !wanted.has(target)).map(([, caller]) => caller);
      open = new Map(
        address === undefined ? [] : [...wanted].map((target) => [target, before.get(target) ?? tryOpen(address, target)] as const),
      );
      from = address;
      void closeAll(surplus);
    },
    probe: async (target, flags, timeoutMs) => (await open.get(target))?.probe(flags, timeoutMs),
    close: () => closeAll(open.values()),
  };
}
