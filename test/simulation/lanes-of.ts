import { inLaneOrder, laneOf } from '../../src/domain/lanes.ts';
import type { Region, Snapshot } from '../../src/domain/snapshot.ts';

/** A region's packets to and from some of the others. */
export interface Lane {
  /** `b/1`. */
  readonly key: string;
  readonly region: Region;
  readonly others: readonly string[];
  /** As the controller has it. */
  readonly wanted: string | undefined;
}

/** Those of one region, with the others whose packets take it. */
export function lanesOf({ regions }: Snapshot): Lane[] {
  const lanes = new Map<string, Lane>();
  for (const region of regions)
    for (const other of regions.filter(({ name }) => name !== region.name)) {
      const lane = laneOf(region, other, regions);
      const key = `${region.name}/${lane}`;
      const { others = [] } = lanes.get(key) ?? {};
      lanes.set(key, { key, region, wanted: inLaneOrder(region.live, lane)[0]?.name, others: [...others, other.name] });
    }
  return [...lanes.values()];
}
