import { readdir, readFile } from 'node:fs/promises';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Tunnel, IpsecPlan } from '../../domain/node-plan.ts';
import { isUp, reaches, tunnelDriverConformance } from '../tunnel/conformance.ts';
import { createIpsecDriver, type IpsecDriver } from './ipsec-driver.ts';
import { netnsExec } from '../exec/exec.ts';
import { poll } from '../tunnel/process.ts';
import { createTestbed, pidsIn, type Testbed, type TestNode } from '../tunnel/testbed.ts';
import { connectVici } from './vici-client.ts';
import { ipsecPlanOf, tunnel, tunnelPlan } from './test-plans.ts';

const SECRET = 'c0ffee0123456789abcdef9876543210';
const TIMEOUT_MS = 30_000;
/** The port of `b`, whose packets a NAT hides, and which is not the usual one either. */
const B_PORT = 4511;

function open({ netns, exec, dir }: TestNode, psk = SECRET): IpsecDriver {
  const log = pino({ level: 'silent' });
  return createIpsecDriver({ exec, runDir: dir, stateDir: dir, psk, dataPath: 'user', log, spawnPrefix: ['ip', 'netns', 'exec', netns] });
}

/** What a machine looks like, apart from counters. */
async function snapshot({ exec }: TestNode): Promise<string> {
  const commands = [
    ['link'],
    ['address'],
    ['rule'],
    ['-6', 'rule'],
    ['route', 'show', 'table', 'all'],
    ['-6', 'route', 'show', 'table', 'all'],
  ];
  const texts = [];
  for (const command of commands) texts.push(await exec(['ip', ...command]));
  return texts.join('\n').replaceAll(/\bexpires \d+sec|pref medium/g, '');
}

/** Pings in the background; resolves to how many of `count` were answered. */
async function pingAnswers({ exec }: TestNode, to: string, count: number, intervalS: number): Promise<number> {
  const output = await exec(['ping', '-q', '-c', String(count), '-i', String(intervalS), '-W', '1', to]).catch((error: unknown) =>
    String(error),
  );
  return Number(/(\d+) received/.exec(output)?.[1] ?? 0);
}

async function isAnswered(node: TestNode, to: string): Promise<void> {
  const answered = await poll(async () => ((await pingAnswers(node, to, 1, 1)) === 1 ? true : undefined), TIMEOUT_MS);
  expect(answered, `ping from ${node.name} to ${to}`).toBe(true);
}

describe.runIf(process.getuid?.() === 0)('charon in user space', { timeout: 60_000 }, () => {
  let bed: Testbed;
  let drivers: IpsecDriver[] = [];

  beforeAll(async () => {
    bed = await createTestbed(['a', 'b', 'c'], ['b']);
  }, 60_000);
  afterEach(async () => {
    for (const driver of drivers) {
      await driver.cleanup();
      await driver.close();
    }
    drivers = [];
  }, 60_000);
  afterAll(() => bed.close(), 60_000);

  const remoteOf = (name: string, port = 4500): { ip: string; port: number } => ({ ip: bed.node(name).outer, port });
  const planA = tunnelPlan('a', [tunnel('b', ['10.1.0.0/24', '10.11.0.0/24'], ['10.2.0.0/24', '10.12.0.0/24'])]);
  const planB = (): IpsecPlan =>
    tunnelPlan('b', [tunnel('a', ['10.2.0.0/24', '10.12.0.0/24'], ['10.1.0.0/24', '10.11.0.0/24'], remoteOf('a'))], B_PORT);

  async function begin(name: string, plan: IpsecPlan, inner: readonly string[]): Promise<IpsecDriver> {
    const node = bed.node(name);
    const driver = open(node);
    drivers.push(driver);
    driver.prepare(plan);
    await driver.start();
    await driver.set(plan);
    for (const cidr of inner) await route(node, cidr);
    return driver;
  }

  function route({ exec, inner }: TestNode, cidr: string): Promise<string> {
    return exec(['ip', 'route', 'replace', cidr, 'dev', 'rvn-ipsec', 'src', inner]);
  }

  async function beginPair(): Promise<{ a: IpsecDriver; b: IpsecDriver }> {
    const [a, b] = await Promise.all([begin('a', planA, ['10.2.0.0/24']), begin('b', planB(), ['10.1.0.0/24'])]);
    await Promise.all([reaches(a, 'b', isUp), reaches(b, 'a', isUp)]);
    return { a, b };
  }

  const widen = (plan: IpsecPlan, key: 'localTs' | 'remoteTs', cidr: string): IpsecPlan => ({
    ...plan,
    tunnels: plan.tunnels.map((each): Tunnel => ({ ...each, [key]: [...each[key], cidr] })),
  });

  /** Until b has one SA, and that is for `cidr`. */
  async function isOnlySa(cidr: string): Promise<void> {
    const found = await poll(async () => {
      const client = await connectVici({ path: `${bed.node('b').dir}/charon.vici` });
      const text = JSON.stringify(await client.stream('list-sas', 'list-sa'));
      client.close();
      return text.includes(cidr) && text.match(/"INSTALLED"/g)?.length === 1 ? true : undefined;
    }, TIMEOUT_MS);
    expect(found, `the only SA is for ${cidr}`).toBe(true);
  }

  describe('as any driver', () => {
    tunnelDriverConformance(async () => ({
      driver: (name, psk) => open(bed.node(name), psk),
      remote: remoteOf('a'),
      plan: ipsecPlanOf,
      secretsDiffer: { a: /^authentication failed: the secret differs/, b: /^authentication failed: the secret differs/ },
      saysGoodbye: true,
      close: async () => {
        for (const name of ['a', 'b']) {
          const driver = open(bed.node(name));
          await driver.cleanup();
          await driver.close();
        }
      },
    }));
  });

  it('carries packets through a NAT, whatever ports are used, and cleans up after itself', async () => {
    const nodes = ['a', 'b'].map((name) => bed.node(name));
    const before = await Promise.all(nodes.map(snapshot));
    const { a } = await beginPair();
    await isAnswered(bed.node('b'), bed.node('a').inner);
    const [seen] = await a.list();
    expect(seen?.remote?.ip).not.toBe(bed.node('b').outer);
    expect(seen?.bytesIn).toBeGreaterThan(0);
    expect(await bed.node('a').exec(['ip', 'rule'])).not.toMatch(/9029|220/);
    for (const driver of drivers) await driver.cleanup();
    expect(await Promise.all(nodes.map(snapshot))).toEqual(before);
    for (const node of nodes) {
      expect(await pidsIn(node.netns)).toEqual([]);
      expect(await readdir(node.dir)).toEqual(['charon.log']);
      expect(await readFile(`${node.dir}/charon.log`, 'utf8')).not.toContain(SECRET);
    }
  });

  it('changes selectors under traffic', async () => {
    const { a, b } = await beginPair();
    await isAnswered(bed.node('b'), bed.node('a').inner);
    const pings = pingAnswers(bed.node('b'), bed.node('a').inner, 100, 0.05);
    // The called side later: the caller sees a refusal at first.
    await b.set(widen(planB(), 'localTs', '10.22.0.0/24'));
    await a.set(widen(planA, 'remoteTs', '10.22.0.0/24'));
    // 100 of 100 when idle; charon moves from one SA to the next in two steps, and a machine at its limit may stop between them.
    expect(await pings).toBeGreaterThanOrEqual(98);
    await isOnlySa('10.22.0.0/24');
  });

  it('comes back by itself when charon is killed, on either side, and when its device is deleted', async () => {
    const { a, b } = await beginPair();
    for (const driver of [b, a]) {
      const old = driver.pid()!;
      process.kill(old, 'SIGKILL');
      await poll(async () => (driver.pid() !== undefined && driver.pid() !== old ? true : undefined), TIMEOUT_MS);
      expect(driver.pid()).not.toBe(old);
      await route(bed.node(driver === a ? 'a' : 'b'), driver === a ? '10.2.0.0/24' : '10.1.0.0/24');
      await isAnswered(bed.node('b'), bed.node('a').inner);
    }
    await bed.node('b').exec(['ip', 'link', 'del', 'rvn-ipsec']);
    await b.set(planB());
    await route(bed.node('b'), '10.1.0.0/24');
    await isAnswered(bed.node('b'), bed.node('a').inner);
  });

  it('calls a peer behind a NAT where it was heard last when charon died while no agent ran: nobody waits for its DPD', async () => {
    const { a, b } = await beginPair();
    await isAnswered(bed.node('b'), bed.node('a').inner);
    // As the agent does with each tick.
    await a.set(planA);
    const pid = a.pid()!;
    await a.close();
    process.kill(pid, 'SIGKILL');
    const sinceMs = Date.now();
    const again = await begin('a', planA, ['10.2.0.0/24']);
    await isAnswered(bed.node('b'), bed.node('a').inner);
    // DPD asks after 5 s of silence, and gives up 10.9 s later.
    expect(Date.now() - sinceMs).toBeLessThan(8_000);
    // Its call was no exception: what changes later is agreed upon as ever, and no packet is lost by it.
    const pings = pingAnswers(bed.node('b'), bed.node('a').inner, 60, 0.05);
    await b.set(widen(planB(), 'localTs', '10.22.0.0/24'));
    await again.set(widen(planA, 'remoteTs', '10.22.0.0/24'));
    await isOnlySa('10.22.0.0/24');
    expect(await pings).toBeGreaterThanOrEqual(58);
  });

  it('tells the peer at once where a NAT sends its packets from now, instead of when DPD asks', async () => {
    const { a, b } = await beginPair();
    await isAnswered(bed.node('b'), bed.node('a').inner);
    const router = netnsExec(bed.router);
    await router(['nft', 'insert rule ip nat post iifname to-b udp sport 4511 masquerade to :6000-6099']);
    await router(['conntrack', '-F']);
    expect(await pingAnswers(bed.node('b'), bed.node('a').inner, 3, 0.1)).toBe(0);
    await b.refreshAddress('a');
    expect(await pingAnswers(bed.node('b'), bed.node('a').inner, 20, 0.1)).toBeGreaterThan(10);
    const [{ remote } = {}] = await a.list();
    expect(remote?.port).toBeGreaterThanOrEqual(6000);
    // Not the one that is called, and nobody that there is no tunnel to.
    await a.refreshAddress('b');
    await b.refreshAddress('c');
    await isOnlySa('10.12.0.0/24');
  });

  it('brings back an SA that someone ended, and leaves foreign connections alone', async () => {
    const { a, b } = await beginPair();
    const client = await connectVici({ path: `${bed.node('b').dir}/charon.vici` });
    await client.request('load-conn', { theirs: { version: '2', remote_addrs: ['192.0.2.200'], children: { theirs: {} } } });
    await client.request('terminate', { ike: 'raven-a' });
    await reaches(b, 'a', isUp);
    await isAnswered(bed.node('b'), bed.node('a').inner);
    await b.set(tunnelPlan('b', [], B_PORT));
    const conns = await client.request('get-conns');
    expect(conns).toEqual({ conns: ['theirs'] });
    await reaches(a, 'b', ({ state }) => state === 'down');
    client.close();
  });

  it('moves to another port, and says who does not answer while others are up', async () => {
    const silent = tunnel('ghost', ['10.2.0.0/24'], ['10.7.0.0/24'], { ip: bed.node('c').outer, port: 4500 });
    const { b } = await beginPair();
    const moved = { ...planB(), localPort: B_PORT + 1 };
    await b.set({ ...moved, tunnels: [silent, ...moved.tunnels] });
    await route(bed.node('b'), '10.1.0.0/24');
    await isAnswered(bed.node('b'), bed.node('a').inner);
    const state = await reaches(b, 'ghost', ({ message = '' }) => /no answer/.test(message));
    expect(state.message).toMatch(`no handshake: no answer from ${bed.node('c').outer}:4500/udp; `);
    expect(await bed.node('b').exec(['ss', '-Hlun'])).toContain(`:${B_PORT + 1} `);
  });

  it('relays between two callers by wide selectors, beside a narrow direct tunnel', async () => {
    const any = ['0.0.0.0/0', '::/0'];
    const hub = tunnelPlan('a', [tunnel('b', any, ['10.2.0.0/24']), tunnel('c', any, ['10.3.0.0/24'])]);
    const viaHub = (local: string): Tunnel => tunnel('a', [local], any, remoteOf('a'));
    await begin('a', hub, ['10.2.0.0/24', '10.3.0.0/24']);
    await bed.node('a').exec(['sysctl', '-qw', 'net.ipv4.ip_forward=1']);
    const c = await begin('c', tunnelPlan('c', [viaHub('10.3.0.0/24')]), ['10.2.0.0/24']);
    const b = await begin('b', tunnelPlan('b', [viaHub('10.2.0.0/24')], B_PORT), ['10.3.0.0/24']);
    await isAnswered(bed.node('b'), bed.node('c').inner);
    const direct = tunnel('c', ['10.2.0.0/24'], ['10.3.0.0/24'], remoteOf('c'));
    await c.set(tunnelPlan('c', [viaHub('10.3.0.0/24'), tunnel('b', ['10.3.0.0/24'], ['10.2.0.0/24'])]));
    await b.set(tunnelPlan('b', [viaHub('10.2.0.0/24'), direct], B_PORT));
    await reaches(b, 'c', isUp);
    const before = (await b.list()).map(({ bytesOut }) => bytesOut ?? 0);
    expect(await pingAnswers(bed.node('b'), bed.node('c').inner, 5, 0.1)).toBe(5);
    const after = (await b.list()).map(({ bytesOut }) => bytesOut ?? 0);
    expect(after[0]).toBe(before[0]);
    expect(after[1]).toBeGreaterThan(before[1]!);
  });
});
