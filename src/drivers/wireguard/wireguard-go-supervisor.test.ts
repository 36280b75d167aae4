import { mkdir, readFile } from 'node:fs/promises';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Exec } from '../exec/exec.ts';
import { isUp, reaches } from '../tunnel/conformance.ts';
import { createTestbed, pidsIn, type Testbed, type TestNode } from '../tunnel/testbed.ts';
import { ensureKey } from './key-file.ts';
import { wireguardPlanOf } from './test-plans.ts';
import { createWireguardDriver, type WireguardDriver } from './wireguard-driver.ts';
import { openWireguardExchange } from './wireguard-exchange.ts';
import { superviseWireguardGo } from './wireguard-go-supervisor.ts';

const PATIENCE = { timeout: 40_000, interval: 50 };
const DEVICE = 'raven-wg0';
const log = pino({ level: 'silent' });

interface Supervised {
  stop(): Promise<void>;
  readonly done: Promise<void>;
}

describe.runIf(process.getuid?.() === 0)('wireguard-go in a container of its own', { timeout: 90_000 }, () => {
  let bed: Testbed;
  const drivers: WireguardDriver[] = [];
  const supervisors: Supervised[] = [];

  beforeAll(async () => {
    bed = await createTestbed(['a', 'b'], ['b']);
    for (const name of ['a', 'b']) await mkdir(`${bed.node(name).dir}/sockets`, { recursive: true });
  }, 60_000);
  afterEach(async () => {
    for (const driver of drivers.splice(0)) await driver.close();
    for (const each of supervisors.splice(0)) await each.stop().catch(() => undefined);
  }, 60_000);
  afterAll(() => bed.close(), 60_000);

  /** /var/run/wireguard is what the two containers of one node share. */
  const view = ({ dir }: TestNode): [string, ...string[]] => [
    'unshare',
    '--mount',
    '--propagation',
    'slave',
    'sh',
    '-c',
    'mkdir -p /var/run/wireguard && mount --bind "$0" /var/run/wireguard && exec "$@"',
    `${dir}/sockets`,
  ];
  const execIn =
    (node: TestNode): Exec =>
    (argv, options) =>
      node.exec([...view(node), ...argv], options);

  function supervise(node: TestNode, spawnPrefix = ['ip', 'netns', 'exec', node.netns, ...view(node)]): Supervised {
    const abort = new AbortController();
    const done = superviseWireguardGo({ exec: execIn(node), runDir: node.dir, log, signal: abort.signal, spawnPrefix });
    const supervised = {
      done,
      stop: () => {
        abort.abort();
        return done;
      },
    };
    done.catch(() => undefined);
    supervisors.push(supervised);
    return supervised;
  }

  function agent(node: TestNode): WireguardDriver {
    const { dir } = node;
    const driver = createWireguardDriver({
      exec: execIn(node),
      runDir: dir,
      stateDir: `${dir}/state`,
      psk: undefined,
      dataPath: 'user',
      log,
      daemon: 'external',
    });
    drivers.push(driver);
    return driver;
  }

  async function begin(driver: WireguardDriver, plan: Parameters<WireguardDriver['set']>[0], node: TestNode, inner: string): Promise<void> {
    await driver.start();
    await node.exec(['ip', 'link', 'set', DEVICE, 'up']);
    await driver.set(plan);
    await node.exec(['ip', 'route', 'replace', inner, 'dev', DEVICE, 'src', node.inner]);
  }

  const isAnswered = async (node: TestNode, to: string): Promise<boolean> =>
    node.exec(['ping', '-q', '-c', '1', '-W', '1', to]).then(
      () => true,
      () => false,
    );
  const daemons = async (node: TestNode): Promise<number[]> => {
    const pids = await pidsIn(node.netns);
    const names = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')));
    return pids.filter((_, i) => names[i]?.trim() === 'wireguard-go');
  };

  it('runs when the agent wants it, outlives the agent, comes back when killed, and ends when it is not wanted any more', async () => {
    const [a, b] = [bed.node('a'), bed.node('b')];
    const keys = new Map(
      await Promise.all([a, b].map(async ({ name, dir }) => [name, (await ensureKey(`${dir}/state`)).publicKey] as const)),
    );
    const keyOf = (name: string) => keys.get(name)!;
    const planA = wireguardPlanOf('a', [{ peer: 'b', local: '10.1.0.0/24', remote: '10.2.0.0/24' }], keyOf);
    const call = { ip: a.outer, port: 4500 };
    const planB = wireguardPlanOf('b', [{ peer: 'a', local: '10.2.0.0/24', remote: '10.1.0.0/24', call }], keyOf);
    const supervisorA = supervise(a);
    supervise(b);
    const [first, other] = [agent(a), agent(b)];
    await begin(first, planA, a, '10.2.0.0/24');
    await begin(other, planB, b, '10.1.0.0/24');
    await Promise.all([reaches(first, 'b', isUp), reaches(other, 'a', isUp)]);
    await expect.poll(() => isAnswered(b, a.inner), PATIENCE).toBe(true);

    // The agent goes and comes: the same process, no write.
    const before = await daemons(a);
    await first.close();
    expect(await isAnswered(b, a.inner)).toBe(true);
    const second = agent(a);
    await begin(second, planA, a, '10.2.0.0/24');
    expect([await daemons(a), second.writes()]).toEqual([before, 0]);

    process.kill(before[0]!, 'SIGKILL');
    await expect.poll(async () => (await daemons(a)).filter((pid) => !before.includes(pid)).length, PATIENCE).toBe(1);
    await begin(second, planA, a, '10.2.0.0/24');
    await expect.poll(() => isAnswered(b, a.inner), { ...PATIENCE, timeout: 8_000 }).toBe(true);
    expect(second.publicKey()).toBe(keyOf('a'));

    await second.cleanup();
    await expect.poll(() => daemons(a), PATIENCE).toEqual([]);
    expect(await a.exec(['ip', '-o', 'link'])).not.toContain(DEVICE);
    await supervisorA.stop();
  });

  it('takes wireguard-go with it when it is told to end, and nothing runs that nobody wants', async () => {
    const a = bed.node('a');
    const supervisor = supervise(a);
    const exchange = openWireguardExchange(a.dir);
    expect(await daemons(a)).toEqual([]);
    await exchange.wanted.write({});
    await expect.poll(() => exchange.running.read(), PATIENCE).toMatchObject({ instance: expect.any(String) });
    await supervisor.stop();
    expect([await daemons(a), await exchange.running.read()]).toEqual([[], undefined]);
    await exchange.wanted.remove();
  });

  it('ends with an error when wireguard-go dies again and again', async () => {
    const a = bed.node('a');
    const exchange = openWireguardExchange(a.dir);
    await exchange.wanted.write({});
    await expect(supervise(a, ['false']).done).rejects.toThrow(/wireguard-go ended 3 times within 120 s, at last with 1/);
    await exchange.wanted.remove();
  });
});
