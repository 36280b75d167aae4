import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { CommandError, hostExec, netnsExec } from '../drivers/exec/exec.ts';
import { downLab } from './down.ts';
import { listNetns, netnsInode } from './netns.ts';
import { labPaths } from './paths.ts';
import { planLab } from './plan/lab-plan.ts';
import { netnsName } from './plan/names.ts';
import { kill, programsToStart, start } from './power.ts';
import { findProcess, processesInNetns } from './processes.ts';
import { listProcesses } from './programs.ts';
import { createProgress } from './progress.ts';
import { claimLabFolder, findLabs, type LabState, namespacesOf, readLabState, writeLabState } from './state.ts';
import { parseTopology } from './topology/parse.ts';
import { upLab } from './up.ts';

/** Two regions, of which one is behind a NAT; masquerade in both back ends, a service, and a smaller MTU. */
const TOPOLOGY = `
name: t
masquerade: [legacy, nft]
rpFilter: strict
regions:
  - name: pub
    lan: 203.0.113.0/24
    nodes: [{ name: p1, ip: 203.0.113.1, gateway: true }]
  - name: edge
    lan: 192.168.1.0/24
    mtu: 1400
    router: { nat: symmetric, publicIp: 198.51.100.2, forwards: [{ publicPort: 4500, node: e1, port: 4501 }] }
    nodes: [{ name: e1, gateway: true }, { name: e2 }]
services: [{ name: s, clusterIP: 10.96.0.9, port: 80, pods: [pod-e2] }]
dns: { pod: pod-e1, clusterIP: 10.96.0.10 }
`;

describe.runIf(process.getuid?.() === 0)('a lab of real namespaces', { timeout: 60_000 }, () => {
  const topology = parseTopology(TOPOLOGY, 't.yaml');
  const name = `t${process.pid}`;
  const dir = mkdtempSync(join(tmpdir(), 'raven-lab-test-'));
  const root = join(dir, 'labs');
  const programs = { node: process.execPath, dir: join(dir, 'dist'), extension: '.js' };
  const tools = { programs, root };
  const written: string[] = [];
  const up = (overrides: Partial<Parameters<typeof upLab>[0]> = {}) =>
    upLab({
      ...tools,
      name,
      topology,
      topologyFile: 't.yaml',
      raven: true,
      replace: false,
      // The programs here are stand-ins without heartbeats.
      nodesReadyTimeoutMs: 0,
      progress: createProgress({ write: (text) => written.push(String(text)) > 0 }),
      signal: new AbortController().signal,
      ...overrides,
    });
  const inside = (member: string) => netnsExec(netnsName(name, member));
  const ping = async (from: string, to: string, ...options: string[]) => {
    try {
      await inside(from)(['ping', '-n', '-q', '-c', '1', '-W', '1', ...options, to]);
      return true;
    } catch (error) {
      if (error instanceof CommandError) return false;
      throw error;
    }
  };
  /** A busy machine may take its time for the first packet. */
  const reaches = async (from: string, to: string, ...options: string[]) => {
    const deadline = Date.now() + 30_000;
    while (Date.now() < deadline) if (await ping(from, to, ...options)) return true;
    return false;
  };
  const ours = async () => (await listNetns()).filter((netns) => netns.startsWith(`raven-${name}-`));

  beforeAll(() => {
    mkdirSync(programs.dir);
    for (const program of ['raven', 'kubelet', 'lab-supervisor', 'pod']) {
      writeFileSync(
        join(programs.dir, `${program}.js`),
        'console.log(process.argv.slice(2).join(" ")); setInterval(() => undefined, 1e6);',
      );
    }
  });
  afterEach(() => downLab(name, { root }));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it('connects nodes and pods of a region, keeps regions apart, and leaves nothing behind', async () => {
    const lab = await up();
    expect(await ours()).toEqual(namespacesOf(lab).toSorted());

    // Inside a region, pods see each other's own address.
    expect(await reaches('pod-e1', '10.244.3.2')).toBe(true);
    expect(await reaches('e1', '192.168.1.11')).toBe(true);
    // Nodes reach public addresses through the NAT, nothing reaches them from there.
    expect(await reaches('e1', '203.0.113.1')).toBe(true);
    expect(await ping('p1', '192.168.1.10')).toBe(false);
    // Pods reach the internet masqueraded, but not pods of other regions.
    expect(await reaches('pod-e1', '203.0.113.1')).toBe(true);
    expect(await ping('pod-e1', '10.244.1.2')).toBe(false);
    expect(await inside('e1')(['ip', 'route', 'get', '10.244.1.2'])).toContain('via 192.168.1.254 dev eth0');
    // MTU as asked for, on both ends.
    expect(await reaches('e1', '192.168.1.11', '-M', 'do', '-s', '1372')).toBe(true);
    expect(await ping('e1', '192.168.1.11', '-M', 'do', '-s', '1373')).toBe(false);

    const rpFilter = (
      await inside('e1')(['sysctl', '-n', 'net.ipv4.conf.all.rp_filter', 'net.ipv4.conf.eth0.rp_filter', 'net.ipv4.conf.cni0.rp_filter'])
    ).split('\n');
    expect(rpFilter.slice(0, 3)).toEqual(['1', '1', '1']);
    for (const backend of ['legacy', 'nft']) {
      expect(await inside('e1')([`iptables-${backend}`, '-t', 'nat', '-S'])).toContain(
        '-s 10.244.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE --random-fully',
      );
    }
    expect(await inside('p1')(['iptables-nft', '-t', 'nat', '-S'])).toContain('--to-destination 10.244.3.2:80');
    expect(await inside('pod-p1')(['cat', '/etc/resolv.conf'])).toContain('nameserver 10.96.0.10');
    // IPv6 is off.
    expect(await inside('e1')(['ip', '-6', 'addr'])).toBe('');

    // The pid in the file is the program's own, in its own namespace.
    const agent = listProcesses(lab, programs, root).find(({ id }) => id === 'e1/agent')!;
    const running = (await findProcess(agent))!;
    expect(readFileSync(`/proc/${running.pid}/cmdline`, 'utf8')).toContain('\0--node\0e1\0');
    expect((await processesInNetns([netnsName(name, 'e1')])).map(({ pid }) => pid)).toContain(running.pid);

    const removed = await downLab(name, { root });
    expect(removed).toEqual({ processes: 2 + 3 * 2 + 3, namespaces: 9 });
    expect(await ours()).toEqual([]);
    expect(existsSync(labPaths(name, root).dir)).toBe(false);
    expect(existsSync(`/etc/netns/${netnsName(name, 'pod-p1')}`)).toBe(false);
    expect((await findProcess(agent))?.alive).toBeFalsy();
    expect(await downLab(name, { root })).toEqual({ processes: 0, namespaces: 0 });
  });

  it('cuts the power of a node and gives it back', async () => {
    const lab = await up();
    expect(await kill(lab, 'e2', tools)).toBe('node e2 is down: 3 processes killed, 2 namespaces deleted');
    expect(await ping('e1', '192.168.1.11')).toBe(false);
    await expect(kill(lab, 'e2', tools)).rejects.toThrow('node e2 is down already');
    await expect(start(lab, 'e2/agent', tools)).rejects.toThrow('node e2 is down');
    expect(await start(lab, 'e2', tools)).toBe('node e2 is up: 2 namespaces built, 3 programs started');
    expect(await reaches('pod-e1', '10.244.3.2')).toBe(true);

    expect(await kill(lab, 'e1/agent', tools)).toMatch(/^e1\/agent is killed \(pid \d+\)$/);
    await expect(kill(lab, 'e1/agent', tools)).rejects.toThrow('e1/agent is not running');
    expect(await start(lab, 'e1/agent', tools)).toMatch(/^e1\/agent is started/);
    await expect(start(lab, 'e1/agent', tools)).rejects.toThrow('running already');
    await expect(start(lab, 'e1/charon', tools)).rejects.toThrow('started by the agent');
    await expect(kill(lab, 'e9', tools)).rejects.toThrow('has no e9');
  });

  it('refuses a name that is taken, and says how to clean up', async () => {
    await up({ raven: false });
    expect(programsToStart((await readLabState(name, root))!, tools).map(({ program }) => program)).not.toContain('agent');
    await expect(up()).rejects.toThrow(`lab ${name} is up already; take it down with: raven lab down --name ${name}`);
    const before = await netnsInode(netnsName(name, 'e1'));
    await up({ replace: true });
    expect(await netnsInode(netnsName(name, 'e1'))).not.toBe(before);
  });

  it('cleans up after a crash with half a network and without state', async () => {
    const plans = planLab(topology, name);
    await claimLabFolder(name, root);
    for (const { netns } of plans.slice(0, 4)) await hostExec(['ip', 'netns', 'add', netns]);
    await expect(up()).rejects.toThrow('was left over from a crash (4 namespaces)');
    expect((await findLabs(root)).find((lab) => lab.name === name)).toMatchObject({
      netns: plans
        .slice(0, 4)
        .map(({ netns }) => netns)
        .toSorted(),
    });
    rmSync(root, { recursive: true });
    expect(await downLab(name, { root })).toMatchObject({ namespaces: 4 });
    expect(await ours()).toEqual([]);
  });

  it('ends programs whose namespaces and state are gone', async () => {
    const lab = await up();
    const agent = (await findProcess(listProcesses(lab, programs, root).find(({ id }) => id === 'e1/agent')!))!;
    rmSync(labPaths(name, root).state);
    for (const netns of await ours()) execFileSync('ip', ['netns', 'del', netns]);
    expect((await downLab(name, { root })).processes).toBe(2 + 3 * 2 + 3);
    expect(existsSync(`/proc/${agent.pid}/ns`) && readFileSync(`/proc/${agent.pid}/cmdline`, 'utf8')).toBeFalsy();
  });

  it('takes down what was built when it is interrupted', async () => {
    const stop = new AbortController();
    stop.abort();
    await expect(up({ signal: stop.signal })).rejects.toThrow('interrupted; nothing is left behind');
    expect(await ours()).toEqual([]);
    expect(await findLabs(root)).not.toContainEqual(expect.objectContaining({ name }));
  });

  it('does not touch a lab whose name begins with its own', async () => {
    const other: LabState = {
      version: 1,
      name: `${name}-x`,
      phase: 'up',
      builder: { pid: 1, startTime: '0' },
      createdAt: '',
      topologyFile: '',
      topology,
      raven: false,
    };
    await claimLabFolder(other.name, root);
    await writeLabState(other, root);
    try {
      for (const { netns } of planLab(topology, other.name).slice(0, 2)) await hostExec(['ip', 'netns', 'add', netns]);
      await downLab(name, { root });
      expect((await findLabs(root)).find((lab) => lab.name === other.name)?.netns).toHaveLength(2);
    } finally {
      await downLab(other.name, { root });
    }
  });
});
