import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, type Lab, must, raven, run } from '../lab/harness.ts';
import { wgOf } from '../lab/wg.ts';
import { createTap } from './tap.ts';
import { withLab } from './vm-lab.ts';

/** The rig's regions, with fewer nodes, and WireGuard in the kernel: under software emulation everything takes its time. */

const SMALL_RIG = `
name: small-rig
rpFilter: strict
masquerade: [legacy, nft]
regions:
  - name: a
    lan: 203.0.113.0/24
    nodes:
      - {name: a1, ip: 203.0.113.1, gateway: true, publicIp: 203.0.113.1}
  - name: b
    lan: 192.168.1.0/24
    router: {nat: cone, publicIp: 198.51.100.2}
    nodes:
      - {name: b1, ip: 192.168.1.10, gateway: true}
      - {name: b2, ip: 192.168.1.11}
  - name: c
    lan: 192.168.1.0/24
    router: {nat: symmetric, publicIp: 198.51.100.3}
    nodes:
      - {name: c1, ip: 192.168.1.10, gateway: true}
`;
const RESYNCS = 5;
const tap = createTap((line) => process.stdout.write(line));
const folder = await mkdtemp(join(tmpdir(), 'raven-kernel-'));
await writeFile(join(folder, 'rig.yaml'), SMALL_RIG);
try {
  await withLab(join(folder, 'rig.yaml'), suite, '--vpn-driver', 'wireguard');
} finally {
  await rm(folder, { recursive: true, force: true });
}
process.exitCode = tap.end();

async function suite(lab: Lab): Promise<void> {
  const { nodes, store } = await lab.list();
  const node = (name: string) => {
    const found = nodes.find((each) => each.name === name);
    if (found === undefined) throw new Error(`no node ${name}`);
    return found;
  };
  const b1 = node('b1');
  const agent = b1.processes.find(({ program }) => program === 'agent');
  const lines = async (): Promise<string[]> => (await readFile(agent?.log ?? '', 'utf8')).split('\n').filter((line) => line !== '');
  const carries = async (from: string, to: string): Promise<void> =>
    void (await lab.expectMatrix('--from', `pod-${from}`, '--to', `pod-${to}`));

  await tap.test("uses the kernel's WireGuard on every gateway, and says so", async () => {
    const { stdout } = await raven('status', '--store', `dir:${store}`, '-o', 'json');
    const { gateways } = JSON.parse(stdout) as { gateways: { name: string; driver?: string; dataPath?: string }[] };
    for (const { name, driver, dataPath } of gateways)
      if (driver !== 'wireguard' || dataPath !== 'kernel') throw new Error(`region ${name} uses ${driver}, ${dataPath} data path`);
    const device = await must(['ip', '-n', b1.netns, '-d', 'link', 'show', 'raven-wg0']);
    if (!device.includes('wireguard')) throw new Error(device);
  });
  await tap.test('carries ICMP, TCP and UDP with their own source, between NATs by relay (R1, R6)', async () => {
    for (const [from, to] of [
      ['a1', 'b2'],
      ['b2', 'c1'],
    ] as const)
      await carries(from, to);
  });
  await tap.test('writes nothing in resyncs without change (R25)', async () => {
    await lab.settled(b1);
    const before = (await lines()).length;
    for (let i = 1; i <= RESYNCS; i++) {
      process.kill(agent?.pid ?? 0, 'SIGHUP');
      await eventually('a resync', async () => (await lines()).slice(before).filter((line) => line.includes('"resync"')).length >= i);
    }
    const other = (await lines()).slice(before).filter((line) => !line.includes('"resync"'));
    if (other.length > 0) throw new Error(`the agent did more than look:\n${other.join('\n')}`);
  });
  await tap.test('repairs device and allowed IPs that were changed by hand, under the same key (R25)', async () => {
    const key = await wgOf(b1, 'show', 'raven-wg0', 'public-key');
    const peer = (await wgOf(b1, 'show', 'raven-wg0', 'peers')).trim();
    const damage: (() => Promise<unknown>)[] = [
      () => wgOf(b1, 'set', 'raven-wg0', 'peer', peer, 'allowed-ips', '10.99.0.0/24'),
      () => must(['ip', '-n', b1.netns, 'link', 'del', 'raven-wg0']),
    ];
    for (const harm of damage) {
      await harm();
      await lab.settled(b1);
      await carries('b2', 'a1');
    }
    if ((await wgOf(b1, 'show', 'raven-wg0', 'public-key')) !== key) throw new Error('another key');
  });
  await tap.test('passes packets of exactly the tunnel MTU, also relayed, and says "too big" to one byte more (R10)', async () => {
    const source = await lab.podOn('b2');
    const target = (await lab.podOn('c1')).ips[0]?.split('/')[0] ?? '';
    const ping = (bytes: number) =>
      run(['ip', 'netns', 'exec', source.netns, 'ping', '-n', '-c', '2', '-W', '5', '-M', 'do', '-s', String(bytes - 28), target]);
    // Outer IPv4 20, UDP 8, WireGuard 32. The first packets teach the path MTU.
    const limit = 1500 - 60;
    await ping(limit + 1);
    const fits = await ping(limit);
    if (fits.code !== 0) throw new Error(`${limit} bytes do not pass\n${fits.stdout}${fits.stderr}`);
    const over = await ping(limit + 1);
    if (!/Frag needed|message too long/.test(over.stdout + over.stderr)) throw new Error(`nobody said that it is too big\n${over.stdout}`);
  });
}
