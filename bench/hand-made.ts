import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hostExec, netnsExec } from '../src/drivers/exec/exec.ts';

/** The same tunnel without Raven: two gateways, a pod behind each, strongSwan configured with swanctl.conf(5). */
export interface HandMade {
  /** Network namespaces of the two pods, and the address of the second. */
  readonly fromNetns: string;
  readonly toNetns: string;
  readonly toIp: string;
  remove(): Promise<void>;
}

const PLUGINS = 'random nonce openssl pem pkcs1 pubkey x509 curve25519 hmac kdf aes sha2 gcm kernel-netlink socket-default vici updown';
const SIDES = {
  a: { outer: '203.0.113.1', peer: '203.0.113.2', pod: '10.250.1.2', gateway: '10.250.1.1', net: '10.250.1.0/24', remote: '10.250.2.0/24' },
  b: { outer: '203.0.113.2', peer: '203.0.113.1', pod: '10.250.2.2', gateway: '10.250.2.1', net: '10.250.2.0/24', remote: '10.250.1.0/24' },
} as const;
type Side = keyof typeof SIDES;

/** XFRM device MTU for an underlay of 1500: what `espMtu` gives. The TUN keeps strongSwan's own 1400. */
const XFRM_MTU = 1438;

export async function createHandMade(dataPath: 'kernel' | 'user'): Promise<HandMade> {
  const name = (part: string): string => `rvhand-${process.pid}-${part}`;
  const folder = await mkdtemp(join(tmpdir(), 'rvhand-'));
  const charons: ChildProcess[] = [];
  const remove = async (): Promise<void> => {
    for (const child of charons) {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await ended;
    }
    for (const part of ['ga', 'gb', 'pa', 'pb']) await hostExec(['ip', 'netns', 'del', name(part)]).catch(() => undefined);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    for (const part of ['ga', 'gb', 'pa', 'pb']) await hostExec(['ip', 'netns', 'add', name(part)]);
    await hostExec(['ip', '-n', name('ga'), 'link', 'add', 'w0', 'type', 'veth', 'peer', 'name', 'w0', 'netns', name('gb')]);
    for (const side of ['a', 'b'] as const) await buildSide(side, name(`g${side}`), name(`p${side}`));
    for (const side of ['a', 'b'] as const)
      charons.push(await startCharon(side, dataPath, { netns: name(`g${side}`), folder: join(folder, side) }));
    for (const side of ['a', 'b'] as const) await route(side, dataPath, name(`g${side}`));
    await swanctl(join(folder, 'b'), name('gb'), ['--initiate', '--child', 'net', '--timeout', '20']);
  } catch (error) {
    await remove();
    throw error;
  }
  return { fromNetns: name('pb'), toNetns: name('pa'), toIp: SIDES.a.pod, remove };
}

async function buildSide(side: Side, gateway: string, pod: string): Promise<void> {
  const { outer, pod: podIp, gateway: gatewayIp } = SIDES[side];
  await hostExec(['ip', '-n', gateway, '-batch', '-'], {
    stdin: `link set lo up\naddress add ${outer}/24 dev w0\nlink set w0 up\nlink add p0 type veth peer name eth0 netns ${pod}\naddress add ${gatewayIp}/24 dev p0\nlink set p0 up\n`,
  });
  await hostExec(['ip', '-n', pod, '-batch', '-'], {
    stdin: `link set lo up\naddress add ${podIp}/24 dev eth0\nlink set eth0 up\nroute add default via ${gatewayIp}\n`,
  });
  await netnsExec(gateway)(['sysctl', '-qw', 'net.ipv4.ip_forward=1']);
}

interface Place {
  readonly netns: string;
  readonly folder: string;
}

async function startCharon(side: Side, dataPath: 'kernel' | 'user', { netns, folder }: Place): Promise<ChildProcess> {
  const { outer, peer, net, remote } = SIDES[side];
  await mkdir(folder, { recursive: true });
  const load = dataPath === 'user' ? PLUGINS.replace('kernel-netlink', 'kernel-libipsec kernel-netlink') : PLUGINS;
  const vici = `unix://${folder}/vici`;
  await writeFile(
    join(folder, 'strongswan.conf'),
    `charon-systemd {\n load = ${load}\n install_routes = no\n journal { default = -1 }\n plugins { vici { socket = ${vici} } }\n}\nswanctl { load = random openssl pem pkcs1 }\n`,
  );
  const selectors =
    dataPath === 'user'
      ? `local_ts = ${net}\n remote_ts = ${remote}`
      : 'local_ts = 0.0.0.0/0\n remote_ts = 0.0.0.0/0\n if_id_in = 7\n if_id_out = 7';
  await writeFile(
    join(folder, 'swanctl.conf'),
    `connections { hand { version = 2\n mobike = no\n encap = yes\n local_addrs = ${outer}\n remote_addrs = ${peer}\n proposals = aes128gcm16-prfsha256-x25519\n local { auth = psk\n id = ${side}.hand }\n remote { auth = psk\n id = ${side === 'a' ? 'b' : 'a'}.hand }\n children { net { ${selectors}\n esp_proposals = aes128gcm16-x25519\n } } } }\nsecrets { ike-1 { secret = made-by-hand-for-the-bench } }\n`,
  );
  // `ip netns exec` becomes the program, so the pid is charon's.
  const child = spawn('ip', ['netns', 'exec', netns, 'charon-systemd'], {
    env: { ...process.env, STRONGSWAN_CONF: join(folder, 'strongswan.conf') },
    stdio: 'ignore',
  });
  const deadline = Date.now() + 30_000;
  for (;;) {
    try {
      await swanctl(folder, netns, ['--load-all', '--file', join(folder, 'swanctl.conf')]);
      return child;
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function swanctl(folder: string, netns: string, args: readonly string[]): Promise<void> {
  await netnsExec(netns)(
    ['env', `STRONGSWAN_CONF=${join(folder, 'strongswan.conf')}`, 'swanctl', ...args, '--uri', `unix://${folder}/vici`],
    { timeoutMs: 60_000 },
  );
}

async function route(side: Side, dataPath: 'kernel' | 'user', netns: string): Promise<void> {
  const { remote } = SIDES[side];
  const commands =
    dataPath === 'user'
      ? `link set ipsec0 up\nroute add ${remote} dev ipsec0 mtu 1400\n`
      : `link add x0 type xfrm dev w0 if_id 7\nlink set x0 mtu ${XFRM_MTU} up\nroute add ${remote} dev x0\n`;
  await hostExec(['ip', '-n', netns, '-batch', '-'], { stdin: commands });
}
