import type { Fault } from './fault.ts';
import { createRandom } from './random.ts';

/** One fault of a soak, as chosen. */
export interface Step {
  readonly fault: Fault;
  /** Quiet before it. */
  readonly pauseMs: number;
  /** How long it stays, beyond what injecting takes. */
  readonly holdMs: number;
}

/** Two things at a time are what happens; more tell nothing about which of them it was. */
export const LANES = 2;
const MAX_PAUSE_MS = 6_000;
const MAX_HOLD_MS = 10_000;
/** No step takes less than this on average, so that this many suffice for any soak. */
const SHORTEST_STEP_MS = 1_000;

/**
 * The faults of a soak, a list for each lane, the same for the same seed and faults. Every fault comes once before any comes again, in an order of its own each time.
 * Pure.
 */
export function chooseHistory(seed: number, durationMs: number, faults: readonly Fault[]): readonly (readonly Step[])[] {
  const random = createRandom(seed);
  return Array.from({ length: LANES }, () => {
    const steps: Step[] = [];
    while (steps.length * SHORTEST_STEP_MS < durationMs && faults.length > 0) {
      for (const fault of shuffled(faults, random)) {
        steps.push({ fault, pauseMs: Math.round(random() * MAX_PAUSE_MS), holdMs: Math.round(random() * MAX_HOLD_MS) });
      }
    }
    return steps;
  });
}

/** Fisher and Yates' shuffle. */
function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    const [a, b] = [result[i], result[j]];
    if (a !== undefined && b !== undefined) [result[i], result[j]] = [b, a];
  }
  return result;
}
