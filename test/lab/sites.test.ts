import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { espMtuOf, eventually, Lab, must, raven, run, tunLimit } from './harness.ts';
import { MTUS, ONE_LAN } from './topologies.ts';

/** Sites as they are: odd ports, small MTUs, two regions on one LAN. Each test has a lab of its own. */

let folder: string;
let lab: Lab | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'raven-sites-'));
});
afterAll(async () => {
  await lab?.down();
  await rm(folder, { recursive: true, force: true });
});

async function withLab(topology: string, work: (lab: Lab) => Promise<void>, ...options: string[]): Promise<void> {
  const file = join(folder, 'topology.yaml');
  await writeFile(file, topology);
  lab = await Lab.up(file, ...options);
  try {
    await work(lab);
  } finally {
    await lab.down();
    lab = undefined;
  }
}

const PORTS = `
name: ports
masquerade: [nft]
regions:
  - name: a
    lan: 10.0.1.0/24
    router:
      nat: cone
      publicIp: 203.0.113.1
      forwards: [{publicPort: 4500, node: a1, port: 51820}]
    nodes:
      - {name: a1, gateway: true, port: 51820, publicIp: 203.0.113.1, publicPort: 4500}
      - {name: a2}
  - name: b
    lan: 192.168.1.0/24
    router: {nat: symmetric, publicIp: 198.51.100.2}
    nodes:
      - {name: b1, gateway: true, port: 4600}
`;

describe('sites', () => {
  it('uses the ports of the spec, and a forwarded public port (R12)', async () => {
    await withLab(PORTS, async (ports) => {
      await ports.expectMatrix();
      const sockets = await must(['ip', 'netns', 'exec', (await ports.node('a1')).netns, 'ss', '-lunp']);
      expect(sockets).toMatch(/:51820\b/);
      expect(sockets).not.toMatch(/:4500\b|:500\b/);
    });
  });

  it('fits every underlay although ICMP is dropped on the way, also relayed, and says "too big" itself (R10)', async () => {
    await withLab(MTUS, async (mtus) => {
      for (const [from, to] of [
        ['b2', 'a2'],
        ['a2', 'b2'],
        ['b2', 'c2'],
        ['c2', 'b2'],
        ['c2', 'a2'],
        ['a2', 'c2'],
      ] as const) {
        await mtus.expectMatrix('--from', `pod-${from}`, '--to', `pod-${to}`, '--bytes', '10485760');
      }
      for (const [from, to, underlay] of [
        ['b2', 'a2', 1400],
        ['c2', 'a2', 1300],
        ['b2', 'c2', 1300],
      ] as const) {
        const source = await mtus.podOn(from);
        const target = (await mtus.podOn(to)).ips[0]!.split('/')[0]!;
        const ping = (size: number) =>
          run(['ip', 'netns', 'exec', source.netns, 'ping', '-n', '-c', '2', '-W', '3', '-M', 'do', '-s', String(size - 28), target]);
        const limit = Math.min(espMtuOf(underlay), await tunLimit(mtus, 'a1'));
        // The first packets teach the path MTU; the answers come from our nodes, since the routers drop ICMP.
        await ping(underlay);
        await ping(underlay);
        expect((await ping(limit)).code, `${from} → ${to}: ${limit} bytes pass`).toBe(0);
        const over = await ping(limit + 1);
        expect(over.code, `${from} → ${to}: ${limit + 1} bytes do not`).not.toBe(0);
        expect(over.stdout + over.stderr).toMatch(/Frag needed|message too long/);
      }
    });
  });

  it('connects without any configured address, directly between two regions on one LAN (R7)', async () => {
    await withLab(ONE_LAN, async (onelan) => {
      const { store } = await onelan.list();
      await eventually('b1 and c1 talk over private addresses', async () => {
        const { stdout } = await raven('get', 'tunnelendpoint', 'b1', '--store', `dir:${store}`, '-o', 'json');
        const links = (JSON.parse(stdout) as { status?: { links: { peer: string; path: string; state: string }[] } }).status?.links ?? [];
        return links.some(({ peer, path, state }) => peer === 'c1' && path === 'direct' && state === 'Up');
      });
      const { pairs } = await onelan.expectMatrix();
      expect(pairs.find(({ from, to }) => from === 'pod-b1' && to === 'pod-c1')?.path).toEqual(['b1', 'c1']);
      const gateway = await raven('get', 'gateways', 'b', '--store', `dir:${store}`, '-o', 'json');
      expect(gateway.stdout).not.toContain('publicIP');
    });
  });

  it('names a wrong public address in a condition (R7)', async () => {
    await withLab(
      PORTS.replace('publicIp: 203.0.113.1, publicPort: 4500', 'publicIp: 203.0.113.1, publicPort: 4501').replace(
        'name: ports',
        'name: wrong',
      ),
      async () => undefined,
      '--timeout',
      '20',
    ).then(
      () => expect.unreachable('a lab whose tunnels cannot come up must not be reported as up'),
      (error: Error) => expect(error.message).toMatch(/203\.0\.113\.1:4501/),
    );
  });
});
