import type { Fault } from './faults.ts';

/**
 * Leaves faults out, one by one, and shortens none, while the rest still fails.
 *
 * @returns the faults that are needed, in their order; all of them when it fails without any
 */
export async function shrinkFaults(
  faults: readonly Fault[],
  fails: (faults: readonly Fault[]) => Promise<boolean>,
): Promise<readonly Fault[]> {
  let needed = faults;
  for (let shrunk = true; shrunk;) {
    shrunk = false;
    for (const fault of needed.toReversed()) {
      const rest = needed.filter((each) => each !== fault);
      if (!(await fails(rest))) continue;
      needed = rest;
      shrunk = true;
    }
  }
  return needed;
}
