import { z } from 'zod';
import { CONTROLLER_FIELD_MANAGER } from '../api/names.ts';
import { UserError } from '../lib/errors.ts';
import { createLogger } from '../lib/logger.ts';
import { LOG_LEVELS } from '../lib/logger-levels.ts';
import type { ClusterStore } from '../store/cluster-store.ts';
import { openStore } from '../store/open-store.ts';
import { formatReconciled, reconcileOnce, startController } from './controller.ts';

const options = z.object({ store: z.string().min(1), once: z.boolean().default(false), logLevel: z.enum(LOG_LEVELS) });

/** `raven controller`: works until SIGTERM or SIGINT, or with `once` until everything is written. */
export async function runController(input: unknown, env: NodeJS.ProcessEnv): Promise<void> {
  const parsed = options.safeParse(input);
  if (!parsed.success)
    throw new UserError(parsed.error.issues.map(({ path, message }) => ({ source: FLAGS[String(path[0])] ?? '', message })));
  const { store: storeText, once, logLevel } = parsed.data;
  const log = createLogger('controller', once ? 'error' : logLevel);
  const store = await openStore(storeText, { kube: { env, userAgent: 'raven-controller', fieldManager: CONTROLLER_FIELD_MANAGER } });
  try {
    if (once) await printOnce(store);
    else await untilStopped(store);
  } finally {
    await store.close();
  }

  async function printOnce(opened: ClusterStore): Promise<void> {
    const changed = await reconcileOnce({ store: opened, log });
    for (const each of changed) process.stdout.write(`${formatReconciled(each)}\n`);
    if (changed.length === 0) process.stderr.write('raven: every Gateway is up to date, nothing was written\n');
  }

  async function untilStopped(opened: ClusterStore): Promise<void> {
    opened.onProblems((problems) => log.warn({ problems }, 'objects in the store are wrong'));
    const controller = startController({ store: opened, log });
    log.info({ store: storeText }, 'started');
    void controller.settled().then(() => log.info({ problems: opened.problems() }, 'all Gateways are up to date'));
    await stopSignal();
    log.info('stopping');
    await controller.stop();
  }
}

const FLAGS: Readonly<Record<string, string>> = { store: '--store', logLevel: '--log-level' };

function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    process.once('SIGTERM', () => resolve());
    process.once('SIGINT', () => resolve());
  });
}
