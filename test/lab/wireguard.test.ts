import { readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, Lab, type LabNode, must, raven } from './harness.ts';
import { lostDuring } from './pings.ts';
import { wgOf } from './wg.ts';

/** The WireGuard driver on networks of namespaces; where the kernel has no WireGuard it is wireguard-go that runs. */

const RAVEN = fileURLToPath(new URL('../../bin/raven', import.meta.url));
let lab: Lab;
let nodes: readonly LabNode[];
let store: string;

const nodeOf = (name: string): LabNode => nodes.find((node) => node.name === name)!;
const netnsOf = (name: string): string => nodeOf(name).netns;
const logOf = (name: string): string => nodeOf(name).processes.find(({ program }) => program === 'agent')!.log;
const runDirOf = (name: string): string => join(dirname(logOf(name)), 'run');
const agentPid = async (name: string): Promise<number> => (await lab.node(name)).processes.find(({ program }) => program === 'agent')!.pid;
const settled = (name: string): Promise<true> => lab.settled(nodeOf(name));
const wg = (name: string, ...args: string[]): Promise<string> => wgOf(nodeOf(name), ...args);
const flows = async (from: string, to: string): Promise<boolean> => (await lab.matrix('--from', from, '--to', to)).ok;

describe('the rig with WireGuard', () => {
  beforeAll(async () => {
    lab = await Lab.up('rig', '--vpn-driver', 'wireguard');
    ({ nodes, store } = await lab.list());
  });
  afterAll(() => lab?.down());

  it('carries ICMP, TCP, UDP and Services between all pods with their own source, two NATs by relay (R1, R3, R6)', async () => {
    const { pairs } = await lab.expectMatrix('--services');
    expect(pairs.find(({ from, to }) => from === 'pod-b2' && to === 'pod-c2')?.path).toEqual(['b2', 'b1', 'a1', 'c1', 'c2']);
  });

  it('hands packets to the nodes of the region without its mark, with which raven0 would look up the outer route of each anew (R44)', async () => {
    const nft = (...args: string[]): Promise<string> => must(['ip', 'netns', 'exec', netnsOf('b1'), 'nft', ...args]);
    await nft(
      'add table ip seen; add chain ip seen out { type filter hook output priority 0; }; add rule ip seen out udp dport 4472 counter; add rule ip seen out udp dport 4472 meta mark & 0x40 == 0x40 counter',
    );
    try {
      expect(await flows('pod-a1', 'pod-b2')).toBe(true);
      const [all, marked] = [...(await nft('list', 'table', 'ip', 'seen')).matchAll(/counter packets (\d+)/g)].map(([, count]) =>
        Number(count),
      );
      expect(all).toBeGreaterThan(100);
      expect(marked).toBe(0);
    } finally {
      await nft('delete', 'table', 'ip', 'seen');
    }
  });

  it('publishes its public key, shows driver and data path, and keeps its private key to itself (R34)', async () => {
    const file = join(dirname(logOf('b1')), 'state', 'wireguard.key');
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const key = (await readFile(file, 'utf8')).trim();
    const published = (await raven('get', 'tunnelendpoint', 'b1', '--store', `dir:${store}`, '-o', 'json')).stdout;
    const { spec } = JSON.parse(published) as { spec: Record<string, unknown> };
    expect(spec).toMatchObject({ driver: 'wireguard', publicKey: (await wg('b1', 'show', 'raven-wg0', 'public-key')).trim() });
    expect((await raven('status', '--store', `dir:${store}`)).stdout).toMatch(/DRIVER.*\n.*wireguard/);
    const plan = await must([RAVEN, 'plan', '--store', `dir:${store}`, '--node', 'b1']);
    expect(plan).toMatch(/wg set raven-wg0 peer \S+ endpoint 203\.0\.113\.1:4500 persistent-keepalive 25 allowed-ips 10\.244\./);
    for (const text of [published, plan, await readFile(logOf('b1'), 'utf8')]) expect(text).not.toContain(key);
  });

  it('writes nothing in 100 resyncs without change (R25)', async () => {
    const watched = ['a1', 'b1'];
    await Promise.all(watched.map(settled));
    const configOf = (name: string): Promise<string> =>
      // Without handshakes and counters; wireguard-go lists its peers in any order.
      wg(name, 'show', 'raven-wg0', 'dump').then((text) =>
        text
          .replaceAll(/\t\d+\t\d+\t\d+\t(\w+)$/gm, '\t$1')
          .split('\n')
          .toSorted()
          .join('\n'),
      );
    const before = await Promise.all(
      watched.map(async (name) => ({ log: await readFile(logOf(name), 'utf8'), config: await configOf(name) })),
    );
    await Promise.all(
      watched.map(async (name, at) => {
        const pid = await agentPid(name);
        for (let i = 1; i <= 100; i++) {
          process.kill(pid, 'SIGHUP');
          const done = async () => (await readFile(logOf(name), 'utf8')).slice(before[at]!.log.length).split('"resync"').length > i;
          await eventually('a resync', done, undefined, 20);
        }
      }),
    );
    for (const [at, name] of watched.entries()) {
      const added = (await readFile(logOf(name), 'utf8')).slice(before[at]!.log.length).trim().split('\n');
      const messages = added.map((line) => (JSON.parse(line) as { msg: string }).msg);
      expect(messages).toEqual(Array.from({ length: 100 }, () => 'resync'));
      expect(await configOf(name)).toBe(before[at]!.config);
    }
  });

  it('repairs device, peer, allowed IPs, port and process that somebody changed or deleted (R25)', async () => {
    const peer = (await wg('b1', 'show', 'raven-wg0', 'peers')).trim();
    const daemon = async (): Promise<string> => (await readFile(join(runDirOf('b1'), 'wireguard-go.pid'), 'utf8').catch(() => '')).trim();
    const isKernel = (await daemon()) === '';
    const damage: [string, () => Promise<unknown>][] = [
      ['peer', () => wg('b1', 'set', 'raven-wg0', 'peer', peer, 'remove')],
      ['allowed IPs', () => wg('b1', 'set', 'raven-wg0', 'peer', peer, 'allowed-ips', '10.244.1.0/24')],
      ['port', () => wg('b1', 'set', 'raven-wg0', 'listen-port', '4999')],
      ['device', () => must(['ip', '-n', netnsOf('b1'), 'link', 'del', 'raven-wg0'])],
      ...(isKernel ? [] : [['process', async () => process.kill(Number(await daemon()), 'SIGKILL')] satisfies (typeof damage)[number]]),
    ];
    for (const [what, harm] of damage) {
      await harm();
      const sinceMs = Date.now();
      await settled('b1');
      await eventually(`traffic after the loss of ${what}`, () => flows('pod-b2', 'pod-a2'));
      expect(Date.now() - sinceMs, what).toBeLessThan(10_000);
    }
    await lab.expectMatrix('--from', 'b', '--to', 'c');
  });

  it('loses no packet and keeps its key while agents stop, are killed, and start again (R21)', async () => {
    const keys = await Promise.all(['a1', 'b1'].map((name) => wg(name, 'show', 'raven-wg0', 'public-key')));
    const { lost } = await lostDuring(lab, ['b2', 'c2'], async () => {
      for (const name of ['b1', 'a1']) {
        process.kill(await agentPid(name), 'SIGTERM');
        await eventually('it ends', async () => (await lab.raven('lab', 'start', `${name}/agent`)).code === 0);
        await eventually('it works', async () => (await readFile(logOf(name), 'utf8')).trim().split('\n').at(-1)?.includes('"role"'));
        await settled(name);
        expect((await lab.raven('lab', 'kill', `${name}/agent`)).code).toBe(0);
        expect((await lab.raven('lab', 'start', `${name}/agent`)).code).toBe(0);
        await settled(name);
      }
    });
    expect(lost).toBe(0);
    expect(await Promise.all(['a1', 'b1'].map((name) => wg(name, 'show', 'raven-wg0', 'public-key')))).toEqual(keys);
    nodes = (await lab.list()).nodes;
  });

  it('is back after two keepalives when the address of its NAT changes, without any write to the cluster (R9)', async () => {
    const router = (await lab.list()).routers.find(({ name }) => name.includes('b'))!;
    const inRouter = (...argv: string[]) => must(['ip', 'netns', 'exec', router.netns, ...argv]);
    await must(['ip', '-n', `raven-${lab.name}-internet`, 'route', 'add', '198.51.100.77/32', 'dev', 'b']);
    const device = (await inRouter('ip', '-o', 'address', 'show', 'to', '198.51.100.2/32')).split(/\s+/)[1]!;
    await inRouter('ip', 'address', 'add', '198.51.100.77/32', 'dev', device);
    const defaultRoute = (await inRouter('ip', 'route', 'show', 'default')).trim().replace(' src 198.51.100.2', '').split(/\s+/);
    await inRouter('ip', 'route', 'replace', ...defaultRoute, 'src', '198.51.100.77');
    await inRouter('ip', 'address', 'del', '198.51.100.2/32', 'dev', device);
    await inRouter('conntrack', '-F');
    // From the far side: nothing helps it but what b1 sends by itself.
    await eventually('a ping from a2 is answered', () => flows('pod-a2', 'pod-b2'), 50_000);
    expect(await wg('a1', 'show', 'raven-wg0', 'endpoints')).toContain('198.51.100.77:');
    await lab.expectMatrix('--from', 'c', '--to', 'b');
  });

  it('lets b3 take over when b1 loses power, with its own key (R26)', async () => {
    expect((await lab.raven('lab', 'kill', 'b1')).code).toBe(0);
    await eventually('b3 is the gateway', async () => (await lab.node('b3')).role === 'gateway');
    await eventually('traffic flows again', async () => (await flows('b', 'a')) && (await flows('c', 'b')));
    await Promise.all(['a1', 'b2', 'b3', 'c1'].map(settled));
    const key = (await wg('b3', 'show', 'raven-wg0', 'public-key')).trim();
    expect((await wg('a1', 'show', 'raven-wg0', 'peers')).trim().split('\n')).toContain(key);
    // b1 as well: it is the standby now.
    expect((await wg('a1', 'show', 'raven-wg0', 'peers')).trim().split('\n').length).toBe(3);
  });
});
