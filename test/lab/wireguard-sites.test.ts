import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually, Lab, type LabNode, must, raven, run } from './harness.ts';
import { MTUS, ONE_LAN } from './topologies.ts';

/** Sites as they are, with the WireGuard driver; and the change from one driver to the other. */

const RAVEN = fileURLToPath(new URL('../../bin/raven', import.meta.url));
let lab: Lab;
let folder: string;
let nodes: readonly LabNode[];
let store: string;

const nodeOf = (name: string): LabNode => nodes.find((node) => node.name === name)!;
const netnsOf = (name: string): string => nodeOf(name).netns;
const logOf = (name: string): string => nodeOf(name).processes.find(({ program }) => program === 'agent')!.log;
const flows = async (from: string, to: string): Promise<boolean> => (await lab.matrix('--from', from, '--to', to)).ok;

async function bringUp(topology: string, ...options: string[]): Promise<void> {
  lab = await Lab.up(topology, ...options);
  ({ nodes, store } = await lab.list());
}

async function fileOf(topology: string): Promise<string> {
  const file = join(folder, 'topology.yaml');
  await writeFile(file, topology);
  return file;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'raven-wireguard-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('two regions on one LAN with WireGuard', () => {
  beforeAll(async () => bringUp(await fileOf(ONE_LAN), '--vpn-driver', 'wireguard'));
  afterAll(() => lab?.down());

  const pathTo = async (peer: string): Promise<string> => {
    const { stdout } = await raven('get', 'tunnelendpoint', 'b1', '--store', `dir:${store}`, '-o', 'json');
    const links = (JSON.parse(stdout) as { status?: { links: { peer: string; path: string; state: string }[] } }).status?.links ?? [];
    const link = links.find((each) => each.peer === peer);
    return `${link?.path} ${link?.state}`;
  };

  it('go directly over private addresses, and by the relay while that way is blocked (R7, R8)', async () => {
    await eventually('b1 and c1 talk directly', async () => (await pathTo('c1')) === 'direct Up');
    const { pairs } = await lab.expectMatrix();
    expect(pairs.find(({ from, to }) => from === 'pod-b1' && to === 'pod-c1')?.path).toEqual(['b1', 'c1']);
    const { addresses } = nodeOf('b1');
    await must(
      ['ip', 'netns', 'exec', netnsOf('c1'), 'nft', '-f', '-'],
      `table inet block { chain in { type filter hook input priority -400; ip saddr ${addresses[0]!.split('/')[0]!} udp dport 4500 drop; }; }\n`,
    );
    await eventually('they go by the relay', async () => (await pathTo('c1')) === 'relay Up');
    await eventually('traffic', () => flows('pod-b1', 'pod-c1'));
    await must(['ip', 'netns', 'exec', netnsOf('c1'), 'nft', 'delete', 'table', 'inet', 'block']);
    await eventually('they talk directly again', async () => (await pathTo('c1')) === 'direct Up');
    await eventually('traffic', () => flows('pod-b1', 'pod-c1'));
  });
});

describe('small and silent underlays with WireGuard', () => {
  beforeAll(async () => bringUp(await fileOf(MTUS), '--vpn-driver', 'wireguard'));
  afterAll(() => lab?.down());

  /** 20 + 8 + 32 bytes around; wireguard-go fills packets in steps of 16 where the device's MTU is larger than the way's. */
  const limitOf = (underlay: number, isExact: boolean): number => (isExact ? underlay - 60 : (underlay - 60) & ~15);

  it('carry whole streams, and our own nodes say "too big", also on relayed ways (R10)', async () => {
    const { stdout } = await raven('status', '--store', `dir:${store}`, '-o', 'json');
    const isKernel = (JSON.parse(stdout) as { gateways: { dataPath?: string }[] }).gateways.every(({ dataPath }) => dataPath === 'kernel');
    for (const [from, to, underlay, own] of [
      ['b2', 'a2', 1400, 1400],
      ['a2', 'b2', 1400, 1500],
      ['c2', 'a2', 1300, 1300],
      ['b2', 'c2', 1300, 1400],
    ] as const) {
      await lab.expectMatrix('--from', `pod-${from}`, '--to', `pod-${to}`, '--bytes', '2097152');
      const source = await lab.podOn(from);
      const target = (await lab.podOn(to)).ips[0]!.split('/')[0]!;
      const ping = (size: number) =>
        run([
          'ip',
          'netns',
          'exec',
          source.netns,
          'ping',
          '-n',
          '-c',
          '2',
          '-i',
          '0.2',
          '-W',
          '3',
          '-M',
          'do',
          '-s',
          String(size - 28),
          target,
        ]);
      const limit = limitOf(underlay, isKernel || own === underlay);
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

describe('a running lab that changes its driver', () => {
  /** By node. */
  const running = new Map<string, ChildProcess>();
  beforeAll(() => bringUp('mini'));
  afterEach(() => {
    for (const child of running.values()) child.kill('SIGKILL');
  });
  afterAll(() => lab?.down());

  /** The node's agent again, with another driver. */
  async function replaceAgent(name: string, driver: string): Promise<void> {
    const home = dirname(logOf(name));
    await lab.raven('lab', 'kill', `${name}/agent`);
    running.get(name)?.kill('SIGKILL');
    running.set(
      name,
      spawn(
        'ip',
        [
          'netns',
          'exec',
          netnsOf(name),
          RAVEN,
          'agent',
          '--store',
          `dir:${store}`,
          '--node',
          name,
          '--vpn-driver',
          driver,
          '--psk-file',
          join(home, '../../psk'),
          '--state-dir',
          join(home, 'state'),
          '--run-dir',
          join(home, 'run'),
        ],
        { stdio: 'ignore' },
      ),
    );
  }

  const inNode = async (name: string, ...argv: string[]): Promise<string> =>
    (await run(['ip', 'netns', 'exec', netnsOf(name), ...argv])).stdout;
  const programsIn = async (name: string): Promise<string> => {
    const pids = (await must(['ip', 'netns', 'pids', netnsOf(name)])).trim().split('\n');
    return (await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')))).join('');
  };

  it('names the difference while one side has changed, has nothing of IPsec left when both have, and nothing at all after cleanup (R27, R28)', async () => {
    await replaceAgent('edge1', 'wireguard');
    await eventually('both name it', async () => {
      const { stdout } = await raven('status', '--store', `dir:${store}`);
      return /edge1: VpnDriverDiffers/.test(stdout) && /cloud1: VpnDriverDiffers/.test(stdout);
    });
    await replaceAgent('cloud1', 'wireguard');
    await eventually('all pairs', async () => (await lab.matrix()).ok);
    for (const name of ['edge1', 'cloud1']) {
      await eventually('charon is gone', async () => !(await programsIn(name)).includes('charon'));
      expect(await inNode(name, 'ip', '-o', 'link')).not.toMatch(/rvn-|ipsec0/);
      expect(await inNode(name, 'ip', 'xfrm', 'state')).toBe('');
      expect(await inNode(name, 'ip', 'xfrm', 'policy')).toBe('');
      expect(await inNode(name, 'ip', 'route', 'show', 'table', 'all')).not.toMatch(/9029|rvn-/);
      await lab.settled(nodeOf(name));
    }
    await replaceAgent('cloud1', 'ipsec');
    await eventually('WireGuard is gone where IPsec is back', async () => (await programsIn('cloud1')).includes('charon'));
    expect(await programsIn('cloud1')).not.toContain('wireguard-go');
    expect(await inNode('cloud1', 'ip', '-o', 'link')).not.toContain('raven-wg0');
    running.get('edge1')?.kill('SIGKILL');
    const home = dirname(logOf('edge1'));
    const dirs = ['--state-dir', join(home, 'state'), '--run-dir', join(home, 'run')];
    await must(['ip', 'netns', 'exec', netnsOf('edge1'), RAVEN, 'agent', '--cleanup', '--node', 'edge1', ...dirs]);
    expect(await programsIn('edge1')).not.toMatch(/wireguard-go|charon/);
    expect(await inNode('edge1', 'ip', '-o', 'link')).not.toMatch(/raven-wg0|raven0|rvn-/);
    expect((await run(['ls', join(home, 'state')])).stdout).not.toContain('wireguard.key');
  });
});
