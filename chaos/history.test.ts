import { fc, test } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import { FAULTS } from './faults/faults.ts';
import { chooseHistory, LANES } from './history.ts';

const seeds = fc.integer({ min: 0, max: 0xff_ff_ff_ff });
const faults = fc.subarray([...FAULTS], { minLength: 1 });

describe('chooseHistory', () => {
  test.prop([seeds, faults])('is the same for the same seed', (seed, some) => {
    expect(chooseHistory(seed, 60_000, some)).toEqual(chooseHistory(seed, 60_000, some));
  });

  test.prop([seeds, faults])('lets every fault happen once in each lane before any happens again', (seed, some) => {
    const lanes = chooseHistory(seed, 60_000, some);
    expect(lanes).toHaveLength(LANES);
    for (const steps of lanes) expect(new Set(steps.slice(0, some.length).map(({ fault }) => fault.name)).size).toBe(some.length);
  });

  test.prop([seeds, faults, fc.integer({ min: 1_000, max: 3_000_000 })])('lasts until the end', (seed, some, durationMs) => {
    for (const steps of chooseHistory(seed, durationMs, some)) expect(steps.length * 1_000).toBeGreaterThanOrEqual(durationMs);
  });

  test('differs between seeds', () => {
    const namesOf = (seed: number): string[] => (chooseHistory(seed, 60_000, FAULTS)[0] ?? []).map(({ fault }) => fault.name);
    expect(namesOf(1)).not.toEqual(namesOf(2));
  });
});
