import { rm } from 'node:fs/promises';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hostExec, netnsExec, type Exec } from '../exec/exec.ts';

/** A node of the test network: a network namespace with one address outside and one inside. */
export interface TestNode {
  readonly name: string;
  readonly netns: string;
  readonly exec: Exec;
  readonly dir: string;
  /** Address on the underlay, behind a NAT for nodes that are in `nat`. */
  readonly outer: string;
  /** Address that only tunnels lead to. */
  readonly inner: string;
}

/** Some machines around a router, in namespaces of their own; nothing leaves them. */
export interface Testbed {
  node(name: string): TestNode;
  /** Network namespace of the router between all. */
  readonly router: string;
  /** Ends every process in the namespaces and removes them. */
  close(): Promise<void>;
}

/** @param nat nodes that the router hides behind its own address on the other nodes' links */
export async function createTestbed(names: readonly string[], nat: readonly string[] = []): Promise<Testbed> {
  const prefix = `rvip${process.pid % 100_000}`;
  const dir = await mkdtemp(join(tmpdir(), 'raven-ipsec-'));
  const router = `${prefix}-r`;
  const nodes = new Map(
    names.map((name, i): [string, TestNode] => [
      name,
      {
        name,
        netns: `${prefix}-${name}`,
        exec: netnsExec(`${prefix}-${name}`),
        dir: join(dir, name),
        outer: `192.0.2.${i * 4 + 2}`,
        inner: `10.${i + 1}.0.1`,
      },
    ]),
  );

  async function build(): Promise<void> {
    const lines = [`netns add ${router}`];
    for (const { netns } of nodes.values()) lines.push(`netns add ${netns}`);
    await hostExec(['ip', '-batch', '-'], { stdin: `${lines.join('\n')}\n` });
    let i = 0;
    for (const { name, netns, outer, inner } of nodes.values()) {
      await hostExec(['ip', '-n', router, '-batch', '-'], {
        stdin: `link add name to-${name} type veth peer name up0 netns ${netns}\naddress add 192.0.2.${i * 4 + 1}/30 dev to-${name}\nlink set to-${name} addrgenmode none\nlink set to-${name} up\nlink set lo up\n`,
      });
      // No link-local address: it would come up a second later, in the midst of a comparison of before and after.
      await hostExec(['ip', '-n', netns, '-batch', '-'], {
        stdin: `link set lo up\nlink set up0 addrgenmode none\naddress add ${outer}/30 dev up0\nlink set up0 up\nroute add default via 192.0.2.${i * 4 + 1}\naddress add ${inner}/32 dev lo\n`,
      });
      i++;
    }
    await netnsExec(router)(['sysctl', '-qw', 'net.ipv4.ip_forward=1']);
    if (nat.length === 0) return;
    const rules = nat.map((name) => `add rule ip nat post iifname to-${name} masquerade`);
    await netnsExec(router)(['nft', '-f', '-'], {
      stdin: ['add table ip nat', 'add chain ip nat post { type nat hook postrouting priority srcnat; }', ...rules].join('\n'),
    });
  }

  async function close(): Promise<void> {
    for (const netns of [router, ...[...nodes.values()].map((node) => node.netns)]) {
      for (const pid of await pidsIn(netns)) kill(pid);
      await hostExec(['ip', 'netns', 'del', netns]).catch(() => undefined);
    }
    await rm(dir, { recursive: true, force: true });
  }

  try {
    await build();
  } catch (error) {
    await close();
    throw error;
  }
  return {
    node: (name) => {
      const node = nodes.get(name);
      if (node === undefined) throw new Error(`no node ${name}`);
      return node;
    },
    router,
    close,
  };
}

export async function pidsIn(netns: string): Promise<number[]> {
  const text = await hostExec(['ip', 'netns', 'pids', netns]).catch(() => '');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map(Number);
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone already.
  }
}
