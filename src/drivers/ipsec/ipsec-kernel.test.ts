import { readFile, writeFile } from 'node:fs/promises';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { IpsecPlan } from '../../domain/node-plan.ts';
import { hostExec } from '../exec/exec.ts';
import { isUp, reaches } from '../tunnel/conformance.ts';
import { detectDataPath } from './data-path.ts';
import { createIpsecDriver, type IpsecDriver } from './ipsec-driver.ts';
import { poll } from '../tunnel/process.ts';
import { createTestbed, type Testbed, type TestNode } from '../tunnel/testbed.ts';
import { tunnel } from './test-plans.ts';

const { dataPath } = process.getuid?.() === 0 ? await detectDataPath(hostExec) : { dataPath: 'user' };
/** Under software emulation everything takes its time. */
const TIMEOUT_MS = 60_000;
const ANY = ['0.0.0.0/0', '::/0'];
const IF_ID = 0x52000001;
const FOREIGN = [
  'xfrm state add src 192.0.2.101 dst 192.0.2.102 proto esp spi 0x77 reqid 77 mode tunnel aead rfc4106(gcm(aes)) 0x000102030405060708090a0b0c0d0e0f10111213 128',
  'xfrm policy add src 192.168.77.0/24 dst 192.168.78.0/24 dir out tmpl src 192.0.2.101 dst 192.0.2.102 proto esp reqid 77 mode tunnel',
];

describe.runIf(dataPath === 'kernel')('charon with ESP in the kernel', { timeout: 180_000 }, () => {
  let bed: Testbed;
  let drivers: Record<string, IpsecDriver> = {};

  const plans = (): Record<string, IpsecPlan> => ({
    a: { driver: 'ipsec', dataPath: 'kernel', localName: 'a', localPort: 4500, tunnels: [{ ...tunnel('b', ANY, ANY), ifId: IF_ID }] },
    b: {
      driver: 'ipsec',
      dataPath: 'kernel',
      localName: 'b',
      localPort: 4501,
      tunnels: [{ ...tunnel('a', ANY, ANY, { ip: bed.node('a').outer, port: 4500 }), ifId: IF_ID }],
    },
  });

  beforeAll(async () => {
    bed = await createTestbed(['a', 'b'], ['b']);
    for (const [name, far] of [
      ['a', 'b'],
      ['b', 'a'],
    ] as const) {
      const { exec, inner } = bed.node(name);
      const lines = [
        `link add rvn-x type xfrm dev up0 if_id ${IF_ID}`,
        'link set rvn-x mtu 1400 up',
        `route add ${bed.node(far).inner} dev rvn-x src ${inner}`,
        ...FOREIGN,
      ];
      await exec(['ip', '-batch', '-'], { stdin: `${lines.join('\n')}\n` });
    }
    drivers = Object.fromEntries(['a', 'b'].map((name) => [name, open(bed.node(name))]));
    for (const [name, plan] of Object.entries(plans())) {
      drivers[name]!.prepare(plan);
      await drivers[name]!.start();
      await drivers[name]!.set(plan);
    }
    await Promise.all([reaches(drivers['a']!, 'b', isUp), reaches(drivers['b']!, 'a', isUp)]);
  }, TIMEOUT_MS * 2);
  afterAll(async () => {
    for (const driver of Object.values(drivers)) await driver.close();
    await bed.close();
  }, TIMEOUT_MS);

  function open({ exec, dir, netns }: TestNode): IpsecDriver {
    const log = pino({ level: 'silent' });
    return createIpsecDriver({
      exec,
      runDir: dir,
      stateDir: dir,
      psk: 'c0ffee0123456789abcdef9876543210',
      dataPath: 'kernel',
      log,
      spawnPrefix: ['ip', 'netns', 'exec', netns],
    });
  }

  async function isAnswered(): Promise<boolean> {
    const { exec } = bed.node('b');
    const ping = (): Promise<true | undefined> =>
      exec(['ping', '-q', '-c', '1', '-W', '1', bed.node('a').inner]).then(
        () => true as const,
        () => undefined,
      );
    return (await poll(ping, TIMEOUT_MS)) === true;
  }

  const set = (name: string): Promise<void> => drivers[name]!.set(plans()[name]!);
  const states = (): Promise<string> => bed.node('b').exec(['ip', 'xfrm', 'state']);
  const ours = async (): Promise<number> => (await states()).split(`if_id 0x${IF_ID.toString(16)}`).length - 1;

  it('carries packets that are routed to the XFRM interface, without routes or rules of its own, and stays silent', async () => {
    expect(await isAnswered()).toBe(true);
    expect(await bed.node('b').exec(['ip', 'rule'])).not.toMatch(/220/);
    const before = drivers['b']!.writes();
    await set('b');
    await set('b');
    expect(drivers['b']!.writes()).toBe(before);
  });

  it.each([
    ['states', 'xfrm state deleteall src 192.0.2.2\nxfrm state deleteall dst 192.0.2.2\n'],
    ['a policy', `xfrm policy delete src 0.0.0.0/0 dst 0.0.0.0/0 dir out if_id ${IF_ID}\n`],
  ])('puts back %s deleted by hand, at the next look', async (_, lines) => {
    await poll(async () => ((await drivers['b']!.list())[0]?.state === 'up' ? true : undefined), TIMEOUT_MS);
    // Only SAs that have been there for a second are compared.
    await poll(async () => ((await drivers['b']!.list())[0]?.sinceMs ?? Infinity) < Date.now() - 2000 || undefined, TIMEOUT_MS);
    await bed.node('b').exec(['ip', '-batch', '-'], { stdin: lines });
    await set('b');
    expect(await isAnswered()).toBe(true);
    expect(await poll(async () => ((await ours()) === 2 ? true : undefined), TIMEOUT_MS)).toBe(true);
  });

  it('goes on with the SAs that are in the kernel as soon as charon listens again, and tidies up when it has new ones', async () => {
    const old = drivers['b']!.pid()!;
    const pings = bed.node('b').exec(['ping', '-q', '-c', '60', '-i', '0.1', '-W', '2', bed.node('a').inner]);
    process.kill(old, 'SIGKILL');
    // While nobody holds the UDP port the kernel takes nothing out of it: the time that charon needs to start, seconds under emulation.
    expect(Number(/(\d+) received/.exec(await pings)?.[1])).toBeGreaterThan(20);
    expect(drivers['b']!.pid()).not.toBe(old);
    const tidy = poll(
      async () => {
        await set('b');
        return (await ours()) === 2 ? true : undefined;
      },
      TIMEOUT_MS,
      1000,
    );
    expect(await tidy).toBe(true);
  });

  it('goes on with the SAs that are in the kernel when charon is replaced for another configuration, as by an upgrade', async () => {
    const { dir, exec, inner } = { ...bed.node('b'), inner: bed.node('a').inner };
    const spisOf = (text: string): string[] => text.match(/spi \S+/g) ?? [];
    await drivers['b']!.close();
    const before = spisOf(await states());
    const note = JSON.parse(await readFile(`${dir}/charon.json`, 'utf8')) as { pid: number };
    await writeFile(`${dir}/charon.json`, JSON.stringify({ ...note, config: 'of an earlier version' }));
    const pings = exec(['ping', '-q', '-c', '60', '-i', '0.1', '-W', '2', inner]);
    drivers['b'] = open(bed.node('b'));
    drivers['b'].prepare(plans()['b']!);
    await drivers['b'].start();
    expect(drivers['b'].pid()).not.toBe(note.pid);
    expect(spisOf(await states())).toEqual(before);
    await set('b');
    expect(Number(/(\d+) received/.exec(await pings)?.[1])).toBeGreaterThan(20);
    const tidy = async (): Promise<true | undefined> => {
      await set('b');
      const now = spisOf(await states());
      return now.length === before.length && !now.some((spi) => spi !== 'spi 0x00000077' && before.includes(spi)) ? true : undefined;
    };
    expect(await poll(tidy, TIMEOUT_MS, 1000)).toBe(true);
  });

  it("leaves foreign states and policies alone, to the end, and nothing of its own, even when charon's end was sudden", async () => {
    process.kill(drivers['a']!.pid()!, 'SIGKILL');
    for (const driver of Object.values(drivers)) await driver.cleanup();
    for (const name of ['a', 'b']) {
      const { exec } = bed.node(name);
      expect((await exec(['ip', 'xfrm', 'state'])).match(/spi \S+/g)).toEqual(['spi 0x00000077']);
      expect((await exec(['ip', 'xfrm', 'policy'])).match(/^src .*$/gm)).toEqual(['src 192.168.77.0/24 dst 192.168.78.0/24 ']);
    }
  });
});
