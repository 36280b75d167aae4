import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { espMtuOf, eventually, Lab, type LabList, type LabNode, type Matrix, must, raven, run, tunLimit } from './harness.ts';
import { MIXED } from './topologies.ts';

/** IPv6 (R15): both families over a network with IPv4 alone, beside a region without IPv6; and a lab with IPv6 alone. */

const RAVEN = fileURLToPath(new URL('../../bin/raven', import.meta.url));
/** Around what the tunnel carries: IPv6 40, ICMPv6 echo 8 (RFC 8200 §3, RFC 4443 §4.1). */
const ECHO_HEADER_BYTES = 48;

const familiesOf = (matrix: Matrix): ReadonlySet<number> => new Set(matrix.pairs.map(({ family }) => family));
const pathOf = (matrix: Matrix, from: string, to: string, family: number): readonly string[] | undefined =>
  matrix.pairs.find((pair) => pair.from === from && pair.to === to && pair.family === family)?.path;

async function expectTooBigFrom(lab: Lab, limit: number): Promise<void> {
  const source = await lab.podOn('b2');
  const target = (await lab.podOn('a2')).ips.find((ip) => ip.includes(':'))!;
  const ping = (bytes: number) =>
    run([
      'ip',
      'netns',
      'exec',
      source.netns,
      'ping',
      '-n',
      '-6',
      '-c',
      '2',
      '-W',
      '3',
      '-M',
      'do',
      '-s',
      String(bytes - ECHO_HEADER_BYTES),
      target,
    ]);
  expect((await ping(limit)).code, `${limit} bytes pass`).toBe(0);
  const over = await ping(limit + 1);
  expect(over.code, `${limit + 1} bytes do not`).not.toBe(0);
  // Of the own region's gateway, or of the node itself.
  expect(over.stdout + over.stderr).toMatch(new RegExp(`^From fd00:10:244:[34]::1 icmp_seq=1 Packet too big: mtu=${limit}$`, 'm'));
}

describe('both families over a network with IPv4 alone', () => {
  let lab: Lab;
  let list: LabList;
  beforeAll(async () => {
    lab = await Lab.up('dual');
    list = await lab.list();
  });
  afterAll(() => lab?.down());
  const node = (name: string): LabNode => list.nodes.find((each) => each.name === name)!;
  const messageOf = async (name: string): Promise<string> => {
    const { stdout } = await raven('get', 'tunnelendpoint', name, '--store', `dir:${list.store}`, '-o', 'json');
    const { status } = JSON.parse(stdout) as { status?: { conditions: { type: string; reason: string; message: string }[] } };
    const { reason, message } = status!.conditions.find(({ type }) => type === 'PlanComplete')!;
    return `${reason}: ${message}`;
  };
  const v6Of = async (name: string): Promise<string> => (await lab.podOn(name)).ips.find((ip) => ip.includes(':'))!;

  it('carries ICMP, TCP and UDP between all pods with their own source, and Services, in both families', async () => {
    const matrix = await lab.expectMatrix('--services');
    expect(familiesOf(matrix)).toEqual(new Set([4, 6]));
    for (const family of [4, 6]) expect(pathOf(matrix, 'pod-b2', 'pod-c1', family)).toEqual(['b2', 'b1', 'a1', 'c1']);
    const services = matrix.services ?? [];
    expect(services.filter(({ ok }) => !ok)).toEqual([]);
    expect(services.filter(({ via, address }) => via === 'nodePort' && address.startsWith('[')).length).toBeGreaterThan(0);
  });

  it('names the region that has no IPv6, on both sides, and carries IPv4 to it', async () => {
    expect(await messageOf('b1')).toBe(
      'FamilyNotCarried: IPv6 is not carried between regions b and d: b has IPv6 pod CIDRs and d has none',
    );
    expect(await messageOf('d1')).toContain('IPv6 is not carried between regions d and b: b has IPv6 pod CIDRs and d has none');
    const { pairs } = await lab.expectMatrix('--from', 'd', '--bytes', '1000');
    expect(new Set(pairs.map(({ family }) => family))).toEqual(new Set([4]));
    expect(await lab.in(node('d1').netns, 'ip', '-6', 'rule')).not.toContain('9027');
  });

  it('says "too big" itself at the exact limit, in IPv6 as well (R10)', async () =>
    expectTooBigFrom(lab, Math.min(espMtuOf(1500), await tunLimit(lab, 'a1'))));

  it("never takes an address of the user-space VPN's stand-in as a source, nor keeps packets for it", async () => {
    for (const name of ['a1', 'b1']) {
      const other = await v6Of(name === 'a1' ? 'a2' : 'b2');
      const route = await lab.in(node(name).netns, 'ip', '-6', 'route', 'get', other);
      expect(route).toContain(`src ${(await v6Of(name)).replace(/::2$/, '::1')}`);
      expect(await lab.in(node(name).netns, 'ip', '-6', 'route', 'show', 'table', 'local', 'type', 'local')).not.toContain('ipsec0');
    }
  });

  it('writes nothing in 20 resyncs without change (R25)', async () => {
    await Promise.all(['b1', 'b2'].map((name) => lab.settled(node(name))));
    const monitors = ['b1', 'b2'].flatMap((name) =>
      [
        ['ip', 'monitor', 'link', 'address', 'route', 'rule', 'nexthop'],
        ['nft', 'monitor'],
      ].map((argv) => {
        const child = spawn('ip', ['netns', 'exec', node(name).netns, ...argv], { stdio: ['ignore', 'pipe', 'ignore'] });
        const output: string[] = [];
        child.stdout.on('data', (chunk: Buffer) => output.push(`${name}: ${chunk.toString()}`));
        return { child, output };
      }),
    );
    try {
      for (const name of ['b1', 'b2']) {
        const agent = node(name).processes.find(({ program }) => program === 'agent')!;
        const count = async (): Promise<number> => (await readFile(agent.log, 'utf8')).split('"resync"').length;
        for (let i = 0; i < 20; i++) {
          const before = await count();
          process.kill(agent.pid, 'SIGHUP');
          await eventually('a resync', async () => (await count()) > before, undefined, 20);
        }
      }
    } finally {
      for (const { child } of monitors) child.kill('SIGTERM');
    }
    expect(monitors.flatMap(({ output }) => output)).toEqual([]);
  });

  it('repairs whatever is deleted or switched off by hand (R25)', async () => {
    const damage: [string, ...string[]][] = [
      ['ip', '-6', 'route', 'del', (await v6Of('a2')).replace(/::2$/, '::/64'), 'table', '9027'],
      ['ip', '-6', 'route', 'del', (await v6Of('b2')).replace(/::2$/, '::/64'), 'table', '9028'],
      ['ip', '-6', 'rule', 'del', 'pref', '100'],
      ['ip', '-6', 'neigh', 'flush', 'dev', 'raven0', 'nud', 'permanent'],
      ['sysctl', '-qw', 'net.ipv6.conf.raven0.disable_ipv6=1'],
      ['ip', 'link', 'set', 'raven0', 'mtu', '1200'],
      ['nft', 'flush', 'set', 'inet', 'raven', 'remote6'],
    ];
    for (const argv of damage) {
      await must(['ip', 'netns', 'exec', node('b1').netns, ...argv]);
      await lab.settled(node('b1'));
      await eventually(
        `traffic after ${argv.join(' ')}`,
        async () => (await lab.matrix('--from', 'pod-b2', '--to', 'pod-a2', '--bytes', '1000')).ok,
      );
    }
  });

  it('says that the host forwards no IPv6, and leaves that setting to the host', async () => {
    const { netns, processes } = node('b1');
    const forwarding = '/proc/sys/net/ipv6/conf/all/forwarding';
    const look = (): void => void process.kill(processes.find(({ program }) => program === 'agent')!.pid, 'SIGHUP');
    const isSaid = async (): Promise<boolean> => (await messageOf('b1')).includes('net.ipv6.conf.all.forwarding is 0');
    expect(await isSaid()).toBe(false);
    try {
      await lab.in(netns, 'sh', '-c', `echo 0 > ${forwarding}`);
      look();
      await eventually('a condition says so', isSaid);
      await lab.settled(node('b1'));
      expect(await lab.in(netns, 'cat', forwarding)).toBe('0\n');
    } finally {
      await lab.in(netns, 'sh', '-c', `echo 1 > ${forwarding}`);
    }
    look();
    await eventually('it is not said any more', async () => !(await isSaid()));
    await lab.expectMatrix('--from', 'pod-b2', '--to', 'pod-a2', '--bytes', '1000');
  });

  it('leaves nothing of either family after cleanup, also after kill -9', async () => {
    for (const name of ['b1', 'b2']) {
      const { netns } = node(name);
      expect((await lab.raven('lab', 'kill', `${name}/agent`)).code).toBe(0);
      const runDir = join('/run/raven-lab', lab.name, 'nodes', name, 'run');
      await must(['ip', 'netns', 'exec', netns, RAVEN, 'agent', '--cleanup', '--node', name, '--run-dir', runDir]);
      const script =
        'ip rule; ip -6 rule; ip route show table all; ip -6 route show table all; ip nexthop; ip link; ip neigh show nud permanent; nft list tables';
      expect(await lab.in(netns, 'sh', '-c', script)).not.toMatch(/90(27|28|29)|raven0|inet raven|rvn-|ipsec0|169\.254|proto 82/);
      expect(await lab.in(netns, 'cat', '/proc/sys/net/ipv6/conf/all/forwarding')).toBe('1\n');
    }
  });
});

describe('IPv6 alone', () => {
  let lab: Lab;
  let list: LabList;
  beforeAll(async () => {
    lab = await Lab.up('six');
    list = await lab.list();
  });
  afterAll(() => lab?.down());

  it('carries pods and Services over IPv6, through firewalls, and has nothing of IPv4 in its tables', async () => {
    const matrix = await lab.expectMatrix('--services');
    expect(familiesOf(matrix)).toEqual(new Set([6]));
    expect(pathOf(matrix, 'pod-b2', 'pod-c1', 6)).toEqual(['b2', 'b1', 'a1', 'c1']);
    for (const { netns } of list.nodes) {
      expect(await lab.in(netns, 'ip', '-4', 'rule')).not.toContain('9027');
      expect(await lab.in(netns, 'nft', 'list', 'table', 'inet', 'raven')).not.toContain('own4');
      expect(await lab.in(netns, 'ip', '-d', 'link', 'show', 'raven0')).toMatch(/mtu 1430 .* local 2001:db8:/s);
    }
  });

  it('says "too big" itself at the exact limit of the longer headers', async () =>
    expectTooBigFrom(lab, Math.min(espMtuOf(1500 - 20), await tunLimit(lab, 'a1'))));
});

describe('both families over networks of different families', () => {
  let folder: string;
  let lab: Lab;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'raven-mixed-'));
    const file = join(folder, 'mixed.yaml');
    await writeFile(file, MIXED);
    lab = await Lab.up(file);
  });
  afterAll(async () => {
    await lab?.down();
    await rm(folder, { recursive: true, force: true });
  });

  it('calls each peer in a family that it has, and carries both families through either, also IPv4 between nodes without it', async () => {
    const matrix = await lab.expectMatrix();
    expect(familiesOf(matrix)).toEqual(new Set([4, 6]));
    for (const family of [4, 6]) expect(pathOf(matrix, 'pod-c2', 'pod-b1', family)).toEqual(['c2', 'c1', 'a1', 'b1']);
    const { store } = await lab.list();
    const { stdout } = await raven('get', 'tunnelendpoint', 'a1', '--store', `dir:${store}`, '-o', 'json');
    const { status } = JSON.parse(stdout) as { status: { links: { peer: string; observed: string }[] } };
    const seen = new Map(status.links.map(({ peer, observed }) => [peer, observed]));
    expect(seen.get('b1')).toMatch(/^198\.51\.100\.2:/);
    expect(seen.get('c1')).toBe('[2001:db8:c::a]:4500');
  });
});
