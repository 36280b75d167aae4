import { z } from 'zod';
import { UserError } from '../lib/errors.ts';
import { LOG_LEVELS } from '../lib/logger-levels.ts';
import { createLogger } from '../lib/logger.ts';
import { systemClock } from '../lib/clock.ts';
import { hostExec } from '../drivers/exec/exec.ts';
import { detectDataPath } from '../drivers/ipsec/data-path.ts';
import { createIpsecDriver } from '../drivers/ipsec/ipsec-driver.ts';
import { readPskFile } from '../drivers/ipsec/psk-file.ts';
import { createKernel } from '../drivers/kernel.ts';
import { watchKernel } from '../drivers/monitor.ts';
import { openEcho } from '../drivers/probe/echo.ts';
import { openStore } from '../store/open-store.ts';
import { createAgent } from './loop.ts';
import { createProber } from './prober.ts';

const options = z.object({
  node: z.string().min(1),
  store: z.string().optional(),
  pskFile: z.string().optional(),
  vpnDriver: z.string(),
  stateDir: z.string(),
  runDir: z.string(),
  logLevel: z.enum(LOG_LEVELS),
  cleanup: z.boolean().optional(),
});

/** `raven agent`: builds the real parts, and works until SIGTERM or SIGINT. */
export async function runAgent(input: unknown): Promise<void> {
  const parsed = options.safeParse(input);
  if (!parsed.success)
    throw new UserError(parsed.error.issues.map(({ path, message }) => ({ source: `--${kebab(String(path[0]))}`, message })));
  const { node, store: storeText, pskFile, vpnDriver, stateDir, runDir, logLevel, cleanup } = parsed.data;
  if (vpnDriver !== 'ipsec')
    throw new UserError([{ source: '--vpn-driver', message: `${JSON.stringify(vpnDriver)} is not known; there is: ipsec` }]);
  const log = createLogger('agent', logLevel);
  const exec = hostExec;
  const kernel = createKernel(exec, { log });
  if (cleanup === true) return cleanUp();
  if (storeText === undefined)
    throw new UserError([{ source: '--store', message: 'is required, for example --store dir:/etc/raven/manifests' }]);
  if (pskFile === undefined)
    throw new UserError([{ source: '--psk-file', message: 'is required: a file with the secret that all gateways share' }]);
  const psk = await readPskFile(pskFile);
  const store = await openStore(storeText);
  const { dataPath, reason } = await detectDataPath(exec);
  const tunnels = createIpsecDriver({ exec, runDir, stateDir, psk, dataPath, log });
  const agent = createAgent({
    node,
    store,
    exec,
    kernel,
    tunnels,
    dataPathReason: reason,
    prober: createProber(openEcho, log),
    clock: systemClock,
    log,
  });
  store.onProblems((problems) => log.warn({ problems }, 'objects in the store are wrong'));
  log.info({ node, store: storeText, dataPath, reason }, 'started');
  agent.start();
  process.on('SIGHUP', () => agent.resync());
  const monitor = watchKernel({}, () => agent.touched());
  await stopSignal();
  log.info('stopping; everything stays in place');
  await monitor.close();
  await agent.stop();
  await store.close();

  async function cleanUp(): Promise<void> {
    await createIpsecDriver({ exec, runDir, stateDir, psk: '', dataPath: 'user', log }).cleanup();
    const removed = await kernel.cleanup();
    for (const line of removed) process.stdout.write(`${line}\n`);
    process.stderr.write(`raven: removed ${removed.length} objects\n`);
  }
}

function kebab(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    process.once('SIGTERM', () => resolve());
    process.once('SIGINT', () => resolve());
  });
}
