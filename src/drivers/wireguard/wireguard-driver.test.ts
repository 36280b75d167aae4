import { readdir, readFile, stat } from 'node:fs/promises';
import { Writable } from 'node:stream';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { WireguardPlan } from '../../domain/node-plan.ts';
import type { WgKey } from '../../net/wg-key.ts';
import { isUp, type PlannedPeer, reaches, tunnelDriverConformance } from '../tunnel/conformance.ts';
import { identifyProcess, poll } from '../tunnel/process.ts';
import { createTestbed, pidsIn, type Testbed, type TestNode } from '../tunnel/testbed.ts';
import { ensureKey } from './key-file.ts';
import { wireguardPlanOf } from './test-plans.ts';
import { createWireguardDriver, type WireguardDriver } from './wireguard-driver.ts';
import { findWireguardGo, observeWireguard, runWg } from './wireguard-go.ts';

const SECRET = 'c0ffee0123456789abcdef9876543210';
/** For drivers without any. */
const NO_SECRET = 'none';
const TIMEOUT_MS = 30_000;
/** The port of `b`, which a NAT hides. */
const B_PORT = 4511;
const DEVICE = 'raven-wg0';

let logged = '';
const log = pino({ level: 'debug' }, new Writable({ write: (chunk: Buffer, _, done) => ((logged += chunk.toString()), done()) }));

/** The device is made by wireguard-go; the link driver, which brings it up, is not part of these tests. */
function open({ netns, exec, dir }: TestNode, psk = SECRET): WireguardDriver {
  const options = {
    exec,
    runDir: dir,
    stateDir: `${dir}/state`,
    psk: psk === NO_SECRET ? undefined : psk,
    log,
    spawnPrefix: ['ip', 'netns', 'exec', netns],
  };
  const driver = createWireguardDriver({ ...options, dataPath: 'user' });
  const bringUp = async (): Promise<void> => {
    if (driver.pid() !== undefined) await exec(['ip', 'link', 'set', DEVICE, 'up']);
  };
  return {
    ...driver,
    start: () => driver.start().then(bringUp),
    set: (plan) => driver.set(plan).then(bringUp),
  };
}

async function pingAnswers({ exec }: TestNode, to: string, count: number, intervalS: number): Promise<number> {
  const output = await exec(['ping', '-q', '-c', String(count), '-i', String(intervalS), '-W', '1', to]).catch(String);
  return Number(/(\d+) received/.exec(output)?.[1] ?? 0);
}

async function isAnswered(node: TestNode, to: string): Promise<void> {
  const answered = await poll(async () => ((await pingAnswers(node, to, 1, 1)) === 1 ? true : undefined), TIMEOUT_MS);
  expect(answered, `ping from ${node.name} to ${to}`).toBe(true);
}

describe.runIf(process.getuid?.() === 0)('wireguard-go', { timeout: 60_000 }, () => {
  let bed: Testbed;
  let drivers: WireguardDriver[] = [];
  const keys = new Map<string, WgKey>();

  beforeAll(async () => {
    bed = await createTestbed(['a', 'b', 'c'], ['b']);
    for (const name of ['a', 'b', 'c']) keys.set(name, (await ensureKey(`${bed.node(name).dir}/state`)).publicKey);
  }, 60_000);
  afterEach(async () => {
    for (const driver of drivers) {
      await driver.cleanup();
      await driver.close();
    }
    drivers = [];
  }, 60_000);
  afterAll(() => bed.close(), 60_000);

  const remoteOf = (name: string, port = 4500) => ({ ip: bed.node(name).outer, port });
  const keyOf = (name: string): WgKey => keys.get(name) ?? (Buffer.alloc(32, name).toString('base64') as WgKey);
  const planOf = (name: string, peers: readonly PlannedPeer[], localPort = 4500): WireguardPlan =>
    wireguardPlanOf(name, peers, keyOf, { localPort });
  const planA = () => planOf('a', [{ peer: 'b', local: '10.1.0.0/24', remote: '10.2.0.0/24 10.12.0.0/24' }]);
  const planB = (port = B_PORT) => planOf('b', [{ peer: 'a', local: '10.2.0.0/24', remote: '10.1.0.0/24', call: remoteOf('a') }], port);

  async function begin(name: string, plan: WireguardPlan, inner: readonly string[], psk?: string): Promise<WireguardDriver> {
    const node = bed.node(name);
    const driver = open(node, psk);
    drivers.push(driver);
    await driver.start();
    await driver.set(plan);
    for (const cidr of inner) await node.exec(['ip', 'route', 'replace', cidr, 'dev', DEVICE, 'src', node.inner]);
    return driver;
  }

  async function beginPair(): Promise<{ a: WireguardDriver; b: WireguardDriver }> {
    const [a, b] = await Promise.all([begin('a', planA(), ['10.2.0.0/24']), begin('b', planB(), ['10.1.0.0/24'])]);
    await Promise.all([reaches(a, 'b', isUp), reaches(b, 'a', isUp)]);
    return { a, b };
  }

  const wg = async (name: string, ...args: string[]): Promise<string> =>
    runWg(bed.node(name).exec, args, await findWireguardGo(bed.node(name).exec));
  const deviceOf = async (name: string) => (await observeWireguard(bed.node(name).exec, 'user'))!;

  describe('as any driver', () => {
    tunnelDriverConformance(async () => ({
      driver: (name, psk) => open(bed.node(name), psk),
      remote: remoteOf('a'),
      plan: (name, peers) => planOf(name, peers),
      secretsDiffer: { a: /none is completed: the pre-shared key/, b: /no answer from .* pre-shared key/ },
      saysGoodbye: false,
      close: async () => {
        for (const name of ['a', 'b']) {
          const driver = open(bed.node(name));
          await driver.cleanup();
          await driver.close();
        }
      },
    }));
  });

  it('carries packets through a NAT with a key of its own, which nobody gets to see, and leaves nothing else behind', async () => {
    const { a } = await beginPair();
    await isAnswered(bed.node('b'), bed.node('a').inner);
    const [seen] = await a.list();
    expect(seen?.remote?.ip).not.toBe(bed.node('b').outer);
    expect(seen?.bytesIn).toBeGreaterThan(0);
    expect(await bed.node('b').exec(['ss', '-Hlun'])).toContain(`:${B_PORT} `);
    const file = `${bed.node('b').dir}/state/wireguard.key`;
    const secret = (await readFile(file, 'utf8')).trim();
    const psk = (await deviceOf('b')).peers[0]!.presharedKey!;
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    for (const hidden of [secret, psk, SECRET]) expect(logged).not.toContain(hidden);
    for (const driver of drivers) await driver.cleanup();
    for (const name of ['a', 'b']) {
      expect(await pidsIn(bed.node(name).netns)).toEqual([]);
      expect(await readdir(bed.node(name).dir)).toEqual(['state', 'wireguard-go.log']);
      expect(await bed.node(name).exec(['ip', 'link'])).not.toContain(DEVICE);
    }
    await begin('b', planB(), []);
    expect((await deviceOf('b')).publicKey).toBe(keyOf('b'));
    expect((await readFile(file, 'utf8')).trim()).toBe(secret);
  });

  it('works without a pre-shared key', async () => {
    await begin('a', planA(), ['10.2.0.0/24'], NO_SECRET);
    const b = await begin('b', planB(), ['10.1.0.0/24'], NO_SECRET);
    await reaches(b, 'a', isUp);
    expect((await deviceOf('b')).peers[0]!.presharedKey).toBeUndefined();
  });

  it('puts back what is changed by hand, one `wg set` each, and leaves alone where it learned that a peer is', async () => {
    const { a, b } = await beginPair();
    const learned = (await deviceOf('a')).peers[0]!.endpoint;
    for (const damage of [
      ['peer', keyOf('a'), 'allowed-ips', '10.9.0.0/24'],
      ['peer', keyOf('a'), 'remove'],
      ['peer', keyOf('a'), 'persistent-keepalive', '7'],
      ['peer', keyOf('a'), 'preshared-key', '/dev/null'],
      ['peer', keyOf('c'), 'allowed-ips', '10.3.0.0/24'],
      ['listen-port', '4999'],
      ['fwmark', '7'],
      ['private-key', `${bed.node('c').dir}/state/wireguard.key`],
    ]) {
      await wg('b', 'set', DEVICE, ...damage);
      const before = b.writes();
      await b.set(planB());
      expect(b.writes() - before, damage.join(' ')).toBeLessThanOrEqual(damage[0] === 'private-key' ? 2 : 1);
      const { publicKey, listenPort, fwmark, peers } = await deviceOf('b');
      expect({ publicKey, listenPort, fwmark, peers: peers.map(({ allowedIps }) => allowedIps) }).toEqual({
        publicKey: keyOf('b'),
        listenPort: B_PORT,
        fwmark: 0,
        peers: [['10.1.0.0/24']],
      });
    }
    await isAnswered(bed.node('b'), bed.node('a').inner);
    const before = a.writes();
    await a.set(planA());
    expect(a.writes()).toBe(before);
    expect(learned?.ip).toBe((await deviceOf('a')).peers[0]!.endpoint?.ip);
  });

  it('goes on with the same process on another port, and follows a peer whose address the plan changes', async () => {
    const { a, b } = await beginPair();
    const pid = b.pid();
    await b.set(planB(B_PORT + 1));
    await isAnswered(bed.node('b'), bed.node('a').inner);
    expect(await bed.node('b').exec(['ss', '-Hlun'])).toContain(`:${B_PORT + 1} `);
    await a.set({ ...planA(), localPort: 4600 });
    await b.set(planOf('b', [{ peer: 'a', local: '10.2.0.0/24', remote: '10.1.0.0/24', call: remoteOf('a', 4600) }], B_PORT + 1));
    expect((await deviceOf('b')).peers[0]!.endpoint).toEqual(remoteOf('a', 4600));
    await isAnswered(bed.node('b'), bed.node('a').inner);
    expect(b.pid()).toBe(pid);
  });

  it('starts wireguard-go again when it is killed, with the same key and peers; one that runs is adopted', async () => {
    const { b } = await beginPair();
    const old = b.pid()!;
    process.kill(old, 'SIGKILL');
    await poll(async () => ((await identifyProcess(old)) === undefined ? true : undefined), TIMEOUT_MS);
    // Who asks finds no tunnel, which is no failure, and it is not left to the next look, up to 5 s later.
    await poll(async () => ((await b.list())[0]?.state !== 'up' || b.pid() !== old ? true : undefined), TIMEOUT_MS);
    const fresh = await poll(async () => (b.pid() !== undefined && b.pid() !== old ? b.pid() : undefined), TIMEOUT_MS);
    expect(fresh).toBeDefined();
    await b.set(planB());
    await bed.node('b').exec(['ip', 'route', 'replace', '10.1.0.0/24', 'dev', DEVICE, 'src', bed.node('b').inner]);
    await isAnswered(bed.node('b'), bed.node('a').inner);
    expect((await deviceOf('b')).publicKey).toBe(keyOf('b'));
    await b.close();
    const next = open(bed.node('b'));
    drivers.push(next);
    await next.start();
    await next.set(planB());
    expect([next.pid(), next.writes()]).toEqual([fresh, 0]);
    expect(await identifyProcess(fresh!)).toBeDefined();
  });

  it('calls a peer behind a NAT where it was heard last when wireguard-go was killed, also by a later agent: nobody waits 15 s for silence', async () => {
    const { a } = await beginPair();
    const [here, there] = [bed.node('a'), bed.node('b')];
    await isAnswered(there, here.inner);
    await a.close();
    for (let i = 0; i < 2; i++) {
      process.kill((await findWireguardGo(here.exec))!.pid, 'SIGKILL');
      await poll(async () => ((await findWireguardGo(here.exec)) === undefined ? true : undefined), TIMEOUT_MS);
      const again = open(here);
      drivers.push(again);
      await again.start();
      const sinceMs = Date.now();
      await again.set(planA());
      await here.exec(['ip', 'route', 'replace', '10.2.0.0/24', 'dev', DEVICE, 'src', here.inner]);
      await isAnswered(there, here.inner);
      expect(Date.now() - sinceMs).toBeLessThan(5_000);
      await reaches(again, 'b', isUp);
      await again.set(planA());
      expect((await deviceOf('a')).peers.map(({ keepaliveS }) => keepaliveS)).toEqual([0]);
      await again.close();
    }
  });

  it('relays between two callers, and moves their prefixes to a direct tunnel in one write each, and back', async () => {
    const viaHub = (name: string, cidrs: string): WireguardPlan =>
      planOf(name, [{ peer: 'a', local: '', remote: `10.1.0.0/24 ${cidrs}`, call: remoteOf('a') }]);
    const withDirect = (name: string, far: string, cidr: string, hub: string, direct: string, call?: PlannedPeer['call']): WireguardPlan =>
      planOf(name, [
        { peer: 'a', local: '', remote: `10.1.0.0/24 ${hub}`, call: remoteOf('a') },
        { peer: far, local: cidr, remote: direct, ...(call && { call }) },
      ]);
    await begin(
      'a',
      planOf(
        'a',
        [planA().tunnels[0]!, { peer: 'c' }].map(({ peer }) => ({ peer, local: '', remote: peer === 'b' ? '10.2.0.0/24' : '10.3.0.0/24' })),
      ),
      ['10.2.0.0/24', '10.3.0.0/24'],
    );
    await bed.node('a').exec(['sysctl', '-qw', 'net.ipv4.ip_forward=1']);
    const c = await begin('c', viaHub('c', '10.2.0.0/24'), ['10.2.0.0/24']);
    const b = await begin('b', viaHub('b', '10.3.0.0/24'), ['10.3.0.0/24']);
    await isAnswered(bed.node('b'), bed.node('c').inner);
    // First both ends have the tunnel, then the prefixes move.
    await c.set(withDirect('c', 'b', '10.3.0.0/24', '10.2.0.0/24', ''));
    await b.set(withDirect('b', 'c', '10.2.0.0/24', '10.3.0.0/24', '', remoteOf('c')));
    await reaches(b, 'c', isUp);
    await reaches(c, 'b', isUp);
    const before = b.writes();
    const bytes = async (peer: string) => (await b.list()).find((each) => each.peer === peer)?.bytesOut ?? 0;
    await Promise.all([
      c.set(withDirect('c', 'b', '10.3.0.0/24', '', '10.2.0.0/24')),
      b.set(withDirect('b', 'c', '10.2.0.0/24', '', '10.3.0.0/24', remoteOf('c'))),
    ]);
    // The new owner takes the prefix; nothing else is written.
    expect(b.writes() - before).toBe(1);
    const [hub, direct] = [await bytes('a'), await bytes('c')];
    expect(await pingAnswers(bed.node('b'), bed.node('c').inner, 5, 0.1)).toBe(5);
    expect([(await bytes('a')) - hub < 5 * 64, (await bytes('c')) - direct >= 5 * 64]).toEqual([true, true]);
    await Promise.all([
      c.set(withDirect('c', 'b', '10.3.0.0/24', '10.2.0.0/24', '')),
      b.set(withDirect('b', 'c', '10.2.0.0/24', '10.3.0.0/24', '', remoteOf('c'))),
    ]);
    await isAnswered(bed.node('b'), bed.node('c').inner);
  });
});
