import { VXLAN_DEVICE } from '../api/names.ts';
import { type Family, familyOf, type Ip } from '../net/ip.ts';
import { nodeMac } from '../net/mac.ts';
import { vxlanMtu } from '../net/mtu.ts';
import type { Underlay } from './facts.ts';
import type { FdbEntry, Neighbour } from './node-plan.ts';
import { nextHopAddresses } from './next-hop-address.ts';
import type { Paths } from './paths.ts';
import type { RegionNode } from './snapshot.ts';

/** Where packets for a region go, by its name: to a gateway node by `raven0`. The MTU stands on the route where the far link is smaller than ours. */
export type PlainWays = ReadonlyMap<
  string,
  { readonly dev: string; readonly via: Readonly<Record<Family, Ip>>; readonly mtuBytes?: number }
>;

/** The next hop on `raven0` to a gateway node that is reached without a tunnel. */
export type PlainHops = ReadonlyMap<string, Readonly<Record<Family, Ip>>>;

export interface PlainRoutes {
  readonly fdb: readonly FdbEntry[];
  readonly neighbours: readonly Neighbour[];
  readonly ways: PlainWays;
  /** By peer name. */
  readonly hops: PlainHops;
}

export interface PlainView {
  /** Of the own region: their next hops on `raven0` are taken. */
  readonly nodes: readonly RegionNode[];
  /** Of this node. */
  readonly address: Ip;
  readonly underlay: Underlay;
  readonly families: readonly Family[];
}

/** The part of a gateway's plan for regions that need no tunnel: the way to each of their endpoints, and which of them packets take. */
export function planPlain(
  { paths, direct }: Pick<Paths, 'paths' | 'direct'>,
  { nodes, address, underlay, families }: PlainView,
): PlainRoutes {
  const plain = paths.flatMap(({ region, peer, via, isPlain }) => {
    const next = via ?? peer;
    return isPlain && next.privateIp !== undefined ? [{ region: region.name, next }] : [];
  });
  const reached = [...plain.map(({ next }) => next), ...direct.filter(({ isPlain }) => isPlain).map(({ peer }) => peer)];
  const peers = new Map(
    reached.flatMap(({ name, privateIp }) => (privateIp === undefined ? [] : [[name, { name, privateIp, subnets: [] }] as const])),
  );
  const nextHops = nextHopAddresses([...nodes, ...peers.values()], address);
  const entries = [...peers.values()].map(({ name, privateIp }) => ({ name, mac: nodeMac(name), dst: privateIp, via: nextHops.get(name) }));
  return {
    fdb: entries.map(({ mac, dst }) => ({ dev: VXLAN_DEVICE, mac, dst })),
    neighbours: entries.flatMap(({ mac, via }) =>
      via === undefined ? [] : families.map((family) => ({ dev: VXLAN_DEVICE, mac, ip: via[family] })),
    ),
    hops: new Map(entries.flatMap(({ name, via }) => (via === undefined ? [] : [[name, via] as const]))),
    ways: new Map(
      plain.flatMap(({ region, next }) => {
        const via = nextHops.get(next.name);
        const limit = Math.min(underlay.mtuBytes, next.underlayMtuBytes ?? underlay.mtuBytes);
        const mtu = limit < underlay.mtuBytes ? { mtuBytes: vxlanMtu(limit, familyOf(address)) } : {};
        return via === undefined ? [] : [[region, { dev: VXLAN_DEVICE, via, ...mtu }] as const];
      }),
    ),
  };
}
