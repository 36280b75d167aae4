import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WireguardPlan } from '../../domain/node-plan.ts';
import type { WgKey } from '../../net/wg-key.ts';
import { hostExec } from '../exec/exec.ts';
import { isUp, type PlannedPeer, reaches, tunnelDriverConformance } from '../tunnel/conformance.ts';
import { createTestbed, type Testbed } from '../tunnel/testbed.ts';
import { detectWireguard } from './data-path.ts';
import { ensureKey } from './key-file.ts';
import { wireguardPlanOf } from './test-plans.ts';
import { createWireguardDriver, type WireguardDriver } from './wireguard-driver.ts';

const { dataPath } = process.getuid?.() === 0 ? await detectWireguard(hostExec) : { dataPath: 'user' };
/** Under software emulation everything takes its time. */
const TIMEOUT_MS = 60_000;

/** For kernels with WireGuard; in the virtual machine: `node scripts/vm.ts -- node_modules/.bin/vitest run --project unit src/drivers/wireguard`. */
describe.runIf(dataPath === 'kernel')('WireGuard in the kernel', { timeout: 180_000 }, () => {
  let bed: Testbed;
  const keys = new Map<string, WgKey>();

  beforeAll(async () => {
    bed = await createTestbed(['a', 'b'], ['b']);
    for (const name of ['a', 'b']) keys.set(name, (await ensureKey(`${bed.node(name).dir}/state`)).publicKey);
  }, TIMEOUT_MS * 2);
  afterAll(() => bed.close(), TIMEOUT_MS);

  const remote = () => ({ ip: bed.node('a').outer, port: 4500 });
  const keyOf = (name: string): WgKey => keys.get(name) ?? (Buffer.alloc(32, name).toString('base64') as WgKey);
  const plan = (name: string, peers: readonly PlannedPeer[]) => wireguardPlanOf(name, peers, keyOf, { dataPath: 'kernel' });

  /** The device is the link driver's to make. */
  function open(name: string, psk = 'c0ffee0123456789abcdef9876543210'): WireguardDriver {
    const { exec, dir } = bed.node(name);
    const options = { exec, runDir: dir, stateDir: `${dir}/state`, psk, dataPath: 'kernel', log: pino({ level: 'silent' }) } as const;
    const driver = createWireguardDriver(options);
    const makeDevice = async (): Promise<void> => {
      const there = await exec(['ip', '-o', 'link', 'show', 'type', 'wireguard']);
      if (!there.includes('raven-wg0')) await exec(['ip', 'link', 'add', 'raven-wg0', 'type', 'wireguard']);
      await exec(['ip', 'link', 'set', 'raven-wg0', 'up']);
    };
    const set = async (next: WireguardPlan): Promise<void> => {
      await makeDevice();
      await driver.set(next);
    };
    return { ...driver, set };
  }

  describe('as any driver', () => {
    tunnelDriverConformance(async () => ({
      driver: (name, psk) => open(name, psk),
      remote: remote(),
      plan,
      secretsDiffer: { a: /none is completed: the pre-shared key/, b: /no answer from .* pre-shared key/ },
      saysGoodbye: false,
      close: async () => {
        for (const name of ['a', 'b']) {
          const driver = open(name);
          await driver.cleanup();
          await driver.close();
        }
      },
    }));
  });

  it('configures a device that somebody made anew, under the same key', async () => {
    const a = open('a');
    const b = open('b');
    const planB = plan('b', [{ peer: 'a', local: '', remote: '10.1.0.0/24', call: remote() }]);
    await a.set(plan('a', [{ peer: 'b', local: '', remote: '10.2.0.0/24' }]));
    await b.set(planB);
    await reaches(b, 'a', isUp);
    const { exec, inner } = bed.node('b');
    await exec(['ip', 'link', 'del', 'raven-wg0']);
    await b.set(planB);
    await exec(['ip', 'route', 'replace', '10.1.0.0/24', 'dev', 'raven-wg0', 'src', inner]);
    await bed.node('a').exec(['ip', 'route', 'replace', '10.2.0.0/24', 'dev', 'raven-wg0', 'src', bed.node('a').inner]);
    await exec(['ping', '-q', '-c', '1', '-W', '20', bed.node('a').inner]);
    expect((await exec(['wg', 'show', 'raven-wg0', 'public-key'])).trim()).toBe(keyOf('b'));
    for (const driver of [a, b]) {
      await driver.cleanup();
      await driver.close();
    }
  });
});
