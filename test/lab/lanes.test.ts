import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, Lab, raven } from './harness.ts';
import { flowing, startPings } from './pings.ts';
import { LANES } from './topologies.ts';

/** Two active endpoints share their region's packets (R44), and when one dies only what it carried moves. */

const PATIENCE_MS = 60_000;

describe.each(['wireguard', 'ipsec'])('two active endpoints, with %s', (driver) => {
  let lab: Lab;
  let dir: string;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'raven-lanes-'));
    await writeFile(join(dir, 'lanes.yaml'), LANES);
    lab = await Lab.up(join(dir, 'lanes.yaml'), '--vpn-driver', driver);
    await eventually('packets go as planned', () => taken({ 'b2 a2': 'b1 a1', 'b2 c2': 'b3 c1', 'b2 d1': 'b1 a1', 'c2 a2': 'c1 a3' }));
  });
  afterAll(async () => {
    await lab?.down();
    await rm(dir, { recursive: true, force: true });
  });

  /** Whether pods on two nodes reach each other by the gateways named. */
  async function taken(ways: Readonly<Record<string, string>>): Promise<boolean> {
    for (const [pair, way] of Object.entries(ways)) {
      const [from = '', to = ''] = pair.split(' ');
      const { pairs } = await lab.matrix('--from', from, '--to', to, '--bytes', '1000');
      const found = pairs.map(({ path, ok }) => `${ok} ${path.filter((node) => node !== from && node !== to).join(' ')}`);
      if (found.join() !== `true ${way}`) throw new Error(`${pair}: ${found.join()}`);
    }
    return true;
  }

  const status = async (): Promise<string> => (await raven('status', '--store', `dir:${(await lab.list()).store}`)).stdout;
  const ends = ([from, to]: readonly [string, string]) => Promise.all([startPings(lab, [from, to]), startPings(lab, [to, from])]);

  it.each([
    { dies: 'b3', moves: ['b2', 'c2'], stays: ['b2', 'a2'], way: { 'b2 a2': 'b1 a1', 'b2 c2': 'b1 c1' } },
    { dies: 'a1', moves: ['b2', 'a2'], stays: ['c2', 'a2'], way: { 'b2 a2': 'b1 a3', 'c2 a2': 'c1 a3', 'b2 d1': 'b1 a3' } },
  ] as const)('move only what $dies carried when it dies, and take it back when it returns', async ({ dies, moves, stays, way }) => {
    const [moving, staying] = [await ends(moves), await ends(stays)];
    try {
      await lab.raven('lab', 'kill', dies);
      await flowing([...moving, ...staying], PATIENCE_MS);
    } finally {
      const figures = await Promise.all(moving.map((each) => each.end()));
      const lost = await Promise.all(staying.map((each) => each.end().then((ended) => ended.lost)));
      process.stdout.write(
        `${driver}, ${dies} off: ${moves.join(' ↔ ')} ${figures.map(({ outageMs }) => `${outageMs.toFixed(0)} ms`).join(', ')}\n`,
      );
      expect(lost).toEqual([0, 0]);
    }
    await eventually('packets go by the other one', () => taken(way), PATIENCE_MS);
    await eventually(
      'the controller knows',
      async () => !(await status()).includes(`${dies},`) && !(await status()).includes(`,${dies}`),
      PATIENCE_MS,
    );
    const [returning, others] = [await ends(moves), await ends(stays)];
    try {
      await eventually(`${dies} starts`, async () => (await lab.raven('lab', 'start', dies)).code === 0);
      await eventually(
        'packets go as before',
        () => taken({ 'b2 a2': 'b1 a1', 'b2 c2': 'b3 c1', 'c2 a2': 'c1 a3', 'b2 d1': 'b1 a1' }),
        PATIENCE_MS,
      );
    } finally {
      const back = await Promise.all(returning.map((each) => each.end()));
      const lost = await Promise.all(others.map((each) => each.end().then((ended) => ended.lost)));
      process.stdout.write(`${driver}, ${dies} back: ${moves.join(' ↔ ')} ${back.map((each) => `${each.lost} lost`).join(', ')}\n`);
      expect(lost).toEqual([0, 0]);
    }
  });

  it('let every pair of pods through, and are told of', async () => {
    await lab.expectMatrix('--bytes', '1000');
    expect(await status()).toMatch(/^b1 +c1 +c +Up +direct; carried by b3 /m);
    expect(await status()).toMatch(/^b1 +a1 +a +Up +direct {2,}/m);
  });
});
