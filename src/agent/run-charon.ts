import { z } from 'zod';
import { hostExec } from '../drivers/exec/exec.ts';
import { superviseCharon } from '../drivers/ipsec/charon-supervisor.ts';
import { superviseWireguardGo } from '../drivers/wireguard/wireguard-go-supervisor.ts';
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

/** `raven charon`: runs charon, or wireguard-go, for an agent elsewhere until SIGTERM or SIGINT. Which one, the agent says. */
export async function runCharon({ runDir, logLevel, drainTimeout }: CharonOptions): Promise<void> {
  const { drainTimeout: seconds } = parseFlags(z.object({ drainTimeout: drainSeconds(0) }), { drainTimeout });
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const)
    process.once(name, () => void awaitDrained(runDir, seconds * 1000).finally(() => stop.abort()));
  const options = { exec: hostExec, runDir, log: createLogger('charon', logLevel), signal: stop.signal };
  // The end of one is the end of both: a container ends as a whole, and neither is left behind without its supervisor.
  const both = [superviseCharon(options), superviseWireguardGo(options)].map((each) => each.finally(() => stop.abort()));
  const failed = (await Promise.allSettled(both)).find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}
