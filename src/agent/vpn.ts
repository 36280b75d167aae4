import type { VpnDriver } from '../domain/node-plan.ts';
import { hostExec } from '../drivers/exec/exec.ts';
import { openCharonExchange } from '../drivers/ipsec/charon-exchange.ts';
import { detectDataPath } from '../drivers/ipsec/data-path.ts';
import { createIpsecDriver } from '../drivers/ipsec/ipsec-driver.ts';
import { poll } from '../drivers/tunnel/process.ts';
import { checkPskText, readPskFile } from '../drivers/tunnel/psk-file.ts';
import type { DataPathChoice } from '../drivers/tunnel/trial.ts';
import type { TunnelDriver } from '../drivers/tunnel/tunnel-driver.ts';
import { detectWireguard } from '../drivers/wireguard/data-path.ts';
import { createWireguardDriver } from '../drivers/wireguard/wireguard-driver.ts';
import { UserError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { AgentOptions } from './options.ts';

export interface Vpn {
  readonly driver: TunnelDriver;
  /** Why it uses the data path that it uses. */
  readonly reason: string;
}

type VpnOptions = Pick<AgentOptions, 'vpnDriver' | 'charon' | 'runDir' | 'stateDir' | 'sysctlDir'>;

/** What all gateways share: IPsec's proof of who calls, or an addition to WireGuard's. */
interface Secret {
  readonly secret: string | undefined;
}

/** How often the log says what the agent waits for. */
const WAIT_LOG_MS = 10_000;

/**
 * The VPN driver that the options ask for, on the data path that this machine allows. It takes the place of the other one.
 *
 * @returns undefined when the agent is told to stop while it waits for `raven charon`
 */
export async function openVpn(options: VpnOptions & Secret, stopping: AbortSignal, log: Logger): Promise<Vpn | undefined> {
  if (options.vpnDriver === 'wireguard') {
    const { dataPath, reason } = await detectWireguard(hostExec);
    return { driver: succeeding(createDriver('wireguard', { ...options, dataPath }, log), ipsecRemains(options, log)), reason };
  }
  const choice = await chooseIpsecDataPath(options, stopping, log);
  if (choice === undefined) return undefined;
  const { dataPath, reason } = choice;
  return { driver: succeeding(createDriver('ipsec', { ...options, dataPath }, log), wireguardRemains(options, log)), reason };
}

/** @throws {UserError} when IPsec has no secret, or the secret is no good */
export async function readSecret({ psk, vpnDriver }: Pick<AgentOptions, 'psk' | 'vpnDriver'>): Promise<string | undefined> {
  if (psk !== undefined) return 'file' in psk ? readPskFile(psk.file) : checkPskText(psk.text, 'VPN_CONNECTION_PSK');
  if (vpnDriver === 'wireguard') return undefined;
  const message = 'is required, as VPN_CONNECTION_PSK is not set: a file with the secret that all gateways share';
  throw new UserError([{ source: '--psk-file', message }]);
}

/** For an agent that sets nothing, so that it is never started. */
export function idleDriver(options: VpnOptions, log: Logger): TunnelDriver {
  return createDriver(options.vpnDriver, { ...options, secret: undefined, dataPath: 'user' }, log);
}

/** Takes down what any VPN driver left on this machine. */
export async function removeTunnels(options: VpnOptions, log: Logger): Promise<void> {
  for (const { cleanup } of [ipsecRemains(options, log), wireguardRemains(options, log)]) await cleanup();
}

type Remains = Pick<TunnelDriver, 'cleanup'>;

function ipsecRemains(options: VpnOptions, log: Logger): Remains {
  return createDriver('ipsec', { ...options, secret: undefined, dataPath: 'user' }, log);
}

function wireguardRemains(options: VpnOptions, log: Logger): Remains {
  return createDriver('wireguard', { ...options, secret: undefined, dataPath: 'user' }, log);
}

function createDriver(
  name: VpnDriver,
  { runDir, stateDir, charon, sysctlDir, secret: psk, dataPath }: VpnOptions & Secret & Pick<DataPathChoice, 'dataPath'>,
  log: Logger,
): TunnelDriver {
  const common = { exec: hostExec, runDir, stateDir, dataPath, log };
  return name === 'ipsec'
    ? createIpsecDriver({ ...common, psk: psk ?? '', charon, sysctlDir })
    : createWireguardDriver({ ...common, psk, daemon: charon });
}

/** Both listen on the same UDP port, so what the other driver left goes just before this one begins; and with it, when the node needs no VPN. */
function succeeding(driver: TunnelDriver, other: Remains): TunnelDriver {
  let isAlone = false;
  const replace = async (): Promise<void> => {
    if (!isAlone) await other.cleanup();
    isAlone = true;
  };
  return {
    ...driver,
    start: async () => {
      await replace();
      await driver.start();
    },
    cleanup: async () => {
      await driver.cleanup();
      await replace();
    },
  };
}

/** Who runs charon decides for both. */
async function chooseIpsecDataPath(
  { charon, runDir }: VpnOptions,
  stopping: AbortSignal,
  log: Logger,
): Promise<DataPathChoice | undefined> {
  if (charon === 'own') return detectDataPath(hostExec);
  const { dataPath } = openCharonExchange(runDir);
  for (;;) {
    const found = await poll(async () => (stopping.aborted ? 'stop' : await dataPath.read()), WAIT_LOG_MS);
    if (found === 'stop') return undefined;
    if (found !== undefined) return found;
    log.warn({ runDir }, 'waiting for `raven charon` with the same --run-dir');
  }
}
