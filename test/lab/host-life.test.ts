import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addForeign, lostLines, snapshot } from './foreign.ts';
import { eventually, Lab, type LabList, must, RAVEN, run } from './harness.ts';

/** The rest of a host through Raven's whole life on it: start, failover, settings reset by others, stop, kill, cleanup (R27, R28, R29). */

const TOPOLOGY = `
name: life
masquerade: [nft]
rpFilter: strict
regions:
  - name: a
    lan: 203.0.113.0/24
    nodes:
      - {name: a1, ip: 203.0.113.1, gateway: true, publicIp: 203.0.113.1}
  - name: b
    lan: 192.168.1.0/24
    router: {nat: cone, publicIp: 198.51.100.2}
    nodes:
      - {name: b1, gateway: true}
      - {name: b2}
      - {name: b3, gateway: true}
`;

let folder: string;
let lab: Lab;
let list: LabList;
const before = new Map<string, string>();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'raven-life-'));
  const file = join(folder, 'topology.yaml');
  await writeFile(file, TOPOLOGY);
  lab = await Lab.up(file, '--no-raven');
  list = await lab.list();
  for (const { name, netns } of list.nodes) {
    await addForeign(netns);
    before.set(name, await snapshot(netns));
  }
  for (const program of ['controller', ...list.nodes.map(({ name }) => `${name}/agent`)])
    expect((await lab.raven('lab', 'start', program)).code).toBe(0);
  await eventually('all pairs', async () => (await lab.matrix()).ok);
});
afterAll(async () => {
  await lab?.down();
  await rm(folder, { recursive: true, force: true });
});

const netnsOf = (name: string): string => list.nodes.find((node) => node.name === name)!.netns;
const inNode = (name: string, ...argv: [string, ...string[]]): Promise<string> => must(['ip', 'netns', 'exec', netnsOf(name), ...argv]);

async function expectForeignUntouched(): Promise<void> {
  for (const { name, netns } of list.nodes) {
    const now = await snapshot(netns);
    expect([name, lostLines(before.get(name)!, now)]).toEqual([name, []]);
  }
}

/** Somebody else's marks on what comes out of the tunnels, and counters of how they look behind our chains. */
const MARKS = `
table inet others_marks {
  counter kept { }
  counter lost { }
  counter ct_kept { }
  counter ct_lost { }
  chain before_ours {
    type filter hook prerouting priority -170; policy accept;
    iifname "rvn-*" meta mark set 0xff00
    iifname "rvn-*" ct state new ct mark set 0x5500
  }
  chain behind_ours {
    type filter hook prerouting priority -140; policy accept;
    iifname "rvn-*" meta mark & 0x0000ff40 == 0x0000ff40 counter name kept
    iifname "rvn-*" meta mark & 0x0000ff40 != 0x0000ff40 counter name lost
  }
  chain at_the_end {
    type filter hook forward priority 300; policy accept;
    iifname "rvn-*" meta mark & 0x0000ff00 != 0x0000ff00 counter name lost
    iifname "rvn-*" ct state new,established ct mark 0x5500 counter name ct_kept
    iifname "rvn-*" ct state new,established ct mark != 0x5500 counter name ct_lost
  }
}
`;

async function countersOf(node: string): Promise<Record<string, number>> {
  const { nftables } = JSON.parse(await inNode(node, 'nft', '-j', 'list', 'counters', 'table', 'inet', 'others_marks')) as {
    nftables: { counter?: { name: string; packets: number } }[];
  };
  return Object.fromEntries(nftables.flatMap(({ counter }) => (counter === undefined ? [] : [[counter.name, counter.packets]])));
}

describe('the rest of the host', () => {
  it('is untouched while Raven runs (R27)', expectForeignUntouched);

  it('keeps its mark bits, and its conntrack marks, beside ours on packets out of a tunnel (R27)', async () => {
    await must(['ip', 'netns', 'exec', netnsOf('b1'), 'nft', '-f', '-'], MARKS);
    try {
      await lab.expectMatrix('--from', 'pod-a1', '--to', 'pod-b2');
      await lab.expectMatrix('--from', 'pod-a1', '--to', 'pod-b1');
      const { kept, lost, ct_kept: ctKept, ct_lost: ctLost } = await countersOf('b1');
      expect({ lost, ctLost }).toEqual({ lost: 0, ctLost: 0 });
      expect(kept).toBeGreaterThan(100);
      expect(ctKept).toBeGreaterThan(10);
    } finally {
      await inNode('b1', 'nft', 'delete', 'table', 'inet', 'others_marks');
    }
  });

  it('resets rp_filter of all devices, ours too: only ours is set back, within 10 s, and packets pass (R29)', async () => {
    for (const { name } of list.nodes) await inNode(name, 'sh', '-c', 'for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 >$f; done');
    for (const { name } of list.nodes) {
      await eventually(
        `${name} is repaired`,
        async () => {
          const values = await inNode(name, 'sh', '-c', 'for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo "$f $(cat $f)"; done');
          return values
            .trim()
            .split('\n')
            .every((line) => /conf\/(raven0|rvn-[^/]+)\/rp_filter 2$|\/(?!raven0|rvn-)[^/]+\/rp_filter 1$/.test(line));
        },
        10_000,
      );
    }
    await lab.expectMatrix();
  });

  it('is untouched by a failover (R27)', async () => {
    expect((await lab.raven('lab', 'kill', 'b1/kubelet')).code).toBe(0);
    await eventually('b3 is the gateway', async () => (await lab.node('b3')).role === 'gateway');
    await eventually('b1 leaves by it', async () => (await inNode('b1', 'ip', 'nexthop', 'show', 'proto', '82')).includes('dev raven0'));
    await eventually('all pairs', async () => (await lab.matrix()).ok);
    await expectForeignUntouched();
  });

  it('is as before after stop, kill -9 of agent and charon, and cleanup, once and twice (R27, R28)', async () => {
    const pidOf = async (program: string, node: string): Promise<number> =>
      (await lab.node(node)).processes.find((each) => each.program === program)!.pid;
    process.kill(await pidOf('agent', 'b2'), 'SIGTERM');
    for (const program of ['a1/agent', 'a1/charon', 'b1/agent', 'b3/agent']) expect((await lab.raven('lab', 'kill', program)).code).toBe(0);
    await eventually(
      'b2 has stopped',
      async () => (await lab.node('b2')).processes.find(({ program }) => program === 'agent')!.state === 'dead',
    );
    await expectForeignUntouched();
    for (const { name, netns } of list.nodes) {
      const home = `/run/raven-lab/${lab.name}/nodes/${name}`;
      const cleanup = () =>
        run([
          'ip',
          'netns',
          'exec',
          netns,
          RAVEN,
          'agent',
          '--cleanup',
          '--node',
          name,
          '--run-dir',
          `${home}/run`,
          '--state-dir',
          `${home}/state`,
        ]);
      const present = (await inNode(name, 'ip', '-br', 'link')).split('\n').filter((line) => /^(raven0|rvn-)/.test(line));
      const first = await cleanup();
      expect(first.code).toBe(0);
      for (const line of present) expect(first.stdout).toContain(`dev ${line.split(/[\s@]/)[0]}`);
      expect(first.stdout).toMatch(/rule del|nexthop del|delete table inet raven/);
      expect([name, await snapshot(netns)]).toEqual([name, before.get(name)]);
      expect(await cleanup()).toMatchObject({ code: 0, stdout: '' });
      expect(await snapshot(netns)).toBe(before.get(name));
      expect(await run(['ls', `${home}/state/mirror`])).toMatchObject({ stdout: '' });
    }
    // No charon of ours is left in any of them.
    for (const { name } of list.nodes)
      expect((await lab.node(name)).processes.filter(({ program, state }) => program === 'charon' && state === 'running')).toEqual([]);
  });
});
