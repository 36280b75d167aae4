import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, Lab, must } from './harness.ts';
import { type AgentFault, daemonOf, endDaemon, restartAgent } from './restarts.ts';
import { startTraffic, type TrafficReport } from './traffic.ts';
import { wgOf } from './wg.ts';

/** What packets between ordinary nodes' pods notice when Raven's programs end and come back (R21). */

const TOPOLOGY = `
name: restarts
regions:
  - name: a
    lan: 203.0.113.0/24
    nodes:
      - {name: a1, ip: 203.0.113.1, gateway: true, publicIp: 203.0.113.1}
      - {name: a2, ip: 203.0.113.2}
  - name: b
    lan: 192.168.1.0/24
    router: {nat: symmetric, publicIp: 198.51.100.2}
    nodes:
      - {name: b1, gateway: true}
      - {name: b2}
`;
const GATEWAYS = ['a1', 'b1'] as const;
/** The last is an upgrade to another path as well. */
const FAULTS = ['TERM', 'KILL', 'files replaced'] as const satisfies readonly AgentFault[];
/**
 * What user-space daemons need to be there again and to shake hands is below two seconds, on a busy machine more. The peers would notice by themselves
 * after 15 s (WireGuard) and 16 s (IKE), so what is longer than this is a peer that was not told.
 */
const UNTOLD_MS = 8_000;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'raven-restarts-'));
  await writeFile(join(folder, 'topology.yaml'), TOPOLOGY);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe.each(['ipsec', 'wireguard'] as const)('with %s', (driver) => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.up(join(folder, 'topology.yaml'), '--vpn-driver', driver);
  });
  afterAll(() => lab?.down());

  async function underTraffic(work: () => Promise<unknown>): Promise<TrafficReport> {
    const traffic = await startTraffic(lab, 'b2', 'a2');
    try {
      await work();
      await traffic.flows();
    } catch (error) {
      await traffic.stop();
      throw error;
    }
    return traffic.stop();
  }

  const settled = async (): Promise<void> => void (await Promise.all(GATEWAYS.map(async (name) => lab.settled(await lab.node(name)))));

  it.each(FAULTS)('no packet is lost when agents end and come back: %s', async (fault) => {
    const daemons = async () => Promise.all(GATEWAYS.map(async (name) => daemonOf(await lab.node(name))?.pid));
    const before = await daemons();
    const report = await underTraffic(() =>
      Promise.all(['a1', 'b1', 'b2'].map((name) => restartAgent(lab, name, fault, join(folder, driver)))),
    );
    expect(report).toMatchObject({ lost: 0, tcpAlive: true });
    expect(await daemons()).toEqual(before);
  });

  it.each(GATEWAYS)(
    'packets flow again, in the same connection, when the VPN daemon of %s is killed, and nothing of the old one stays',
    async (name) => {
      const node = await lab.node(name);
      const identity = (): Promise<string> =>
        driver === 'wireguard' ? wgOf(node, 'show', 'raven-wg0', 'public-key') : Promise.resolve('');
      const before = await identity();
      const { tcpAlive, outageMs } = await underTraffic(() => endDaemon(lab, name, 'SIGKILL'));
      expect(tcpAlive).toBe(true);
      expect(outageMs).toBeLessThan(UNTOLD_MS);
      await settled();
      expect(await identity()).toBe(before);
      for (const each of GATEWAYS) await eventually(`${each} has one association`, async () => (await associations(each)) === 1);
    },
  );

  async function associations(name: string): Promise<number> {
    const node = await lab.node(name);
    if (driver === 'wireguard') return (await wgOf(node, 'show', 'raven-wg0', 'peers')).trim().split('\n').length;
    const run = join(dirname(node.processes.find(({ program }) => program === 'agent')?.log ?? ''), 'run');
    const sas = await must(['swanctl', '--list-sas', '--uri', `unix://${run}/charon.vici`]);
    return sas.match(/ESTABLISHED|INSTALLED/g)?.length === 2 ? 1 : 0;
  }
});
