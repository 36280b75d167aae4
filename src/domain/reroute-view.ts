import { TABLE_PROBES } from '../api/names.ts';
import { compareText } from '../lib/compare.ts';
import { fnv1a } from '../lib/hash.ts';
import { hostCidr } from '../net/cidr.ts';
import type { Ip } from '../net/ip.ts';
import { probeAddress } from '../net/probe-address.ts';
import { FORWARD_DROPPED } from './host-findings.ts';
import { inLaneOrder, laneCount, laneOf } from './lanes.ts';
import type { NodePlan } from './node-plan.ts';
import type { RerouteView } from './reroute-state.ts';
import { type GatewayNode, type Region, regionOfNode, type Snapshot } from './snapshot.ts';

/** What a node watches, and where to find it. */
export interface Watch {
  readonly view: RerouteView;
  /** Own address on the LAN; undefined where there is nothing to choose in the own region. */
  readonly address: Ip | undefined;
  /** Own address for probes of tunnels; undefined where there are none. */
  readonly probeIp: Ip | undefined;
  /** By name: the other live endpoints of the own region. */
  readonly lan: ReadonlyMap<string, Ip>;
  /** By name: far endpoints, at the address that leads into the very tunnel (`TABLE_PROBES`). */
  readonly tunnel: ReadonlyMap<string, Ip>;
  /** By name: far endpoints, by whatever way packets go. */
  readonly through: ReadonlyMap<string, Ip>;
  /** Name of the node of the own region that has an address. */
  readonly nodes: ReadonlyMap<Ip, string>;
  /** Region of each peer. */
  readonly regionOf: ReadonlyMap<string, string>;
}

/** Across each exit. Each node takes others, or a thousand would all ask the same. */
const THROUGH = 3;

/** Pure. undefined where there is no choice to make: no region has two live endpoints, or the node is in none. */
export function planWatch(snapshot: Snapshot, node: string, { routes, findings }: NodePlan): Watch | undefined {
  const own = regionOfNode(snapshot, node);
  if (own === undefined) return undefined;
  const hasStandby = own.live.length > 1;
  const { regions } = snapshot;
  const others = regions
    .filter(({ name }) => name !== own.name)
    .map((each) => ({
      ...each,
      live: inLaneOrder(each.live, laneOf(each, own, regions)),
      isShared: laneCount(each) > 1,
      lane: laneOf(own, each, regions),
    }));
  const measurable = new Set(routes.filter(({ table }) => table === TABLE_PROBES).map(({ dst }) => dst));
  const peers = others
    .filter(({ live }) => hasStandby || live.length > 1)
    .flatMap(({ live }) => live.filter(({ name }) => measurable.has(hostCidr(probeAddress(name)))));
  const isEndpoint = own.live.some(({ name }) => name === node);
  if (!hasStandby && peers.length === 0) return undefined;
  const tunnel = new Map(peers.map(({ name }) => [name, probeAddress(name)]));
  const lanes = Array.from({ length: laneCount(own) }, (_, lane) => others.filter((each) => each.lane === lane));
  const through = lanes.map((across) => (isEndpoint || !hasStandby ? new Map<string, Ip>() : farEndpoints(node, across)));
  return {
    view: {
      node,
      own: { name: own.name, live: own.live.map(({ name }) => name), isShared: lanes.length > 1 },
      others: others.map(({ name, live, isShared }) => ({ name, live: comparable(live, tunnel), isShared })),
      tunnels: [...tunnel.keys()],
      through: through.map((each) => [...each.keys()]),
      lanes: new Map(others.flatMap(({ live, lane }) => live.map(({ name }) => [name, lane]))),
      drained: own.live.filter(({ isDrained }) => isDrained).map(({ name }) => name),
      hasOrdinary: own.nodes.length > own.live.length,
      isBlocked: findings.some(({ reason }) => reason === FORWARD_DROPPED),
    },
    probeIp: tunnel.size > 0 ? probeAddress(node) : undefined,
    address: hasStandby ? own.nodes.find(({ name }) => name === node)?.privateIp : undefined,
    lan: withIp(own.live.filter(({ name }) => hasStandby && name !== node).map(({ name, privateIp }) => [name, privateIp])),
    tunnel,
    through: new Map(through.flatMap((each) => [...each])),
    nodes: new Map(own.nodes.flatMap(({ name, privateIp }): [Ip, string][] => (privateIp === undefined ? [] : [[privateIp, name]]))),
    regionOf: new Map(peers.map(({ name, region }) => [name, region])),
  };
}

/** All, also those that cannot be measured (yet), so that one that the controller chose just now is waited for; none where none can. */
function comparable(live: readonly GatewayNode[], tunnel: ReadonlyMap<string, Ip>): string[] {
  return live.some(({ name }) => tunnel.has(name)) ? live.map(({ name }) => name) : [];
}

/** One of each region, then second ones: were all behind one far gateway, its death, or its agent's, would look like that of the exit. */
function farEndpoints(node: string, others: readonly Region[]): ReadonlyMap<string, Ip> {
  const all = others.flatMap(({ live }) =>
    live.flatMap(({ name, overlayIp }, place) =>
      overlayIp === undefined ? [] : [{ name, ip: overlayIp, place, rank: fnv1a(`${node}/${name}`) }],
    ),
  );
  return new Map(
    all
      .toSorted((a, b) => a.place - b.place || a.rank - b.rank || compareText(a.name, b.name))
      .slice(0, THROUGH)
      .map(({ name, ip }) => [name, ip]),
  );
}

function withIp(entries: readonly (readonly [string, Ip | undefined])[]): ReadonlyMap<string, Ip> {
  return new Map(entries.flatMap(([name, ip]): [string, Ip][] => (ip === undefined ? [] : [[name, ip]])));
}
