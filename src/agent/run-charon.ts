import { z } from 'zod';
import { hostExec } from '../drivers/exec/exec.ts';
import { superviseCharon } from '../drivers/ipsec/charon-supervisor.ts';
import { parseFlags } from '../lib/flags.ts';
import { createLogger } from '../lib/logger.ts';
import type { LogLevel } from '../lib/logger-levels.ts';
import { awaitDrained } from './drain-marker.ts';
import { drainSeconds } from './options.ts';

export interface CharonOptions {
  readonly runDir: string;
  readonly logLevel: LogLevel;
  /** In seconds: after a signal charon runs on so long, while the agent gives its part to another gateway. */
  readonly drainTimeout: string;
}

/** `raven charon`: runs charon for an agent elsewhere until SIGTERM or SIGINT. */
export async function runCharon({ runDir, logLevel, drainTimeout }: CharonOptions): Promise<void> {
  const { drainTimeout: seconds } = parseFlags(z.object({ drainTimeout: drainSeconds(0) }), { drainTimeout });
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const)
    process.once(name, () => void awaitDrained(runDir, seconds * 1000).finally(() => stop.abort()));
  await superviseCharon({ exec: hostExec, runDir, log: createLogger('charon', logLevel), signal: stop.signal });
}
