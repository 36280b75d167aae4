import { describe, expect, it } from 'vitest';
import { drawFaults, type Fault } from './faults.ts';
import { type History, playHistory } from './history.ts';
import { shrinkFaults } from './shrink.ts';
import { drawWorld } from './world.ts';

/** A share of `make simulate`, which plays 10,000: half a minute of one core. */
const HISTORIES = 250;
const TIMEOUT_MS = 600_000;

const fault = (kind: Fault['kind'], target: string, atMs: number): Fault => ({ kind, target, atMs, forMs: 8_000, keepsChoices: true });
const violated = ({ violations }: History): string[] => violations.map(({ invariant, text }) => `${invariant}: ${text}`);

describe('the simulation', () => {
  it(
    `finds nothing violated in ${HISTORIES} histories`,
    async () => {
      const failed: string[] = [];
      for (let seed = 1; seed <= HISTORIES; seed++) {
        const texts = violated(await playHistory({ seed }));
        failed.push(...texts.map((text) => `node test/simulation/run.ts --seed ${seed}: ${text}`));
      }
      expect(failed).toEqual([]);
    },
    TIMEOUT_MS,
  );

  /** The last that failed and were mended, each for a reason of its own. */
  it.each([3971, 5641, 6732, 8318, 8848, 10_170])('finds nothing violated any more in history %i', async (seed) => {
    expect(violated(await playHistory({ seed }))).toEqual([]);
  });

  it('plays the same history at each time, and another one for another seed', async () => {
    const digests = [];
    for (const seed of [7, 7, 8]) digests.push((await playHistory({ seed })).digest);
    expect(digests[1]).toBe(digests[0]);
    expect(digests[2]).not.toBe(digests[0]);
  });

  it('notices when nodes do not hear that an endpoint does not forward', async () => {
    const texts: string[] = [];
    for (let seed = 1; seed <= 40 && texts.length === 0; seed++)
      texts.push(...violated(await playHistory({ seed, spoil: (flags) => flags & ~2 })));
    expect(texts.join()).toMatch(/^(loop|reachable): /);
  });

  it('draws other worlds and faults from other seeds, and the same from the same', () => {
    expect(drawWorld(3)).toEqual(drawWorld(3));
    expect(drawFaults(3, drawWorld(3))).toEqual(drawFaults(3, drawWorld(3)));
    expect(drawFaults(4, drawWorld(4))).not.toEqual(drawFaults(3, drawWorld(3)));
  });
});

describe('shrinking', () => {
  it('leaves out what is not needed to fail', async () => {
    const [power, api, uplink] = [fault('power', 'a1', 1), fault('api', 'a1', 2), fault('uplink', 'b1', 3)];
    const fails = async (faults: readonly Fault[]): Promise<boolean> => faults.includes(power) && faults.includes(uplink);
    expect(await shrinkFaults([power, api, uplink], fails)).toEqual([power, uplink]);
  });
});
