import { inLaneOrder, laneCount, laneOf } from './lanes.ts';
import type { Choices } from './reroute-state.ts';
import type { GatewayNode, Region, Snapshot } from './snapshot.ts';

/** Which endpoints of the own region carry what is for others, as a node has chosen. */
export interface Carriers {
  /** By lane: name of the endpoint; undefined where the region has none. */
  readonly exits: readonly (string | undefined)[];
  /** By name of the other region. */
  readonly lanes: ReadonlyMap<string, number>;
}

export function carriersOf(own: Region, { regions }: Snapshot, { exits }: Choices): Carriers {
  const others = regions.filter(({ name }) => name !== own.name);
  return {
    exits: Array.from({ length: laneCount(own) }, (_, lane) => pick(own, lane, exits[lane])?.name),
    lanes: new Map(others.map((other) => [other.name, laneOf(own, other, regions)])),
  };
}

/** Name of the endpoint of the own region through which packets for region `to` leave. */
export function carrierOf({ exits, lanes }: Carriers, to: string): string | undefined {
  return exits[lanes.get(to) ?? 0];
}

/** The endpoint of `region` that gets the packets of `own`. */
export function entryOf(region: Region, own: Region, { regions }: Snapshot, { entry }: Choices): GatewayNode | undefined {
  return pick(region, laneOf(region, own, regions), entry.get(region.name));
}

/** As chosen from measurement, else as the controller has it. */
function pick({ live }: Region, lane: number, chosen: string | undefined): GatewayNode | undefined {
  return live.find(({ name }) => name === chosen) ?? inLaneOrder(live, lane)[0];
}
