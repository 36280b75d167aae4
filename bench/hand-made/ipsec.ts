import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hostExec, netnsExec } from '../../src/drivers/exec/exec.ts';
import { eventually } from '../../test/lab/harness.ts';
import { type DataPath, type End, type Ends, endProgram, type RoutesIn, routeLines } from './ends.ts';

const PLUGINS = 'random nonce openssl pem pkcs1 pubkey x509 curve25519 hmac kdf aes sha2 gcm kernel-netlink socket-default vici';

/** XFRM device MTU for an underlay of 1500: what `espMtu` gives. The TUN keeps strongSwan's own 1400. */
const XFRM_MTU = 1438;
const USER_MTU = 1400;

/**
 * A tunnel by swanctl.conf(5) and ip: an XFRM device in the kernel, kernel-libipsec's TUN in user space.
 *
 * @returns ends both charons; what they made goes with the lab's namespaces
 */
export async function createIpsec({ caller, called }: Ends, dataPath: DataPath, routesIn: RoutesIn): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'rvhand-'));
  const charons: ChildProcess[] = [];
  const remove = async (): Promise<void> => {
    for (const child of charons) await endProgram(child);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    for (const [self, peer] of [
      [called, caller],
      [caller, called],
    ] as const) {
      const place: Place = { folder: join(folder, self.gateway.name), dataPath, calls: self === caller };
      await writeFiles(self, peer, place);
      charons.push(startCharon(self, place));
      await eventually('charon takes its configuration', async () => {
        await swanctl(place.folder, self, ['--load-all', '--file', join(place.folder, 'swanctl.conf')]);
        return true;
      });
      await route(self, peer, dataPath, routesIn);
    }
    await swanctl(join(folder, caller.gateway.name), caller, ['--initiate', '--child', 'net', '--timeout', '20']);
  } catch (error) {
    await remove();
    throw error;
  }
  return remove;
}

interface Place {
  readonly folder: string;
  readonly dataPath: DataPath;
  readonly calls: boolean;
}

async function writeFiles(self: End, peer: End, { folder, dataPath, calls }: Place): Promise<void> {
  await mkdir(folder, { recursive: true });
  const load = dataPath === 'user' ? PLUGINS.replace('kernel-netlink', 'kernel-libipsec kernel-netlink') : PLUGINS;
  await writeFile(
    join(folder, 'strongswan.conf'),
    `charon-systemd {\n load = ${load}\n install_routes = no\n journal { default = -1 }\n plugins { vici { socket = unix://${folder}/vici } }\n}\nswanctl { load = random openssl pem pkcs1 }\n`,
  );
  const selectors =
    dataPath === 'user'
      ? `local_ts = ${self.podCidrs.join(',')}\n remote_ts = ${peer.podCidrs.join(',')}`
      : 'local_ts = 0.0.0.0/0\n remote_ts = 0.0.0.0/0\n if_id_in = 7\n if_id_out = 7';
  await writeFile(
    join(folder, 'swanctl.conf'),
    `connections { hand { version = 2\n mobike = no\n encap = yes\n remote_addrs = ${calls ? (peer.gateway.addresses[0] ?? '') : '%any'}\n proposals = aes128gcm16-prfsha256-x25519\n local { auth = psk\n id = ${self.gateway.name}.hand }\n remote { auth = psk\n id = ${peer.gateway.name}.hand }\n children { net { ${selectors}\n esp_proposals = aes128gcm16-x25519\n } } } }\nsecrets { ike-1 { secret = made-by-hand-for-the-bench } }\n`,
  );
}

/**
 * `ip netns exec` becomes the program, so the pid is charon's. In a session of its own, as an init system and Raven start it: kernels
 * with autogroup scheduling share the processors out by session, which alone makes a factor of 1.7 here.
 */
function startCharon({ gateway }: End, { folder }: Place): ChildProcess {
  return spawn('ip', ['netns', 'exec', gateway.netns, 'charon-systemd'], {
    env: { ...process.env, STRONGSWAN_CONF: join(folder, 'strongswan.conf') },
    stdio: 'ignore',
    detached: true,
  });
}

async function swanctl(folder: string, { gateway }: End, args: readonly string[]): Promise<void> {
  const conf = `STRONGSWAN_CONF=${join(folder, 'strongswan.conf')}`;
  await netnsExec(gateway.netns)(['env', conf, 'swanctl', ...args, '--uri', `unix://${folder}/vici`], { timeoutMs: 60_000 });
}

async function route(self: End, peer: End, dataPath: DataPath, routesIn: RoutesIn): Promise<void> {
  const device =
    dataPath === 'user' ? ['link set ipsec0 up'] : ['link add x0 type xfrm dev eth0 if_id 7', `link set x0 mtu ${XFRM_MTU} up`];
  const way = dataPath === 'user' ? `dev ipsec0 mtu ${USER_MTU}` : 'dev x0';
  const lines = [...device, ...routeLines(peer.podCidrs, way, routesIn)];
  await hostExec(['ip', '-n', self.gateway.netns, '-batch', '-'], { stdin: lines.map((line) => `${line}\n`).join('') });
}
