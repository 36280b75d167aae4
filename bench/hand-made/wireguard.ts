import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hostExec, netnsExec } from '../../src/drivers/exec/exec.ts';
import { eventually } from '../../test/lab/harness.ts';
import { type DataPath, type End, type Ends, endProgram, type RoutesIn, routeLines, ruleLines } from './ends.ts';

const PORT = '51820';
/** Underlay of 1500 less outer IPv4, UDP and WireGuard's own 32, as Raven's; wg-quick(8) would leave room for IPv6 and set 1420. */
const MTU = 1440;

/**
 * A tunnel by wg(8) and ip, on a kernel device or on wireguard-go's.
 *
 * @returns ends what wireguard-go runs; a kernel device goes with the lab's namespaces
 */
export async function createWireguard({ caller, called }: Ends, dataPath: DataPath, routesIn: RoutesIn): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'rvhand-'));
  const programs: ChildProcess[] = [];
  const remove = async (): Promise<void> => {
    for (const child of programs) await endProgram(child);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const keys = new Map([
      [caller, await createKey(join(folder, 'caller'))],
      [called, await createKey(join(folder, 'called'))],
    ]);
    for (const [self, peer] of [
      [called, caller],
      [caller, called],
    ] as const) {
      const [own, other] = [keys.get(self), keys.get(peer)];
      if (own === undefined || other === undefined) continue;
      const device = deviceOf(self, routesIn);
      if (dataPath === 'user') programs.push(await startWireguardGo(self, device));
      else await hostExec(['ip', '-n', self.gateway.netns, 'link', 'add', device, 'type', 'wireguard']);
      const address = peer.gateway.addresses[0] ?? '';
      const call = self === caller ? ['endpoint', `${address}:${PORT}`, 'persistent-keepalive', '25'] : [];
      await netnsExec(self.gateway.netns)(
        [
          ['wg', 'set', device, 'listen-port', PORT, 'private-key', own.file],
          ['peer', other.public, 'allowed-ips', peer.podCidrs.join(','), ...call],
        ].flat() as [string, ...string[]],
      );
      const lines = [`link set ${device} mtu ${MTU} up`, ...ruleLines(routesIn), ...routeLines(peer.podCidrs, `dev ${device}`, routesIn)];
      await hostExec(['ip', '-n', self.gateway.netns, '-batch', '-'], { stdin: lines.map((line) => `${line}\n`).join('') });
    }
  } catch (error) {
    await remove();
    throw error;
  }
  return remove;
}

/** wireguard-go's control socket is /var/run/wireguard/DEVICE.sock, whatever the network namespace: the name must be unique on the machine. */
function deviceOf({ gateway }: End, routesIn: RoutesIn): string {
  return `h${routesIn.slice(0, 1)}${process.pid}-${gateway.name}`.slice(0, 15);
}

interface Key {
  /** wg(8) reads private keys from files only; a program's stdin from Node.js is a socket, which it cannot open. */
  readonly file: string;
  readonly public: string;
}

async function createKey(file: string): Promise<Key> {
  const secret = await hostExec(['wg', 'genkey']);
  await writeFile(file, secret, { mode: 0o600 });
  return { file, public: (await hostExec(['wg', 'pubkey'], { stdin: secret })).trim() };
}

/** In a session of its own, see the note about charon. */
async function startWireguardGo({ gateway }: End, device: string): Promise<ChildProcess> {
  const child = spawn('ip', ['netns', 'exec', gateway.netns, 'wireguard-go', '-f', device], { stdio: 'ignore', detached: true });
  await eventually('wireguard-go has made its device', async () => {
    await netnsExec(gateway.netns)(['wg', 'show', device]);
    return true;
  });
  return child;
}
