import { readFile } from 'node:fs/promises';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { IpsecPlan } from '../../domain/node-plan.ts';
import { openCharonExchange } from './charon-exchange.ts';
import { superviseCharon } from './charon-supervisor.ts';
import { isUp, reaches } from '../tunnel/conformance.ts';
import { createIpsecDriver, type IpsecDriver } from './ipsec-driver.ts';
import { createTestbed, pidsIn, type Testbed, type TestNode } from '../tunnel/testbed.ts';
import { tunnel, tunnelPlan } from './test-plans.ts';

const PATIENCE = { timeout: 40_000, interval: 50 };
const log = pino({ level: 'silent' });

interface Supervised {
  stop(): Promise<void>;
  readonly done: Promise<void>;
}

describe.runIf(process.getuid?.() === 0)('charon in a container of its own', { timeout: 90_000 }, () => {
  let bed: Testbed;
  const drivers: IpsecDriver[] = [];
  const supervisors: Supervised[] = [];

  beforeAll(async () => {
    bed = await createTestbed(['a', 'b']);
  }, 60_000);
  afterEach(async () => {
    for (const driver of drivers.splice(0)) await driver.close();
    for (const each of supervisors.splice(0)) await each.stop().catch(() => undefined);
  }, 60_000);
  afterAll(() => bed.close(), 60_000);

  function supervise({ netns, exec, dir }: TestNode, spawnPrefix = ['ip', 'netns', 'exec', netns]): Supervised {
    const abort = new AbortController();
    const done = superviseCharon({ exec, runDir: dir, log, signal: abort.signal, spawnPrefix, logPath: `${dir}/charon.log` });
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

  function agent({ exec, dir }: TestNode): IpsecDriver {
    const psk = 'c0ffee0123456789abcdef9876543210';
    const driver = createIpsecDriver({ exec, runDir: dir, stateDir: dir, psk, dataPath: 'user', log, charon: 'external' });
    drivers.push(driver);
    return driver;
  }

  async function begin(driver: IpsecDriver, plan: IpsecPlan, node: TestNode, inner: string): Promise<void> {
    driver.prepare(plan);
    await driver.start();
    await driver.set(plan);
    await node.exec(['ip', 'route', 'replace', inner, 'dev', 'rvn-ipsec', 'src', node.inner]);
  }

  const isAnswered = async (node: TestNode, to: string): Promise<boolean> =>
    node.exec(['ping', '-q', '-c', '1', '-W', '1', to]).then(
      () => true,
      () => false,
    );
  /** By name: an `ip` that looks after the device may be there at the same moment. */
  const charons = async (node: TestNode): Promise<number[]> => {
    const pids = await pidsIn(node.netns);
    const names = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')));
    return pids.filter((_, i) => names[i]?.startsWith('charon'));
  };

  it('runs when the agent wants it, outlives the agent, comes back when killed, and ends when it is not wanted any more', async () => {
    const [a, b] = [bed.node('a'), bed.node('b')];
    const planA = tunnelPlan('a', [tunnel('b', ['10.1.0.0/24'], ['10.2.0.0/24'])]);
    const planB = tunnelPlan('b', [tunnel('a', ['10.2.0.0/24'], ['10.1.0.0/24'], { ip: a.outer, port: 4500 })]);
    const [supervisorA] = [supervise(a), supervise(b)];
    await expect.poll(() => openCharonExchange(a.dir).dataPath.read(), PATIENCE).toMatchObject({ dataPath: expect.any(String) });
    expect(await charons(a)).toEqual([]);
    const [first, other] = [agent(a), agent(b)];
    await begin(first, planA, a, '10.2.0.0/24');
    await begin(other, planB, b, '10.1.0.0/24');
    await Promise.all([reaches(first, 'b', isUp), reaches(other, 'a', isUp)]);
    await expect.poll(() => isAnswered(b, a.inner), PATIENCE).toBe(true);

    // The agent goes and comes: the same charon, no write.
    const before = await charons(a);
    await first.close();
    const second = agent(a);
    await begin(second, planA, a, '10.2.0.0/24');
    expect(await charons(a)).toEqual(before);
    expect(second.writes()).toBe(0);
    expect(await isAnswered(b, a.inner)).toBe(true);

    process.kill(before[0]!, 'SIGKILL');
    await expect.poll(async () => (await charons(a)).length === 1 && (await charons(a))[0] !== before[0], PATIENCE).toBe(true);
    await expect.poll(async () => (await second.list())[0]?.state, PATIENCE).toBe('up');
    await a.exec(['ip', 'route', 'replace', '10.2.0.0/24', 'dev', 'rvn-ipsec', 'src', a.inner]);
    await expect.poll(() => isAnswered(b, a.inner), PATIENCE).toBe(true);

    // Another port needs another charon.
    await second.set({ ...planA, localPort: 4555 });
    expect(await a.exec(['ss', '-Hlun'])).toContain(':4555 ');

    await second.cleanup();
    await expect.poll(() => charons(a), PATIENCE).toEqual([]);
    expect(await a.exec(['ip', '-o', 'link'])).not.toMatch(/ipsec/);
    await supervisorA.stop();
  });

  it('takes charon with it when it is told to end', async () => {
    const a = bed.node('a');
    const supervisor = supervise(a);
    await openCharonExchange(a.dir).wanted.write({ localPort: 4500 });
    await expect.poll(() => openCharonExchange(a.dir).running.read(), PATIENCE).toMatchObject({ localPort: 4500 });
    await supervisor.stop();
    expect(await charons(a)).toEqual([]);
    expect(await openCharonExchange(a.dir).running.read()).toBeUndefined();
    await openCharonExchange(a.dir).wanted.remove();
  });

  it('ends with an error when charon dies again and again', async () => {
    const a = bed.node('a');
    await openCharonExchange(a.dir).wanted.write({ localPort: 4500 });
    const supervisor = supervise(a, ['false']);
    await expect(supervisor.done).rejects.toThrow(/charon ended 3 times within 120 s, at last with 1/);
    await openCharonExchange(a.dir).wanted.remove();
  });

  it('says to the agent where to look when nobody runs it', async () => {
    const driver = agent(bed.node('b'));
    driver.prepare(tunnelPlan('b', []));
    await expect(driver.start()).rejects.toThrow(/no charon answers at .*charon\.vici; is `raven charon --run-dir .*` running/);
  });

  it('gives no secret away', async () => {
    expect(await readFile(`${bed.node('a').dir}/strongswan.conf`, 'utf8')).not.toContain('c0ffee');
  });
});
