import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FAULTS } from '../../chaos/faults/faults.ts';
import { Rig } from '../../chaos/rig.ts';
import { runRound } from '../../chaos/round.ts';
import { judge, lostIn } from '../../chaos/verdict.ts';

/** A fast selection of `make chaos`, one after the other on one rig. States are asserted; how long they take is for `make chaos` to say. */

const CUT_MS = 5_000;

describe('the rig under pings and TCP streams', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await Rig.up('ipsec', 'dir');
  });
  afterAll(() => rig?.down());

  const hit = async (name: string) => {
    const fault = FAULTS.find((each) => each.name === name)!;
    const round = await runRound(rig, fault, CUT_MS);
    expect(judge(fault, round).failures).toEqual([]);
    return round;
  };

  it.each(['agents-kill', 'agents-replaced'])('loses nothing, and nobody moves: %s (R21, R27)', async (name) => {
    const { pings, pingsHealing } = await hit(name);
    expect([lostIn(pings), lostIn(pingsHealing)]).toEqual([0, 0]);
  });

  it.each(['node-joins', 'power-off', 'forward-drop'])(
    'lets packets pass again, keeps connections, and leaves nothing stale: %s (R20, R24, R26, R27)',
    async (name) => {
      await hit(name);
    },
  );
});
