import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, Lab } from './harness.ts';
import { flowing, startPings } from './pings.ts';
import { exitOfB2, FAULTS } from './reroute-faults.ts';

/** Nobody but the nodes themselves: the controller is dead when things happen to the endpoint that carries for b, b1 or b3 (R20, R22). */

const PATIENCE_MS = 60_000;

describe.each(['wireguard', 'ipsec'])('without a controller, with %s', (driver) => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await Lab.up('rig', '--vpn-driver', driver);
    expect((await lab.raven('lab', 'kill', 'controller')).code).toBe(0);
  });
  afterAll(() => lab?.down());

  /** b1, and b3 in turns: nobody calls packets back. */
  const carrier = () =>
    eventually('an endpoint carries', async () => ['b1', 'b3'].includes(await exitOfB2(lab)) && exitOfB2(lab), PATIENCE_MS, 50);

  it.each(FAULTS.filter(({ moves }) => !moves))('keeps the endpoint and loses nothing: $name', async ({ cause, cure }) => {
    const node = await carrier();
    const pings = [await startPings(lab, ['b2', 'a2']), await startPings(lab, ['a2', 'b2'])];
    try {
      await cause(lab, node);
      // Three times as long as any verdict takes.
      for (let i = 0; i < 3; i++) await flowing(pings, PATIENCE_MS);
      expect(await exitOfB2(lab)).toBe(node);
      await cure(lab, node);
      for (let i = 0; i < 3; i++) await flowing(pings, PATIENCE_MS);
      expect(await exitOfB2(lab)).toBe(node);
    } finally {
      expect((await Promise.all(pings.map((each) => each.end()))).map(({ lost }) => lost)).toEqual([0, 0]);
    }
  });

  it.each(FAULTS.filter(({ moves }) => moves))('moves to the other endpoint, and stays there: $name', async ({ name, cause, cure }) => {
    const node = await carrier();
    const other = node === 'b1' ? 'b3' : 'b1';
    const pings = [await startPings(lab, ['b2', 'a2']), await startPings(lab, ['a2', 'b2'])];
    const figures: string[] = [];
    try {
      await cause(lab, node);
      await flowing(pings, PATIENCE_MS);
      expect(await exitOfB2(lab)).toBe(other);
      for (const name of ['a1', 'b2', other]) await lab.settled(await lab.node(name));
    } finally {
      for (const each of pings) figures.push(await each.end().then(({ outageMs, lost }) => `${outageMs.toFixed(0)} ms, ${lost} lost`));
    }
    process.stdout.write(`${driver}, ${name}: b2 → a2 ${figures.join('; a2 → b2 ')}\n`);
    const after = [await startPings(lab, ['b2', 'a2']), await startPings(lab, ['a2', 'b2'])];
    try {
      await cure(lab, node);
      for (let i = 0; i < 3; i++) await flowing(after, PATIENCE_MS);
      expect(await exitOfB2(lab)).toBe(other);
    } finally {
      expect((await Promise.all(after.map((each) => each.end()))).map(({ lost }) => lost)).toEqual([0, 0]);
    }
    await eventually('every pair', async () => (await lab.matrix('--from', 'b', '--to', 'a')).ok, PATIENCE_MS);
  });
});
