import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { foreignFrames } from './capture.ts';
import { eventually, Lab, must, raven } from './harness.ts';
import { commandsOf, conditionOf, findingsIn, loggedFinding, stored, type } from './hosts.ts';

/** Hosts as they are found: ports that nobody opened (R30), and machines made from one image (R33). Each test has a lab of its own. */

/** From the start of the agents, or of charon, to the word of an operator. */
const SAID_MS = 15_000;

let folder: string;
let lab: Lab | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'raven-hosts-'));
});
afterEach(async () => {
  await lab?.down();
  lab = undefined;
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('a UDP port that is closed (R30)', () => {
  it('on the gateway that is called, and then on the way: both ends and both Gateways say which port of whom never answered', async () => {
    lab = await Lab.up('mini', '--no-raven');
    const { store, nodes, routers } = await lab.list();
    const [cloud, edge] = [nodes.find(({ name }) => name === 'cloud1')!, nodes.find(({ name }) => name === 'edge1')!];
    await type(cloud.netns, 'iptables-nft -w -A INPUT -p udp --dport 4500 -j DROP');
    expect((await lab.raven('lab', 'start', 'controller')).code).toBe(0);
    const start = Date.now();
    for (const { name } of nodes) expect((await lab.raven('lab', 'start', `${name}/agent`)).code).toBe(0);
    await expectSaid(store, start);

    // What the host itself closes is known to the letter.
    const advice = await eventually('the finding', () =>
      loggedFinding(`/run/raven-lab/${lab!.name}/nodes/cloud1/agent.log`, 'InputDropped'),
    );
    expect(commandsOf(advice)).toEqual(['iptables-nft -I INPUT -p udp --dport 4500 -j ACCEPT']);
    for (const line of commandsOf(advice)) await type(cloud.netns, line);
    await eventually('the tunnel is up', async () => (await lab!.matrix()).ok);
    await eventually(
      'the Gateways say so',
      async () => (await connected(store, 'edge'))?.status === 'True' && (await connected(store, 'cloud'))?.status === 'True',
      SAID_MS,
    );

    // The same on a router in between, for a handshake that has yet to come.
    const router = routers.find(({ name }) => name === 'router-edge')!;
    await type(
      router.netns,
      "nft 'add table ip closed; add chain ip closed f { type filter hook forward priority 0; }; add rule ip closed f udp dport 4500 drop; add rule ip closed f udp sport 4500 drop'",
    );
    const again = Date.now();
    for (const { name } of nodes) expect((await lab.raven('lab', 'kill', `${name}/charon`)).code).toBe(0);
    await expectSaid(store, again);
    expect(await findingsIn(cloud.netns)).toEqual([]);
    expect(await findingsIn(edge.netns)).toEqual([]);
    await type(router.netns, 'nft delete table ip closed');
    await eventually('the tunnel is up again', async () => (await lab!.matrix()).ok);
  });

  async function expectSaid(store: string, sinceMs: number): Promise<void> {
    const caller = /no handshake: no answer from 203\.0\.113\.1:4500\/udp/;
    const called = /no handshake: edge1 has to call, and nothing from it is seen on UDP port 4500/;
    const left = (): number => Math.max(0, sinceMs + SAID_MS - Date.now());
    const link = async (node: string): Promise<string> => (await stored(store, 'tunnelendpoint', node)).status?.links?.[0]?.message ?? '';
    await eventually('edge1 says it', async () => caller.test(await link('edge1')), left());
    await eventually('cloud1 says it', async () => called.test(await link('cloud1')), left());
    await eventually('Gateway edge says it', async () => caller.test((await connected(store, 'edge'))?.message ?? ''), left());
    await eventually('Gateway cloud says it', async () => called.test((await connected(store, 'cloud'))?.message ?? ''), left());
    expect(await connected(store, 'edge')).toMatchObject({
      status: 'False',
      reason: 'LinksDown',
      message: expect.stringMatching(/^edge1 to cloud1 \(region cloud\): /),
    });
  }

  const connected = (store: string, gateway: string) => conditionOf(store, 'gateways', gateway, 'PeersConnected');
});

/** All nodes have this machine's /etc/machine-id; in each region their addresses differ in the first octet only. */
const CLONES = `
name: clones
clusterCidr: 172.20.0.0/16
serviceCidr: 172.21.0.0/16
masquerade: [nft]
regions:
  - name: a
    lan: 203.0.113.0/24
    nodes:
      - {name: a1, ip: 203.0.113.1, gateway: true, publicIp: 203.0.113.1}
  - name: b
    lan: 8.0.0.0/6
    router: {nat: cone, publicIp: 198.51.100.2}
    nodes:
      - {name: b1, ip: 9.0.0.10, gateway: true}
      - {name: b2, ip: 10.0.0.10}
      - {name: b3, ip: 11.0.0.10}
`;

describe('machines made from one image (R33; subm#2934, oy#1893)', () => {
  it('have MAC addresses of their own on raven0, and reach other regions; a third sees no frame', async () => {
    const file = join(folder, 'clones.yaml');
    await writeFile(file, CLONES);
    lab = await Lab.up(file);
    const { nodes } = await lab.list();
    const links = await Promise.all(
      nodes.map(
        async ({ netns }) =>
          JSON.parse(await must(['ip', '-n', netns, '-j', '-d', 'link', 'show', 'raven0'])) as {
            address: string;
            linkinfo: { info_data: { local: string } };
          }[],
      ),
    );
    const unique = (values: readonly string[]): void => expect(new Set(values).size).toBe(nodes.length);
    unique(links.map(([link]) => link!.address));
    unique(links.map(([link]) => link!.linkinfo.info_data.local));
    // Nothing else on the device tells nodes apart: the address on it never leaves the machine.
    for (const { netns } of nodes) {
      const shown = await must(['ip', '-n', netns, '-o', 'address', 'show', 'dev', 'raven0']);
      expect(shown.trim().split('\n')).toEqual([expect.stringMatching(/inet 169\.254\.90\.27\/32 scope host/)]);
    }
    const seen = await foreignFrames(
      nodes.find(({ name }) => name === 'b3')!,
      async () => {
        for (const pod of ['pod-b1', 'pod-b2']) await lab!.expectMatrix('--from', pod, '--to', 'pod-a1');
        await lab!.expectMatrix('--from', 'pod-a1', '--to', 'pod-b2');
      },
    );
    expect(seen).toEqual([]);
    await lab.expectMatrix('--from', 'pod-b3', '--to', 'pod-a1');
    await lab.expectMatrix('--from', 'pod-a1', '--to', 'pod-b3');
    expect((await raven('status', '--store', `dir:${(await lab.list()).store}`)).code).toBe(0);
  });
});
