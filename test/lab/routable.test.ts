import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { captured } from './capture.ts';
import { eventually, Lab, type LabList, raven } from './harness.ts';
import { lostDuring } from './pings.ts';
import { ROUTABLE } from './topologies.ts';

/** Regions that need no tunnel between them (R14). */

let folder: string;
let lab: Lab;
let list: LabList;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'raven-routable-'));
  const file = join(folder, 'topology.yaml');
  await writeFile(file, ROUTABLE);
  lab = await Lab.up(file);
  list = await lab.list();
});
afterAll(async () => {
  await lab?.down();
  await rm(folder, { recursive: true, force: true });
});

interface Link {
  readonly from: string;
  readonly peer: string;
  readonly state: string;
  readonly path: string;
  readonly encryption?: string;
}

async function links(): Promise<string[]> {
  const { stdout } = await raven('status', '--store', `dir:${list.store}`, '-o', 'json');
  const { tunnels } = JSON.parse(stdout) as { tunnels: Link[] };
  return tunnels.map(({ from, peer, state, path, encryption = 'yes' }) => `${from}-${peer} ${state} ${path} ${encryption}`);
}

const PLAIN = [
  'a1-b1 Up direct yes',
  'a1-d1 Up direct none',
  'b1-a1 Up direct yes',
  'b1-d1 Up relay none',
  'd1-a1 Up direct none',
  'd1-b1 Up relay none',
];
const ENCRYPTED = PLAIN.map((link) => link.replace('none', 'yes'));

/** What the internet carries while `work` runs, a line a packet. */
const onTheInternet = (work: () => Promise<unknown>): Promise<string[]> =>
  captured({ netns: `raven-${lab.name}-internet`, dev: 'any', filter: ['ip'] }, work);

const between = (lines: readonly string[], a: string, b: string) =>
  lines.filter((line) => line.includes(`${a}.`) && line.includes(`${b}.`));

async function mark(value: string): Promise<void> {
  const file = join(list.store, 'gateways.yaml');
  const text = await readFile(file, 'utf8');
  await writeFile(file, text.replaceAll(/routable-domain: .*/g, `routable-domain: ${value}`));
}

describe('routable regions', () => {
  it('are connected like all others, and say that they are not encrypted', async () => {
    await eventually('all links', async () => (await links()).join() === PLAIN.join());
    await lab.expectMatrix();
    for (const name of ['a1', 'a2', 'd1', 'd2']) await lab.settled(await lab.node(name));
    expect((await raven('status', '--store', `dir:${list.store}`)).stdout).toMatch(/a1 +d1 +d +Up +direct, not encrypted/);
  });

  it('send plain VXLAN between their gateways and nothing else, while other regions see only IPsec', async () => {
    const lines = await onTheInternet(async () => {
      await lab.expectMatrix('--from', 'pod-a2', '--to', 'pod-d2', '--bytes', '10000');
      await lab.expectMatrix('--from', 'pod-a2', '--to', 'pod-b2', '--bytes', '10000');
    });
    const plain = between(lines, '203.0.113.1', '10.9.0.10').filter((line) => !line.includes('ICMP'));
    expect(plain.length).toBeGreaterThan(20);
    expect(plain.filter((line) => !/\.4472: UDP/.test(line))).toEqual([]);
    const encrypted = between(lines, '203.0.113.1', '198.51.100.2');
    expect(encrypted.length).toBeGreaterThan(20);
    expect(encrypted.filter((line) => !/\.4500: /.test(line))).toEqual([]);
    // Pods' addresses never stand outside.
    expect(lines.filter((line) => /^\S+ \S+ +(In|Out) +IP 10\.244\./.test(line))).toEqual([]);
  });

  it('lose at most a second of packets when the mark goes and comes back', async () => {
    for (const [value, wanted] of [
      ['""', ENCRYPTED],
      ['vpc-1', PLAIN],
      ['""', ENCRYPTED],
    ] as const) {
      const { sent, lost } = await lostDuring(lab, ['a2', 'd2'], async () => {
        await mark(value);
        await eventually(`links with ${value}`, async () => (await links()).join() === wanted.join());
      });
      console.log(`routable-domain ${value}: ${lost} of ${sent} packets lost at 100/s`);
      expect(lost).toBeLessThanOrEqual(100);
      await lab.expectMatrix();
    }
    const lines = await onTheInternet(() => lab.expectMatrix('--from', 'pod-a2', '--to', 'pod-d2', '--bytes', '10000'));
    expect(between(lines, '203.0.113.1', '10.9.0.10').filter((line) => !/\.4500: |ICMP/.test(line))).toEqual([]);
    for (const name of ['a1', 'a2', 'd1', 'd2']) await lab.settled(await lab.node(name));
  });
});
