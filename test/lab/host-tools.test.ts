import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, open, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually, Lab, type LabList, must, raven, run } from './harness.ts';
import { conditionOf, findingsIn, stored } from './hosts.ts';

/** Hosts that have few tools, and kernels that lack features (R31, R32). The agents are the test's own, each with a PATH of its own. */

const PROGRAM = fileURLToPath(new URL('../../dist/raven.js', import.meta.url));
const SECRET = 'Kp3vX9qLmT7wZr2sBn8dYc5hGf4jUe6a';
const TOOLS = ['ip', 'bridge', 'nft', 'unshare'];
const IPTABLES = [
  'iptables',
  'iptables-nft',
  'iptables-legacy',
  'ip6tables',
  'ip6tables-nft',
  'ip6tables-legacy',
  'xtables-nft-multi',
].flatMap((name) => [name, `${name}-save`, `${name}-restore`]);
let lab: Lab;
let list: LabList;
let folder: string;
const running: ChildProcess[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'raven-tools-'));
  await writeFile(join(folder, 'psk'), SECRET, { mode: 0o600 });
  const topology = join(folder, 'topology.yaml');
  // Both back ends hold rules of a CNI.
  await writeFile(
    topology,
    (await readFile(new URL('../../topologies/mini.yaml', import.meta.url), 'utf8')).concat('masquerade: [legacy, nft]\n'),
  );
  lab = await Lab.up(topology, '--no-raven');
  list = await lab.list();
  expect((await raven('controller', '--store', `dir:${list.store}`, '--once')).code).toBe(0);
});
afterEach(async () => {
  for (const child of running.splice(0)) await end(child);
  for (const { name, netns } of list?.nodes ?? []) await cleanup(name, netns);
});
afterAll(async () => {
  await lab?.down();
  await rm(folder, { recursive: true, force: true });
});

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
}

/** A folder for PATH that holds these programs only. */
async function pathOf(name: string, programs: readonly string[]): Promise<string> {
  const path = join(folder, name);
  await mkdir(path);
  for (const program of programs) await symlink((await must(['sh', '-c', `command -v ${program}`])).trim(), join(path, program));
  return path;
}

/** Every iptables program in `path`, noting how it is called. @returns the file of notes */
async function watchIptables(path: string): Promise<string> {
  const notes = join(path, 'notes');
  for (const name of IPTABLES) {
    const { stdout } = await run(['sh', '-c', `command -v ${name}`]);
    if (stdout === '') continue;
    await writeFile(join(path, name), `#!/bin/sh\necho "${name} $*" >>${notes}\nexec ${stdout.trim()} "$@"\n`);
    await chmod(join(path, name), 0o755);
  }
  return notes;
}

/** Starts an agent on each node. @param wrap stands before the program */
async function startAgents(path: string, wrap: readonly string[] = []): Promise<void> {
  for (const { name, netns } of list.nodes) {
    const log = await open(logOf(name), 'w');
    const child = spawn(
      'ip',
      [
        'netns',
        'exec',
        netns,
        ...wrap,
        '/usr/bin/env',
        `PATH=${path}`,
        process.execPath,
        PROGRAM,
        'agent',
        ...optionsOf(name),
        '--psk-file',
        join(folder, 'psk'),
      ],
      { stdio: ['ignore', log.fd, log.fd] },
    );
    running.push(child);
    await log.close();
  }
}

const optionsOf = (node: string): string[] => [
  '--store',
  `dir:${list.store}`,
  '--node',
  node,
  '--state-dir',
  join(folder, node, 'state'),
  '--run-dir',
  join(folder, node, 'run'),
];
const logOf = (node: string): string => join(folder, `${node}.log`);

function cleanup(node: string, netns: string): Promise<string> {
  return must(['ip', 'netns', 'exec', netns, process.execPath, PROGRAM, 'agent', '--cleanup', ...optionsOf(node)]);
}

async function readiness(netns: string): Promise<string> {
  const script = `fetch('http://127.0.0.1:10275/readyz').then(async r=>process.stdout.write(r.status+' '+await r.text()))`;
  return must(['ip', 'netns', 'exec', netns, 'node', '-e', script]);
}

async function iptablesState(): Promise<string> {
  const texts = await Promise.all(
    list.nodes.flatMap(({ netns }) =>
      ['iptables-legacy-save', 'iptables-nft-save', 'ip6tables-legacy-save', 'ip6tables-nft-save'].map(
        async (tool) => (await run(['ip', 'netns', 'exec', netns, tool])).stdout,
      ),
    ),
  );
  return texts.join('').replaceAll(/^#.*\n|\[\d+:\d+\]/gm, '');
}

describe('a host with few tools (R31)', () => {
  it('needs no iptables at all', async () => {
    await startAgents(await pathOf('bare', TOOLS));
    await eventually('all pairs', async () => (await lab.matrix()).ok);
    for (const { netns } of list.nodes) expect(await findingsIn(netns)).toEqual([]);
  });

  it('has iptables of both back ends: they are only read, and cleaning up leaves them as they are', async () => {
    const before = await iptablesState();
    const path = await pathOf('watched', TOOLS);
    const notes = await watchIptables(path);
    // A rule in each table filter, so that there is something to read.
    for (const { netns } of list.nodes)
      for (const tool of ['iptables-legacy', 'iptables-nft'])
        await must(['ip', 'netns', 'exec', netns, tool, '-w', '-A', 'FORWARD', '-i', 'none0', '-j', 'DROP']);
    try {
      await startAgents(path);
      await eventually('all pairs', async () => (await lab.matrix()).ok);
      const calls = async (): Promise<string[]> => [...new Set((await readFile(notes, 'utf8')).trim().split('\n'))].toSorted();
      await eventually('both are read', async () => (await calls()).length > 1);
      expect(await calls()).toEqual(['iptables-legacy-save -t filter', 'iptables-nft-save -t filter']);
    } finally {
      for (const { netns } of list.nodes)
        for (const tool of ['iptables-legacy', 'iptables-nft'])
          await run(['ip', 'netns', 'exec', netns, tool, '-w', '-D', 'FORWARD', '-i', 'none0', '-j', 'DROP']);
    }
    expect((await iptablesState()).replaceAll(FILTER_OF_THE_TEST, '')).toBe(before.replaceAll(FILTER_OF_THE_TEST, ''));
  });

  it('says what is missing in log, metric, condition and readiness, sets nothing up, and goes on by itself when it is there', async () => {
    const path = await pathOf('lacking', ['ip', 'unshare']);
    await startAgents(path);
    const lacks = 'this machine lacks program bridge (package iproute2); program nft (package nftables)';
    for (const { name, netns } of list.nodes) {
      await eventually(`${name} tells it`, async () => (await findingsIn(netns)).join() === 'HostUnfit');
      expect(await readFile(logOf(name), 'utf8')).toContain(lacks);
      expect(await readiness(netns)).toContain(`503 the first plan is not applied yet: ${lacks}`);
      await eventually(
        'the condition',
        async () => (await conditionOf(list.store, 'tunnelendpoint', name, 'Ready'))?.reason === 'HostUnfit',
      );
      expect((await conditionOf(list.store, 'tunnelendpoint', name, 'PlanComplete'))!.message).toContain(lacks);
      expect(await must(['ip', 'netns', 'exec', netns, 'sh', '-c', 'ip link; ip rule; nft list tables'])).not.toMatch(
        /raven0|rvn-|902[78]|inet raven/,
      );
    }
    expect(await raven('status', '--store', `dir:${list.store}`)).toMatchObject({ code: 1, stdout: expect.stringContaining(lacks) });
    for (const tool of ['bridge', 'nft']) await symlink((await must(['sh', '-c', `command -v ${tool}`])).trim(), join(path, tool));
    await eventually('all pairs', async () => (await lab.matrix()).ok);
    for (const { netns } of list.nodes) expect(await readiness(netns)).toContain('200 ok');
  });
});

/** Tables that the test's own rule brought about. */
const FILTER_OF_THE_TEST = /^\*filter\n(:.*\n)*COMMIT\n/gm;

describe('a trimmed kernel (R32)', () => {
  it('without ESP or XFRM interfaces: the user-space data path, and status says so and why', async () => {
    await startAgents(await pathOf('trimmed', TOOLS));
    await eventually('all pairs', async () => (await lab.matrix()).ok);
    const { gateways } = JSON.parse((await raven('status', '--store', `dir:${list.store}`, '-o', 'json')).stdout) as {
      gateways: { dataPath: string }[];
    };
    for (const { name } of list.nodes) {
      const condition = (await conditionOf(list.store, 'tunnelendpoint', name, 'KernelDataPath'))!;
      const { spec } = await stored(list.store, 'tunnelendpoint', name);
      // On a kernel that has both, the other half of the same promise.
      if (spec!['dataPath'] === 'user')
        expect(condition).toMatchObject({ status: 'False', message: expect.stringMatching(/^the kernel lacks (XFRM interfaces|ESP)/) });
      else expect(condition).toMatchObject({ status: 'True', message: expect.stringMatching(/^the kernel has XFRM interfaces and ESP/) });
      expect(gateways.every(({ dataPath }) => dataPath === spec!['dataPath'])).toBe(true);
    }
  });

  it('without TUN devices either: a gateway says so and sets nothing up', async ({ skip }) => {
    const { code } = await run(['unshare', '--net', 'ip', 'link', 'add', 'x0', 'type', 'xfrm', 'dev', 'lo', 'if_id', '1']);
    skip(code === 0, 'this kernel has XFRM interfaces, and needs no TUN device');
    await startAgents(await pathOf('no-tun', TOOLS), ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none /dev/net && exec "$@"', 'sh']);
    for (const { name, netns } of list.nodes) {
      await eventually(
        'the condition',
        async () => (await conditionOf(list.store, 'tunnelendpoint', name, 'Ready'))?.reason === 'HostUnfit',
      );
      const { message } = (await conditionOf(list.store, 'tunnelendpoint', name, 'PlanComplete'))!;
      expect(message).toMatch(
        /^this machine lacks TUN devices \(\/dev\/net\/tun\) \(.*\), which tunnels need as the kernel lacks XFRM interfaces/,
      );
      expect(await readiness(netns)).toContain(`503 the first plan is not applied yet: ${message}`);
      expect(await must(['ip', 'netns', 'exec', netns, 'sh', '-c', 'ip link; ip rule; nft list tables'])).not.toMatch(
        /raven0|rvn-|902[78]|inet raven/,
      );
    }
  });
});
