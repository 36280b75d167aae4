import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually, Lab, type LabList, run } from './harness.ts';
import { commandsOf, conditionOf, findingsIn, loggedFinding, resync, type } from './hosts.ts';

/** Hosts with firewalls of their own, as Docker, firewalld and ufw set them up (R30). Raven opens nothing; it says what to open. */

const TOPOLOGY = `
name: firewalls
masquerade: [nft]
regions:
  - name: a
    lan: 203.0.113.0/24
    nodes:
      - {name: a1, ip: 203.0.113.1, gateway: true, publicIp: 203.0.113.1}
      - {name: a2, ip: 203.0.113.2}
  - name: b
    lan: 192.168.1.0/24
    router: {nat: cone, publicIp: 198.51.100.2}
    nodes:
      - {name: b1, gateway: true}
`;
/** From the moment at which somebody opened it. */
const GONE_MS = 10_000;

let folder: string;
let lab: Lab;
let list: LabList;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'raven-firewalls-'));
  const file = join(folder, 'topology.yaml');
  await writeFile(file, TOPOLOGY);
  lab = await Lab.up(file);
  list = await lab.list();
});
afterAll(async () => {
  await lab?.down();
  await rm(folder, { recursive: true, force: true });
});
afterEach(async () => {
  for (const { netns } of list?.nodes ?? []) {
    for (const tool of ['iptables-legacy', 'iptables-nft']) {
      for (const chain of ['FORWARD', 'INPUT'])
        await run(['ip', 'netns', 'exec', netns, 'sh', '-c', `${tool} -w -P ${chain} ACCEPT; ${tool} -w -F ${chain}`]);
      await run(['ip', 'netns', 'exec', netns, 'sh', '-c', `${tool} -w -F; ${tool} -w -X`]);
    }
    await run(['ip', 'netns', 'exec', netns, 'nft', 'delete', 'table', 'inet', 'firewalld']);
  }
  await Promise.all(
    list.nodes.map(({ netns, name }) =>
      eventually(`${name} has no finding`, async () => {
        const found = await findingsIn(netns);
        if (found.length > 0) resync(list, name);
        return found.length === 0;
      }),
    ),
  );
});

const netnsOf = (name: string): string => list.nodes.find((node) => node.name === name)!.netns;
const logOf = (name: string): string =>
  list.nodes.find((node) => node.name === name)!.processes.find(({ program }) => program === 'agent')!.log;

/** What Docker 27 leaves in table filter, and kube-proxy's own accept rules behind it. */
function docker(iptables: string): string[] {
  return [
    '-N DOCKER',
    '-N DOCKER-USER',
    '-N KUBE-FORWARD',
    '-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT',
    '-A DOCKER-USER -j RETURN',
    '-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP',
    '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT',
    '-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
    '-A FORWARD -j DOCKER-USER',
    '-A FORWARD -j KUBE-FORWARD',
    '-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
    '-A FORWARD -o docker0 -j DOCKER',
    '-A FORWARD -i docker0 ! -o docker0 -j ACCEPT',
    '-P FORWARD DROP',
  ].map((rule) => `${iptables} -w ${rule}`);
}

const FIREWALLD = `
table inet firewalld {
  chain filter_FORWARD {
    type filter hook forward priority filter + 10; policy drop;
    ct state { established, related } accept
    ct status dnat accept
    iifname "lo" accept
    jump filter_FORWARD_POLICIES
    ct state invalid drop
    reject with icmpx admin-prohibited
  }
  chain filter_FORWARD_POLICIES {
    iifname "docker0" accept
  }
}
`;

/** Waits for the finding on gateway and ordinary node, opens it with the very commands that it names, and waits until it is gone. */
const BETWEEN: readonly (readonly string[])[] = [
  ['--from', 'a', '--to', 'b'],
  ['--from', 'b', '--to', 'a'],
];

/** Between the regions only: what passes inside of them is not Raven's. */
async function expectCrossing(): Promise<void> {
  for (const direction of BETWEEN) await lab.expectMatrix(...direction);
}

/** Waits until the agent tells it; asks it to look at once. */
async function eventuallyTold(node: string, reason: string): Promise<void> {
  await eventually(`${node} says ${reason}`, async () => {
    const found = (await findingsIn(netnsOf(node))).includes(reason);
    if (!found) resync(list, node);
    return found;
  });
}

async function followAdvice(expected: RegExp): Promise<void> {
  const messages = await Promise.all(
    (['a1', 'a2'] as const).map(async (node) => {
      await eventuallyTold(node, 'ForwardDropped');
      return { node, message: (await loggedFinding(logOf(node), 'ForwardDropped'))! };
    }),
  );
  const condition = await conditionOf(list.store, 'tunnelendpoint', 'a1', 'PlanComplete');
  expect(condition).toMatchObject({ status: 'False', reason: 'ForwardDropped' });
  expect(condition!.message).toBe(messages[0]!.message);
  const [from, to] = [list.pods.find(({ node }) => node === 'a2')!, list.pods.find(({ node }) => node === 'b1')!];
  expect((await run(['ip', 'netns', 'exec', from.netns, 'ping', '-c', '1', '-W', '1', to.ips[0]!])).code).not.toBe(0);
  for (const { node, message } of messages) {
    expect(message).toMatch(expected);
    expect(commandsOf(message).length).toBeGreaterThan(0);
    for (const line of commandsOf(message)) await type(netnsOf(node), line);
  }
  await Promise.all(
    messages.map(({ node }) => eventually(`${node} is open`, async () => (await findingsIn(netnsOf(node))).length === 0, GONE_MS)),
  );
  await eventually(
    'the condition',
    async () => (await conditionOf(list.store, 'tunnelendpoint', 'a1', 'PlanComplete'))?.status === 'True',
    GONE_MS,
  );
  await expectCrossing();
}

describe('a firewall of the host (R30)', () => {
  it.each(['iptables-legacy', 'iptables-nft'])(
    'that drops what is forwarded, as Docker has it in %s: the advice opens it',
    async (iptables) => {
      for (const node of ['a1', 'a2']) for (const line of docker(iptables)) await type(netnsOf(node), line);
      await followAdvice(new RegExp(`${iptables} table filter, chain FORWARD \\(policy drop\\)`));
    },
  );

  it("that drops in a base chain of its own, as firewalld: our table's accept could not help, the advice does", async () => {
    for (const node of ['a1', 'a2']) await type(netnsOf(node), `nft -f - <<'EOF'\n${FIREWALLD}\nEOF`);
    await followAdvice(/nft table inet firewalld, chain filter_FORWARD/);
  });

  it('that lets pods and tunnels pass raises no alarm, and Raven changes nothing of it', async () => {
    for (const node of ['a1', 'a2']) {
      for (const line of docker('iptables-nft')) await type(netnsOf(node), line);
      for (const end of ['-s', '-d']) await type(netnsOf(node), `iptables-nft -w -A FORWARD ${end} 10.244.0.0/16 -j ACCEPT`);
      // Tells that the rules were looked at.
      await type(netnsOf(node), 'iptables-nft -w -A INPUT -p udp --dport 4472 -j DROP');
    }
    const before = await type(netnsOf('a1'), 'iptables-nft-save -t filter');
    for (const node of ['a1', 'a2']) await eventuallyTold(node, 'InputDropped');
    for (const node of ['a1', 'a2']) expect(await findingsIn(netnsOf(node))).toEqual(['InputDropped']);
    for (const node of ['a1', 'a2']) await type(netnsOf(node), 'iptables-nft -w -D INPUT -p udp --dport 4472 -j DROP');
    await expectCrossing();
    const counters = /\[\d+:\d+\]|^#.*$/gm;
    expect((await type(netnsOf('a1'), 'iptables-nft-save -t filter')).replaceAll(counters, '')).toBe(
      before.replaceAll(counters, '').replace('-A INPUT -p udp -m udp --dport 4472 -j DROP\n', ''),
    );
  });

  it('that closes the ports of tunnels and of raven0, as ufw: each is named with its command', async () => {
    for (const node of ['a1', 'a2']) {
      for (const rule of [
        '-A INPUT -i lo -j ACCEPT',
        '-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
        '-N ufw-not-local',
        '-A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN',
        '-A ufw-not-local -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix "[UFW BLOCK] "',
        '-A ufw-not-local -j DROP',
        '-A INPUT -j ufw-not-local',
        '-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT',
        '-P INPUT DROP',
      ])
        await type(netnsOf(node), `iptables-nft -w ${rule}`);
    }
    const advice = async (node: string): Promise<string[]> => {
      await eventuallyTold(node, 'InputDropped');
      return commandsOf((await loggedFinding(logOf(node), 'InputDropped'))!);
    };
    const command = (port: number): string => `iptables-nft -I INPUT -p udp --dport ${port} -j ACCEPT`;
    expect(await advice('a1')).toEqual([command(4472), command(4500), command(4473)]);
    expect(await advice('a2')).toEqual([command(4472)]);
    for (const node of ['a1', 'a2']) for (const line of await advice(node)) await type(netnsOf(node), line);
    for (const node of ['a1', 'a2'])
      await eventually(`${node} is open`, async () => (await findingsIn(netnsOf(node))).length === 0, GONE_MS);
    await expectCrossing();
  });
});
