import { hostExec } from '../drivers/exec/exec.ts';
import { superviseCharon } from '../drivers/ipsec/charon-supervisor.ts';
import { createLogger } from '../lib/logger.ts';
import type { LogLevel } from '../lib/logger-levels.ts';

/** `raven charon`: runs charon for an agent elsewhere until SIGTERM or SIGINT. */
export async function runCharon({ runDir, logLevel }: { readonly runDir: string; readonly logLevel: LogLevel }): Promise<void> {
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort());
  await superviseCharon({ exec: hostExec, runDir, log: createLogger('charon', logLevel), signal: stop.signal });
}
