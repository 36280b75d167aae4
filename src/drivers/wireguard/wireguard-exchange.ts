import { join } from 'node:path';
import { z } from 'zod';
import { createExchangeFile, type ExchangeFile } from '../tunnel/exchange-file.ts';

/** What the agent and `raven charon` tell each other about a wireguard-go that the latter runs, as `CharonExchange` for charon. */
export interface WireguardExchange {
  /** By the agent: that one is wanted; absent on nodes that need none. */
  readonly wanted: ExchangeFile<z.infer<typeof wantedSchema>>;
  /** By `raven charon`: which one answers; absent while none does. */
  readonly running: ExchangeFile<z.infer<typeof runningSchema>>;
}

/** `replace`: the instance that must not go on, since it does not answer. */
const wantedSchema = z.object({ replace: z.string().optional() });
/** `instance` is new with each start. */
const runningSchema = z.object({ instance: z.string() });

export function openWireguardExchange(runDir: string): WireguardExchange {
  return {
    wanted: createExchangeFile(join(runDir, 'wireguard-go-wanted.json'), wantedSchema),
    running: createExchangeFile(join(runDir, 'wireguard-go-running.json'), runningSchema),
  };
}
