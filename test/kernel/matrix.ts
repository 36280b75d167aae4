import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Lab, type LabList, must } from '../lab/harness.ts';
import { createTap } from './tap.ts';
import { assertKernelDataPath, withLab } from './vm-lab.ts';

/**
 * Every driver with every family, direct and relayed, over links that delay and lose, on the kernel that runs: what `make test-kernel-matrix`
 * does on each kernel. Runs in the virtual machine.
 */

const DELAY_AND_LOSS = ['delay', '30ms', 'loss', '1%'];
/** A relayed stream meets the loss twice each way and moves a megabyte in half a minute; this much meets as many kinds of packets. */
const TCP_BYTES = 256 << 10;
/** Two regions that have to be relayed to each other by a third. Each node is some ten seconds of a lab's start here. */
const TOPOLOGY = (pods: Pods): string => `
name: matrix
clusterCidr: ${JSON.stringify(pods.cluster)}
masquerade: [nft]
rpFilter: strict
regions:
  - name: a
    lan: 203.0.113.0/24
    nodes: [{name: a1, ip: 203.0.113.1, gateway: true, publicIp: 203.0.113.1}, {name: a2, ip: 203.0.113.2}]
  - name: b
    lan: 192.168.1.0/24
    router: {nat: cone, publicIp: 198.51.100.2}
    nodes: [{name: b1, ip: 192.168.1.10, gateway: true}, {name: b2, ip: 192.168.1.11}]
  - name: c
    lan: 192.168.1.0/24
    router: {nat: symmetric, publicIp: 198.51.100.3}
    nodes: [{name: c1, ip: 192.168.1.10, gateway: true}]
`;

interface Pods {
  readonly name: string;
  readonly cluster: readonly string[];
}
const PODS: readonly Pods[] = [
  { name: 'IPv4', cluster: ['10.244.0.0/16'] },
  { name: 'dual stack', cluster: ['10.244.0.0/16', 'fd00:10:244::/48'] },
];
const DRIVERS = ['ipsec', 'wireguard'] as const;
const WAYS = [
  { name: 'direct', ends: ['a2', 'b2'], path: ['a1', 'b1'] },
  { name: 'relayed', ends: ['b2', 'c1'], path: ['b1', 'a1'] },
] as const;

const tap = createTap((line) => process.stdout.write(line));
const folder = await mkdtemp(join(tmpdir(), 'raven-matrix-'));
for (const driver of DRIVERS) {
  for (const pods of PODS) {
    const file = join(folder, 'matrix.yaml');
    await writeFile(file, TOPOLOGY(pods));
    const title = `${driver}, ${pods.name}`;
    await withLab(
      file,
      async (lab) => {
        const list = await lab.list();
        await tap.test(`${title}: tunnels in the kernel`, () => assertKernelDataPath(list));
        await worsen(list);
        for (const { name, ends, path } of WAYS) {
          await tap.test(`${title}, ${name}: ICMP, TCP and UDP both ways, own source, ${DELAY_AND_LOSS.join(' ')}`, () =>
            expectBothWays(lab, ends, path, pods.cluster.length),
          );
        }
      },
      '--vpn-driver',
      driver,
    ).catch((error: unknown) => tap.test(`${title}: the lab comes up`, () => Promise.reject(error as Error)));
  }
}
await rm(folder, { recursive: true, force: true });
process.exitCode = tap.end();

/** Every packet between two regions leaves one router, so it meets this once; a relayed one twice. */
async function worsen({ routers }: LabList): Promise<void> {
  for (const { netns } of routers)
    await must(['ip', 'netns', 'exec', netns, 'tc', 'qdisc', 'add', 'dev', 'wan', 'root', 'netem', ...DELAY_AND_LOSS]);
}

/** Both at a time: over such links it is mostly waiting. */
async function expectBothWays(lab: Lab, [a, b]: readonly [string, string], gateways: readonly string[], families: number): Promise<void> {
  await Promise.all([expectWay(lab, [a, ...gateways, b], families), expectWay(lab, [b, ...gateways.toReversed(), a], families)]);
}

async function expectWay(lab: Lab, nodes: readonly string[], families: number): Promise<void> {
  const [from = '', to = ''] = [nodes[0], nodes.at(-1)];
  const ends = ['--from', `pod-${from}`, '--to', `pod-${to}`];
  const { pairs } = await lab.expectMatrix(...ends, '--concurrency', '1', '--bytes', String(TCP_BYTES));
  if (pairs.length !== families) throw new Error(`${from} → ${to}: ${pairs.length} families measured instead of ${families}`);
  const way = pairs[0]?.path.join() ?? '';
  if (way !== nodes.join()) throw new Error(`${from} → ${to} went by ${way}`);
}
