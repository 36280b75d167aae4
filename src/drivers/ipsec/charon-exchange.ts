import { join } from 'node:path';
import { z } from 'zod';
import { createExchangeFile, type ExchangeFile } from '../tunnel/exchange-file.ts';

/**
 * What the agent and `raven charon` tell each other when they run apart, as in two containers of a Pod: small files in the run directory that
 * both see. Neither sees the other's processes.
 */
export interface CharonExchange {
  /** By the agent: that a charon is wanted; absent on nodes that need none. */
  readonly wanted: ExchangeFile<WantedCharon>;
  /** By `raven charon`: which charon answers; absent while none does. */
  readonly running: ExchangeFile<AnsweringCharon>;
  /** By `raven charon`, for good: which data path this kernel allows. */
  readonly dataPath: ExchangeFile<z.infer<typeof dataPathSchema>>;
}

const wantedSchema = z.object({ localPort: z.int(), replace: z.string().optional() });
const runningSchema = z.object({ instance: z.string(), localPort: z.int(), tun: z.string().optional() });
const dataPathSchema = z.object({ dataPath: z.enum(['kernel', 'user']), reason: z.string() });

/** `replace`: the instance that must not go on, since it does not answer. */
export type WantedCharon = z.infer<typeof wantedSchema>;
/** `instance` is new with each start; `tun` is how charon calls its TUN device. */
export type AnsweringCharon = z.infer<typeof runningSchema>;

export const EXCHANGE_FILES = ['charon-wanted.json', 'charon-running.json', 'data-path.json'] as const;
const [WANTED, RUNNING, DATA_PATH] = EXCHANGE_FILES;

export function openCharonExchange(runDir: string): CharonExchange {
  return {
    wanted: createExchangeFile(join(runDir, WANTED), wantedSchema),
    running: createExchangeFile(join(runDir, RUNNING), runningSchema),
    dataPath: createExchangeFile(join(runDir, DATA_PATH), dataPathSchema),
  };
}
