import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { espMtuOf, eventually, must, RAVEN, run } from '../lab/harness.ts';
import { MTUS } from '../lab/topologies.ts';
import { createTap } from './tap.ts';
import { assertKernelDataPath, withLab } from './vm-lab.ts';

/** The rig under a distribution kernel: ESP and XFRM interfaces instead of the user-space data path. */

const tap = createTap((line) => process.stdout.write(line));
/** Each kind of way once; `make test-kernel-matrix` tries all of them. */
const PAIRS = [
  ['pod-b2', 'a'],
  ['pod-a2', 'b'],
  ['pod-b2', 'c'],
  ['pod-c1', 'pod-b1'],
] as const;

await withLab('rig', async (lab) => {
  const list = await lab.list();
  const { nodes } = list;
  const node = (name: string) => {
    const found = nodes.find((each) => each.name === name);
    if (found === undefined) throw new Error(`no node ${name}`);
    return found;
  };
  await tap.test('uses kernel ESP and XFRM interfaces on every gateway', () => assertKernelDataPath(list));
  await tap.test(
    "carries ICMP, TCP and UDP with the pods' own source: ordinary node and gateway, direct and relayed (R1, R6)",
    async () => {
      // One pair at a time: two emulated processors cannot give two dozen programs their turn within a datagram's patience.
      for (const [from, to] of PAIRS) await lab.expectMatrix('--concurrency', '1', '--from', from, '--to', to);
    },
  );
  await tap.test('is not misled by a rule that accepts established packets first of all in mangle (R2)', async () => {
    const rule = ['PREROUTING', '-m', 'conntrack', '--ctstate', 'RELATED,ESTABLISHED', '-j', 'ACCEPT'];
    const inEach = (verb: string) =>
      Promise.all(
        ['a1', 'a2', 'b1', 'b2'].map((name) =>
          must(['ip', 'netns', 'exec', node(name).netns, 'iptables-nft', '-w', '-t', 'mangle', verb, ...rule]),
        ),
      );
    await inEach('-I');
    try {
      await lab.expectMatrix('--from', 'pod-a2', '--to', 'pod-b2', '--bytes', '10485760');
    } finally {
      await inEach('-D');
    }
  });
  await tap.test('writes nothing in resyncs without change (R25)', async () => {
    const b1 = node('b1');
    const log = b1.processes.find(({ program }) => program === 'agent')?.log ?? '';
    await lab.settled(b1);
    const before = (await must(['cat', log])).split('\n').length - 1;
    const pid = b1.processes.find(({ program }) => program === 'agent')?.pid ?? 0;
    for (let i = 1; i <= 10; i++) {
      process.kill(pid, 'SIGHUP');
      await eventually(
        'a resync',
        async () =>
          (await must(['cat', log]))
            .split('\n')
            .slice(before)
            .filter((line) => line.includes('"resync"')).length >= i,
      );
    }
    const other = (await must(['cat', log]))
      .split('\n')
      .slice(before)
      .filter((line) => line !== '' && !line.includes('"resync"'));
    if (other.length > 0) throw new Error(`the agent did more than look:\n${other.join('\n')}`);
  });
  await tap.test("leaves the host's own IPsec as it is, running, killed and cleaned up (R27, R28)", async () => {
    const c1 = node('c1');
    const inside = (...argv: [string, ...string[]]): Promise<string> => must(['ip', 'netns', 'exec', c1.netns, ...argv]);
    const addresses = ['src', '172.30.0.1', 'dst', '172.30.0.2'];
    const key = `0x${'11'.repeat(20)}`;
    await inside(
      'ip',
      'xfrm',
      'state',
      'add',
      ...addresses,
      'proto',
      'esp',
      'spi',
      '0x77',
      'mode',
      'tunnel',
      'aead',
      'rfc4106(gcm(aes))',
      key,
      '128',
      'if_id',
      '7',
    );
    await inside(
      'ip',
      'xfrm',
      'policy',
      'add',
      'src',
      '172.30.1.0/24',
      'dst',
      '172.30.2.0/24',
      'dir',
      'out',
      'tmpl',
      ...addresses,
      'proto',
      'esp',
      'mode',
      'tunnel',
    );
    await inside('ip', 'link', 'add', 'office', 'type', 'xfrm', 'dev', 'lo', 'if_id', '7');
    const foreign = async (): Promise<string> =>
      [
        await inside('ip', 'xfrm', 'state', 'get', ...addresses, 'proto', 'esp', 'spi', '0x77'),
        await inside('ip', 'xfrm', 'policy', 'get', 'src', '172.30.1.0/24', 'dst', '172.30.2.0/24', 'dir', 'out'),
        await inside('ip', '-d', 'link', 'show', 'office'),
      ].join('\n');
    const before = await foreign();
    const unchanged = async (when: string): Promise<void> => {
      const now = await foreign();
      if (now !== before) throw new Error(`${when}:\n${before}\n→\n${now}`);
    };
    process.kill(c1.processes.find(({ program }) => program === 'agent')?.pid ?? 0, 'SIGKILL');
    await unchanged('after kill -9');
    await lab.raven('lab', 'start', 'c1/agent');
    await eventually('traffic', async () => (await lab.matrix('--from', 'pod-c1', '--to', 'pod-a1')).ok);
    await unchanged('after a restart');
    await lab.raven('lab', 'kill', 'c1/agent');
    const home = `/run/raven-lab/${lab.name}/nodes/c1`;
    await inside(RAVEN, 'agent', '--cleanup', '--node', 'c1', '--run-dir', `${home}/run`, '--state-dir', `${home}/state`);
    await unchanged('after cleanup');
    const left = [await inside('ip', 'xfrm', 'state'), await inside('ip', 'xfrm', 'policy'), await inside('ip', '-d', 'link')].join('\n');
    if (/0x52[0-9a-f]{6}|raven0|rvn-/.test(left)) throw new Error(`left behind:\n${left}`);
    await lab.raven('lab', 'start', 'c1/agent');
    await eventually('traffic again', async () => (await lab.matrix('--from', 'pod-c1', '--to', 'pod-a1')).ok);
  });
  await tap.test('repairs a route, a next hop, a tunnel device and an SA that were deleted by hand (R25)', async () => {
    const b1 = node('b1');
    const damage: [string, ...string[]][] = [
      ['ip', 'route', 'del', node('a2').podCIDR, 'table', '9027'],
      ['ip', 'nexthop', 'flush', 'proto', '82'],
      ['ip', 'link', 'del', 'rvn-a1'],
      ['ip', 'xfrm', 'state', 'flush'],
      ['ip', 'xfrm', 'policy', 'flush'],
    ];
    const pod = (await lab.podOn('b2')).netns;
    const target = (await lab.podOn('a2')).ips[0] ?? '';
    for (const argv of damage) {
      await must(['ip', 'netns', 'exec', b1.netns, ...argv]);
      await lab.settled(b1);
      await eventually(
        `traffic after ${argv.join(' ')}`,
        async () => (await run(['ip', 'netns', 'exec', pod, 'ping', '-n', '-c', '1', '-W', '2', target])).code === 0,
      );
    }
  });
});

const folder = await mkdtemp(join(tmpdir(), 'raven-kernel-'));
await writeFile(join(folder, 'mtus.yaml'), MTUS);
await withLab(join(folder, 'mtus.yaml'), async (lab) => {
  await tap.test('fits every underlay although ICMP is dropped on the way, also relayed (R10)', async () => {
    for (const [from, to] of [
      ['b2', 'a2'],
      ['c2', 'a2'],
      ['b2', 'c2'],
    ] as const) {
      await lab.expectMatrix('--from', `pod-${from}`, '--to', `pod-${to}`, '--bytes', '10485760');
    }
  });
  await tap.test('passes packets of exactly the tunnel MTU and says "too big" to one byte more (R10)', async () => {
    for (const [from, to, underlay] of [
      ['b2', 'a2', 1400],
      ['b2', 'c2', 1300],
    ] as const) {
      const source = await lab.podOn(from);
      const target = (await lab.podOn(to)).ips[0] ?? '';
      const ping = (bytes: number) =>
        run(['ip', 'netns', 'exec', source.netns, 'ping', '-n', '-c', '3', '-W', '5', '-M', 'do', '-s', String(bytes - 28), target]);
      await ping(underlay);
      await ping(underlay);
      const limit = espMtuOf(underlay);
      const fits = await ping(limit);
      if (fits.code !== 0) throw new Error(`${from} → ${to}: ${limit} bytes do not pass\n${fits.stdout}${fits.stderr}`);
      const over = await ping(limit + 1);
      if (!/Frag needed|message too long/.test(over.stdout + over.stderr))
        throw new Error(`${from} → ${to}: ${limit + 1} bytes: nobody said that it is too big\n${over.stdout}`);
    }
  });
});
await rm(folder, { recursive: true, force: true });
process.exitCode = tap.end();
