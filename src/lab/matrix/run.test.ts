import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { hostExec, netnsExec } from '../../drivers/exec/exec.ts';
import { connectPod, type PodClient } from '../pod/control-client.ts';
import { runMatrix } from './run.ts';
import { runServices } from './services.ts';
import type { MatrixHost, MatrixLab, MatrixPod, PairResult } from './types.ts';

/*
 * Three pods around one router, which plays the node of each:
 *   one → two is masqueraded, three is dropped towards two, all else passes. IPv6 passes everywhere but has two pods only.
 */
const prefix = `rvmx-${process.pid}`;
const router = `${prefix}-r`;
const podFile = join(import.meta.dirname, '../../cmd/pod.ts');
const podNames = ['one', 'two', 'three'];
const children: ChildProcess[] = [];
let folder: string;
let lab: MatrixLab;

async function plug(name: string, index: number): Promise<void> {
  const netns = `${prefix}-${name}`;
  const six = name === 'three' ? [] : [`fd00:${index}::2/64`];
  const batch = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('');
  await hostExec(['ip', 'netns', 'add', netns]);
  await hostExec(['ip', '-batch', '-'], {
    stdin: batch([`link add v${name} netns ${router} type veth peer name eth0 netns ${netns}`]),
  });
  await hostExec(['ip', '-n', router, '-batch', '-'], {
    stdin: batch([
      `addr add 10.9.${index}.1/24 dev v${name}`,
      `addr add fd00:${index}::1/64 dev v${name} nodad`,
      `link set dev v${name} up`,
    ]),
  });
  await hostExec(['ip', '-n', netns, '-batch', '-'], {
    stdin: batch([
      'link set lo up',
      `addr add 10.9.${index}.2/24 dev eth0`,
      ...six.map((address) => `addr add ${address} dev eth0 nodad`),
      'link set dev eth0 up',
      `route add default via 10.9.${index}.1`,
      ...six.map(() => `route add ::/0 via fd00:${index}::1`),
    ]),
  });
}

function startPod(name: string): void {
  const zone = name === 'three' ? ['--dns-zone', join(folder, 'zone.json')] : [];
  const argv = [process.execPath, podFile, '--name', name, '--socket', socketOf(name), ...zone];
  children.push(spawn('ip', ['netns', 'exec', `${prefix}-${name}`, ...argv], { stdio: ['ignore', 'ignore', 'inherit'] }));
}

function socketOf(name: string): string {
  return join(folder, name, 'pod.sock');
}

async function open(name: string): Promise<PodClient> {
  return vi.waitFor(() => connectPod(socketOf(name)), { timeout: 30_000 });
}

describe.runIf(process.getuid?.() === 0)('the matrix in real namespaces', () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'rvmx-'));
    await writeFile(join(folder, 'zone.json'), '{"web.shop.svc.cluster.local": "10.9.2.2"}');
    await hostExec(['ip', 'netns', 'add', router]);
    for (const [i, name] of podNames.entries()) await plug(name, i + 1);
    const inRouter = netnsExec(router);
    await inRouter(['sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
    await inRouter(['nft', '-f', '-'], {
      stdin: `table ip test {
        chain post { type nat hook postrouting priority srcnat; ip saddr 10.9.1.2 ip daddr 10.9.2.2 masquerade; }
        chain forward { type filter hook forward priority filter; ip saddr 10.9.3.2 ip daddr 10.9.2.2 drop; }
      }`,
    });
    for (const name of podNames) startPod(name);
    const pods = podNames.map((name, i): MatrixPod => {
      const six = name === 'three' ? [] : [`fd00:${i + 1}::2`];
      return { name, node: 'router', region: 'here', ips: [`10.9.${i + 1}.2`, ...six], socket: socketOf(name), alive: true };
    });
    const addresses = [1, 2, 3].flatMap((i) => [`10.9.${i}.1`, `fd00:${i}::1`]);
    const node: MatrixHost = { name: 'router', region: 'here', netns: router, addresses, alive: true };
    lab = { name: prefix, pods, nodes: [node], routers: [], services: [], hasDns: false };
    for (const name of podNames) (await open(name)).close();
  }, 60_000);

  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL');
    for (const netns of [router, ...podNames.map((name) => `${prefix}-${name}`)]) {
      await hostExec(['ip', 'netns', 'del', netns]).catch(() => undefined);
    }
    await rm(folder, { recursive: true, force: true });
  });

  it('tells good pairs, masqueraded pairs and broken pairs apart', async () => {
    const { ok, pairs } = await runMatrix(lab, { bytes: 200_000 });
    const row = (from: string, to: string, family = 4): PairResult =>
      pairs.find((pair) => pair.from === from && pair.to === to && pair.family === family)!;
    expect(ok).toBe(false);
    expect(pairs).toHaveLength(8);
    expect(row('two', 'one')).toMatchObject({
      icmp: true,
      tcp: true,
      udp: true,
      sourceSeen: '10.9.2.2',
      path: ['router'],
      ok: true,
      error: null,
    });
    expect(row('two', 'one').rttMs).toBeGreaterThan(0);
    expect(row('one', 'two')).toMatchObject({
      icmp: true,
      tcp: true,
      udp: true,
      sourceSeen: '10.9.2.1',
      ok: false,
      error: 'source seen 10.9.2.1 instead of 10.9.1.2 (masqueraded by router)',
    });
    expect(row('three', 'two')).toMatchObject({ icmp: false, tcp: false, udp: false, sourceSeen: null, rttMs: null, ok: false });
    expect(row('three', 'two').error).toContain('tcp: 0 of 200000 bytes, no connection in time; udp: no answer (3 sent)');
    // What three sends to two is dropped, so are its answers.
    expect(row('two', 'three').ok).toBe(false);
    expect(row('one', 'two', 6)).toMatchObject({ ok: true, sourceSeen: 'fd00:1::2', path: ['router'] });
  }, 60_000);

  it('reports a pod program that is gone as a failure of its pairs', async () => {
    const pods = lab.pods.map((pod) => (pod.name === 'one' ? { ...pod, socket: join(folder, 'nobody.sock') } : pod));
    const { pairs } = await runMatrix({ ...lab, pods }, { from: 'one', to: 'three' });
    expect(pairs).toMatchObject([
      { ok: false, icmp: false, error: expect.stringContaining('pod program of one: connect ENOENT') as string },
    ]);
  });

  it('tries services from pods and from the network of nodes', async () => {
    const service = { name: 'web', namespace: 'shop', protocol: 'TCP', nodePort: null } as const;
    const services = [
      { ...service, clusterIPs: ['10.9.1.2'], port: 8000, targetPort: 8000, pods: ['one'] },
      { ...service, clusterIPs: ['10.9.1.2'], port: 8080, targetPort: 8080, pods: ['two'] },
    ];
    const podProgram: [string, ...string[]] = [process.execPath, podFile];
    const results = await runServices({ ...lab, pods: lab.pods.slice(2), services }, { podProgram });
    expect(results.map(({ from, answeredBy, sourceSeen, ok, error }) => [from, answeredBy, sourceSeen, ok, error])).toEqual([
      ['three', 'one', '10.9.3.2', true, null],
      ['three', 'one', '10.9.3.2', false, 'answered by one, which does not serve it'],
      ['router', 'one', '10.9.1.1', true, null],
      ['router', 'one', '10.9.1.1', false, 'answered by one, which does not serve it'],
    ]);
  }, 30_000);

  it('resolves names from a zone file, also a changed one', async () => {
    const client = await open('one');
    expect(await client.call('resolve', { name: 'web.shop.svc.cluster.local', server: '10.9.3.2' })).toEqual({ addresses: ['10.9.2.2'] });
    await expect(client.call('resolve', { name: 'new.shop.svc.cluster.local', server: '10.9.3.2' })).rejects.toThrow('ENOTFOUND');
    await writeFile(join(folder, 'zone.json'), '{"new.shop.svc.cluster.local": "10.9.2.9"}');
    expect(await client.call('resolve', { name: 'new.shop.svc.cluster.local', server: '10.9.3.2' })).toEqual({ addresses: ['10.9.2.9'] });
    client.close();
  }, 30_000);

  it('measures an outage under a pinger and a stream', async () => {
    const client = await open('two');
    const target = { ip: '10.9.1.2', seconds: 60 };
    await client.call('start', { ...target, job: 'ping', run: 'pinger', perSecond: 50 });
    await client.call('start', { ...target, job: 'stream', run: 'stream', bytesPerSecond: 100_000 });
    await expect(client.call('start', { ...target, job: 'ping', run: 'pinger' })).rejects.toThrow('"ping" is in use');
    const received = async (job: string, counter: string): Promise<number> =>
      Number(new Map(Object.entries(await client.call('report', { job }))).get(counter) ?? 0);
    await expect.poll(() => received('ping', 'received'), { timeout: 30_000 }).toBeGreaterThan(10);
    await expect.poll(() => received('stream', 'receivedBytes'), { timeout: 30_000 }).toBeGreaterThan(10_000);
    await hostExec(['ip', '-n', router, 'link', 'set', 'dev', 'vone', 'down']);
    const before = await received('ping', 'lost');
    await expect.poll(() => received('ping', 'lost'), { timeout: 30_000 }).toBeGreaterThan(before);
    await hostExec(['ip', '-n', router, 'link', 'set', 'dev', 'vone', 'up']);
    const lost = await received('ping', 'received');
    await expect.poll(() => received('ping', 'received'), { timeout: 30_000 }).toBeGreaterThan(lost + 5);
    const echoed = await received('stream', 'receivedBytes');
    await expect.poll(() => received('stream', 'receivedBytes'), { timeout: 30_000 }).toBeGreaterThan(echoed);
    const pings = await client.call('stop', { job: 'ping' });
    const stream = await client.call('stop', { job: 'stream' });
    client.close();
    expect(pings).toMatchObject({ duplicates: 0 });
    if (!('outages' in pings) || !('intact' in stream)) throw new Error('wrong kind of report');
    expect(pings.outages.length).toBeGreaterThan(0);
    expect(pings.longestGapMs).toBeGreaterThanOrEqual(Math.max(...pings.outages.map(({ durationMs }) => durationMs)) - 100);
    expect(stream).toMatchObject({ connected: true, intact: true });
    expect(stream.error).toBeUndefined();
    expect(stream.sentBytes).toBe(stream.receivedBytes);
    expect(stream.longestStallMs).toBeGreaterThan(100);
  }, 90_000);

  it('ends on SIGTERM and takes its socket away', async () => {
    const child = children[2]!;
    const ended = new Promise((resolve) => child.on('exit', resolve));
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
    await expect(connectPod(socketOf('three'))).rejects.toThrow('ENOENT');
  }, 30_000);
});
