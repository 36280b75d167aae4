import type { Fault } from '../fault.ts';
import type { Driver, Store } from '../rig.ts';
import { API_FAULTS } from './api.ts';
import { DAMAGE_FAULTS } from './damage.ts';
import { DRAIN_FAULTS } from './drain.ts';
import { GATEWAY_FAULTS } from './gateway.ts';
import { NETWORK_FAULTS } from './network.ts';
import { OBJECT_FAULTS } from './objects.ts';
import { PROGRAM_FAULTS } from './programs.ts';

/**
 * All of them, in the order in which they are carried out: what leaves the rig alone first. A gateway that forwarded nothing is not trusted for five
 * minutes: nothing could be drained to it.
 */
export const FAULTS: readonly Fault[] = [
  ...PROGRAM_FAULTS,
  ...OBJECT_FAULTS,
  ...DAMAGE_FAULTS,
  ...NETWORK_FAULTS,
  ...DRAIN_FAULTS,
  ...GATEWAY_FAULTS,
  ...API_FAULTS,
];

/** Those that can happen to a rig of that kind. */
export function faultsFor(driver: Driver, store: Store, faults: readonly Fault[] = FAULTS): Fault[] {
  return faults.filter(({ drivers, stores }) => (drivers?.includes(driver) ?? true) && (stores?.includes(store) ?? true));
}
