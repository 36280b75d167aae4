import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { espMtuOf, eventually, Lab, must, raven, run, tunLimit } from './harness.ts';
import { JUMBO, MIDDLE } from './topologies.ts';

/** MTUs that no end can see: in the middle of the path, where routers are silent (R10). */

const TEN_MIB = '10485760';
let folder: string;
let lab: Lab;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'raven-path-mtu-'));
});
afterEach(() => lab?.down());
afterAll(() => rm(folder, { recursive: true, force: true }));

async function up(topology: string): Promise<void> {
  const file = join(folder, 'topology.yaml');
  await writeFile(file, topology);
  lab = await Lab.up(file);
}

/** What the links say, as `b1-c1 1218`. */
async function mtus(): Promise<string[]> {
  const { store } = await lab.list();
  const { stdout } = await raven('status', '--store', `dir:${store}`, '-o', 'json');
  const { tunnels } = JSON.parse(stdout) as { tunnels: { from: string; peer: string; mtu?: number }[] };
  return tunnels.map(({ from, peer, mtu }) => `${from}-${peer} ${mtu}`);
}

/** Both ways at once. */
async function transfer(pairs: readonly (readonly [string, string])[]): Promise<void> {
  for (const [from, to] of pairs) await lab.expectMatrix('--from', `pod-${from}`, '--to', `pod-${to}`, '--bytes', TEN_MIB);
}

/** Of the cable between a router and the internet, both ends. */
async function setMtu(region: string, mtu: number): Promise<void> {
  await must(['ip', '-n', `raven-${lab.name}-router-${region}`, 'link', 'set', 'dev', 'wan', 'mtu', String(mtu)]);
  await must(['ip', '-n', `raven-${lab.name}-internet`, 'link', 'set', 'dev', region, 'mtu', String(mtu)]);
}

async function ping(from: string, to: string, bytes: number): Promise<{ code: number; text: string }> {
  const target = (await lab.podOn(to)).ips[0]!.split('/')[0]!;
  const { netns } = await lab.podOn(from);
  const argv = ['ping', '-n', '-c', '1', '-W', '3', '-M', 'do', '-s', String(bytes - 28), target];
  const { code, stdout, stderr } = await run(['ip', 'netns', 'exec', netns, ...argv]);
  return { code, text: stdout + stderr };
}

describe('an MTU in the middle of the path', () => {
  it('is found by each gateway, holds for relayed paths too, and is followed down and up (R10)', async () => {
    await up(MIDDLE);
    const cap = await tunLimit(lab, 'a1');
    const [low, lower] = [espMtuOf(1400), espMtuOf(1280)];
    const found = [`a1-b1 ${low}`, `a1-c1 ${lower}`, `b1-a1 ${low}`, `b1-c1 ${lower}`, `c1-a1 ${lower}`, `c1-b1 ${lower}`];
    await eventually('all links say what passes', async () => (await mtus()).join() === found.join());
    await transfer([
      ['b2', 'a2'],
      ['b2', 'c2'],
      ['a2', 'c2'],
    ]);
    // The first one too large teaches its sender the limit, by our own gateway: the routers say nothing.
    await ping('b2', 'c2', 1400);
    expect((await ping('b2', 'c2', lower)).code).toBe(0);
    expect((await ping('b2', 'c2', lower + 1)).text).toMatch(/Frag needed|message too long/);
    for (const name of ['a1', 'b1', 'c1']) await lab.settled(await lab.node(name));

    for (const region of ['a', 'b']) await setMtu(region, 1500);
    for (const name of ['a1', 'b1']) {
      const agent = (await lab.node(name)).processes.find(({ program }) => program === 'agent')!;
      process.kill(agent.pid, 'SIGHUP');
    }
    const most = Math.min(cap, espMtuOf(1500));
    const raised = found.map((link) => link.replace(`a1-b1 ${low}`, `a1-b1 ${most}`).replace(`b1-a1 ${low}`, `b1-a1 ${most}`));
    await eventually('more is found', async () => (await mtus()).join() === raised.join());
    await transfer([['b2', 'a2']]);

    // Nobody tells: the gateways notice that what they send does not arrive.
    await setMtu('b', 1300);
    const sunk = espMtuOf(1300);
    const less = [`a1-b1 ${sunk}`, `b1-a1 ${sunk}`];
    await eventually('less is found', async () => (await mtus()).filter((link) => less.includes(link)).length === 2);
    await transfer([['b2', 'a2']]);
  });

  it('may be that of jumbo frames: tunnels keep their limit, and regions without one use all of it', async () => {
    await up(JUMBO);
    const most = Math.min(await tunLimit(lab, 'a1'), espMtuOf(9000));
    await eventually('all links say what passes', async () => {
      const seen = await mtus();
      return ['a1-d1 8950', 'd1-a1 8950', `a1-b1 ${most}`, `b1-a1 ${most}`].every((link) => seen.includes(link));
    });
    await transfer([
      ['a2', 'd2'],
      ['b1', 'a2'],
      ['d2', 'b1'],
    ]);
    expect((await ping('a2', 'd2', 8950)).code).toBe(0);
    expect((await ping('a2', 'd2', 8951)).code).not.toBe(0);
  });
});
