import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hostExec, netnsExec } from '../src/drivers/exec/exec.ts';
import type { LabNode } from '../test/lab/harness.ts';

/** The ends of a tunnel: two gateway nodes of a lab without Raven. `caller` stands behind the NAT. */
export interface Ends {
  readonly caller: LabNode;
  readonly called: LabNode;
}

const PLUGINS = 'random nonce openssl pem pkcs1 pubkey x509 curve25519 hmac kdf aes sha2 gcm kernel-netlink socket-default vici';

/** XFRM device MTU for an underlay of 1500: what `espMtu` gives. The TUN keeps strongSwan's own 1400. */
const XFRM_MTU = 1438;

/**
 * The same tunnel as Raven's, on the same nodes, made by hand with swanctl.conf(5), ip and one iptables rule.
 *
 * @returns takes it down; the namespaces are the lab's
 */
export async function createHandMade({ caller, called }: Ends, dataPath: 'kernel' | 'user'): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'rvhand-'));
  const charons: ChildProcess[] = [];
  const remove = async (): Promise<void> => {
    for (const child of charons) {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await ended;
    }
    await rm(folder, { recursive: true, force: true });
  };
  try {
    for (const [self, peer] of [
      [called, caller],
      [caller, called],
    ] as const) {
      charons.push(await startCharon(self, peer, { folder: join(folder, self.name), dataPath, calls: self === caller }));
      await route(self, peer, dataPath);
    }
    await swanctl(join(folder, caller.name), caller.netns, ['--initiate', '--child', 'net', '--timeout', '20']);
  } catch (error) {
    await remove();
    throw error;
  }
  return remove;
}

interface Place {
  readonly folder: string;
  readonly dataPath: 'kernel' | 'user';
  readonly calls: boolean;
}

async function startCharon(self: LabNode, peer: LabNode, { folder, dataPath, calls }: Place): Promise<ChildProcess> {
  await mkdir(folder, { recursive: true });
  const load = dataPath === 'user' ? PLUGINS.replace('kernel-netlink', 'kernel-libipsec kernel-netlink') : PLUGINS;
  await writeFile(
    join(folder, 'strongswan.conf'),
    `charon-systemd {\n load = ${load}\n install_routes = no\n journal { default = -1 }\n plugins { vici { socket = unix://${folder}/vici } }\n}\nswanctl { load = random openssl pem pkcs1 }\n`,
  );
  const selectors =
    dataPath === 'user'
      ? `local_ts = ${self.podCIDR}\n remote_ts = ${peer.podCIDR}`
      : 'local_ts = 0.0.0.0/0\n remote_ts = 0.0.0.0/0\n if_id_in = 7\n if_id_out = 7';
  await writeFile(
    join(folder, 'swanctl.conf'),
    `connections { hand { version = 2\n mobike = no\n encap = yes\n remote_addrs = ${calls ? (peer.addresses[0] ?? '') : '%any'}\n proposals = aes128gcm16-prfsha256-x25519\n local { auth = psk\n id = ${self.name}.hand }\n remote { auth = psk\n id = ${peer.name}.hand }\n children { net { ${selectors}\n esp_proposals = aes128gcm16-x25519\n } } } }\nsecrets { ike-1 { secret = made-by-hand-for-the-bench } }\n`,
  );
  // `ip netns exec` becomes the program, so the pid is charon's. In a session of its own, as an init system and Raven start it: kernels
  // with autogroup scheduling share the processors out by session, which alone makes a factor of 1.7 here.
  const child = spawn('ip', ['netns', 'exec', self.netns, 'charon-systemd'], {
    env: { ...process.env, STRONGSWAN_CONF: join(folder, 'strongswan.conf') },
    stdio: 'ignore',
    detached: true,
  });
  const deadline = Date.now() + 60_000;
  for (;;) {
    try {
      await swanctl(folder, self.netns, ['--load-all', '--file', join(folder, 'swanctl.conf')]);
      return child;
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function swanctl(folder: string, netns: string, args: readonly string[]): Promise<void> {
  const conf = `STRONGSWAN_CONF=${join(folder, 'strongswan.conf')}`;
  await netnsExec(netns)(['env', conf, 'swanctl', ...args, '--uri', `unix://${folder}/vici`], { timeoutMs: 60_000 });
}

/** A route into the tunnel, and the exception from the CNI's masquerade that everybody forgets first. */
async function route(self: LabNode, peer: LabNode, dataPath: 'kernel' | 'user'): Promise<void> {
  const commands =
    dataPath === 'user'
      ? `link set ipsec0 up\nroute add ${peer.podCIDR} dev ipsec0 mtu 1400\n`
      : `link add x0 type xfrm dev eth0 if_id 7\nlink set x0 mtu ${XFRM_MTU} up\nroute add ${peer.podCIDR} dev x0\n`;
  await hostExec(['ip', '-n', self.netns, '-batch', '-'], { stdin: commands });
  await netnsExec(self.netns)([
    'iptables',
    '-w',
    '-t',
    'nat',
    '-I',
    'POSTROUTING',
    '-s',
    '10.244.0.0/16',
    '-d',
    '10.244.0.0/16',
    '-j',
    'ACCEPT',
  ]);
}
