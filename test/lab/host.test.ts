import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addForeign, snapshot } from './foreign.ts';
import { eventually, Lab, type LabList, must, raven, run } from './harness.ts';

/** What Raven does to the rest of a host: nothing (R27, R28). The agents here are the test's own, in a lab without Raven. */

const RAVEN = fileURLToPath(new URL('../../bin/raven', import.meta.url));
const SECRET = 'Kp3vX9qLmT7wZr2sBn8dYc5hGf4jUe6a';
let lab: Lab;
let list: LabList;
let folder: string;
const running: ChildProcess[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'raven-host-'));
  await writeFile(join(folder, 'psk'), SECRET, { mode: 0o600 });
  lab = await Lab.up('mini', '--no-raven');
  list = await lab.list();
  for (const { netns } of list.nodes) await addForeign(netns);
});
afterAll(async () => {
  for (const child of running) child.kill('SIGKILL');
  for (const { name, netns } of list?.nodes ?? []) await cleanup(name, netns);
  await lab?.down();
  await rm(folder, { recursive: true, force: true });
});

function startAgent(node: string, netns: string): ChildProcess {
  const child = spawn(
    'ip',
    [
      'netns',
      'exec',
      netns,
      RAVEN,
      'agent',
      '--store',
      `dir:${list.store}`,
      '--node',
      node,
      '--psk-file',
      join(folder, 'psk'),
      '--state-dir',
      join(folder, node, 'state'),
      '--run-dir',
      join(folder, node, 'run'),
    ],
    { stdio: 'ignore' },
  );
  running.push(child);
  return child;
}

function cleanup(node: string, netns: string): Promise<string> {
  return must(['ip', 'netns', 'exec', netns, RAVEN, 'agent', '--cleanup', '--node', node, '--run-dir', join(folder, node, 'run')]);
}

async function kill(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await ended;
}

/** The part of a snapshot that is not Raven's. */
function foreignOf(text: string): string[] {
  return text
    .split('\n')
    .filter(
      (line) => /rave0|rave1|9026|172\.3[01]|ravens|MASQ|KUBE|eth0|cni0/.test(line) && !/raven0|rvn-|9027|9028|vxlan id 200/.test(line),
    );
}

describe('the rest of the host', () => {
  it('stays byte for byte the same through start, kill, stop; cleanup leaves nothing, also after kill -9 and run twice', async () => {
    const before = new Map<string, string>();
    for (const { name, netns } of list.nodes) before.set(name, await snapshot(netns));
    expect((await raven('controller', '--store', `dir:${list.store}`, '--once')).code).toBe(0);
    const agents = list.nodes.map(({ name, netns }) => startAgent(name, netns));
    await eventually('all pairs', async () => (await lab.matrix()).ok);

    for (const { name, netns } of list.nodes) {
      expect(foreignOf(await snapshot(netns))).toEqual(foreignOf(before.get(name)!));
      expect(await snapshot(netns)).not.toBe(before.get(name));
    }

    // A stopped agent leaves its packets flowing; a killed one too.
    await kill(agents[0]!, 'SIGTERM');
    await kill(agents[1]!, 'SIGKILL');
    expect((await lab.matrix()).ok).toBe(true);
    for (const { name, netns } of list.nodes) expect(foreignOf(await snapshot(netns))).toEqual(foreignOf(before.get(name)!));

    for (const { name, netns } of list.nodes) {
      expect(await cleanup(name, netns)).toContain('raven0');
      expect(await snapshot(netns)).toBe(before.get(name));
      expect(await cleanup(name, netns)).toBe('');
      expect(await snapshot(netns)).toBe(before.get(name));
      expect((await run(['ip', 'netns', 'pids', netns])).stdout.trim().split('\n').length).toBeLessThanOrEqual(1);
    }
  });
});

describe('bad input', () => {
  const agent = (...options: string[]) =>
    raven('agent', '--node', 'x', '--store', `dir:${list.store}`, '--run-dir', join(folder, 'x'), ...options);

  it.each([
    ['no secret', []],
    ['a missing file', ['--psk-file', '/nonexistent/psk']],
    ['an unknown VPN driver', ['--psk-file', '/dev/null', '--vpn-driver', 'carrier-pigeon']],
  ])('%s: one message, exit code 2', async (_, options) => {
    const { code, stderr } = await agent(...options);
    expect(code).toBe(2);
    expect(stderr).toMatch(/--psk-file|--vpn-driver/);
    expect(stderr).not.toMatch(/\n\s+at /);
  });

  it.each([
    ['empty', ''],
    ['short', 'hunter2'],
    ['monotonous', 'a'.repeat(40)],
  ])('a secret that is %s is refused', async (_, secret) => {
    const file = join(folder, 'bad-psk');
    await writeFile(file, secret, { mode: 0o600 });
    const { code, stderr } = await agent('--psk-file', file);
    expect(code).toBe(2);
    expect(stderr).toContain('--psk-file');
    if (secret !== '') expect(stderr).not.toContain(secret);
  });

  it('an unknown store, flag or command ends with exit code 2', async () => {
    for (const args of [
      ['get', 'gateways', '--store', 'etcd:x'],
      ['get', 'gateways', '--store', 'dir:/nonexistent'],
      ['status', '--colour'],
      ['lab', 'up', 'mini', '--vpn-driver', 'carrier-pigeon'],
      ['fly'],
    ]) {
      const { code, stderr } = await raven(...args);
      expect([args.join(' '), code]).toEqual([args.join(' '), 2]);
      expect(stderr).not.toMatch(/\n\s+at /);
    }
  });

  it('a broken topology is named with file, line and field path, and nothing is built', async () => {
    const file = join(folder, 'broken.yaml');
    await writeFile(
      file,
      'name: broken\nregions:\n  - name: a\n    lan: 10.0.0.0/24\n    nodes:\n      - name: a1\n        gatway: true\n',
    );
    const { code, stderr } = await raven('lab', 'up', file);
    expect(code).toBe(2);
    expect(stderr).toMatch(/broken\.yaml:\d+: regions\[0\]\.nodes\[0\]/);
    expect((await run(['ip', 'netns', 'list'])).stdout).not.toContain('raven-broken');
  });

  it('a second lab of the same name is refused', async () => {
    const { code, stderr } = await raven('lab', 'up', 'mini', '--name', lab.name);
    expect(code).toBe(2);
    expect(stderr).toContain(`raven lab down --name ${lab.name}`);
    expect((await lab.list()).nodes.length).toBe(2);
  });
});
