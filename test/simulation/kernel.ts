import { TABLE_FROM_REGIONS, TABLE_TO_REGIONS, VXLAN_DEVICE } from '../../src/api/names.ts';
import { peerDevice } from '../../src/domain/device.ts';
import type { NodePlan, Route, Rule, TunnelPlan } from '../../src/domain/node-plan.ts';
import { type Cidr, cidrContainsIp, prefixLength } from '../../src/net/cidr.ts';
import type { Ip } from '../../src/net/ip.ts';

/** What a node's plan means for one packet: the part of the kernel that Raven sets. */

export interface Packet {
  readonly src: Ip;
  readonly dst: Ip;
  /** probe: from an agent's own port, out of the host. pod: from a pod to a pod. */
  readonly kind: 'probe' | 'pod';
}

/** Where a packet goes next. main: the tables that are not Raven's. */
export type Hop = { readonly to: 'lan'; readonly via: Ip } | { readonly to: 'tunnel'; readonly dev: string } | { readonly to: 'main' };

export interface Routing {
  hop(packet: Packet, from: { readonly isOwn: boolean; readonly isFromTunnel: boolean }): Hop;
  /** raven0 knows the node with this LAN address. */
  knows(lanIp: Ip): boolean;
}

const MAIN: Hop = { to: 'main' };

/** Rules in their order, longest prefix within a table, as `ip-rule(8)` and `ip-route(8)` have it. */
export function compileRouting({ rules, routes, nexthops, fdb }: Pick<NodePlan, 'rules' | 'routes' | 'nexthops' | 'fdb'>): Routing {
  const ordered = rules.filter(({ family }) => family === 4).toSorted((a, b) => a.pref - b.pref);
  const known = new Set<Ip>(fdb.map(({ dst }) => dst));
  const ways = new Map(nexthops.map(({ id, via, dev }) => [id, hopOf(dev, via)]));
  const found = new Map<string, Hop>();

  function look(dst: Ip, isOwnProbe: boolean, isFromTunnel: boolean): Hop {
    for (const rule of ordered) {
      if ((rule.mark !== undefined && !isFromTunnel) || (isOfProbes(rule) && !isOwnProbe)) continue;
      const route = longest(
        routes.filter(({ table }) => table === rule.table),
        dst,
      );
      if (route === undefined || route.type === 'throw') continue;
      const hop = route.nexthopId === undefined ? hopOf(route.dev ?? '', route.via) : ways.get(route.nexthopId);
      if (hop !== undefined) return hop;
    }
    return MAIN;
  }

  return {
    knows: (lanIp) => known.has(lanIp),
    hop: ({ dst, kind }, { isOwn, isFromTunnel }) => {
      const isOwnProbe = isOwn && kind === 'probe';
      const key = `${dst} ${isOwnProbe} ${isFromTunnel}`;
      const hop = found.get(key) ?? look(dst, isOwnProbe, isFromTunnel);
      found.set(key, hop);
      return hop;
    },
  };
}

function hopOf(dev: string, via: Ip | undefined): Hop {
  return dev === VXLAN_DEVICE && via !== undefined ? { to: 'lan', via } : { to: 'tunnel', dev };
}

/** Every table that is neither of the two for packets of others is for the agent's own probes. */
function isOfProbes({ table }: Rule): boolean {
  return table !== TABLE_TO_REGIONS && table !== TABLE_FROM_REGIONS;
}

function longest(routes: readonly Route[], dst: Ip): Route | undefined {
  return routes
    .filter((route) => cidrContainsIp(route.dst, dst))
    .reduce<Route | undefined>(
      (best, each) => (best === undefined || prefixLength(each.dst) > prefixLength(best.dst) ? each : best),
      undefined,
    );
}

export interface Vpn {
  readonly plan: TunnelPlan;
  readonly peers: ReadonlySet<string>;
  /** Peers that this side calls, or may call. */
  readonly callable: ReadonlySet<string>;
  /** Whose tunnel a packet gets into that is routed to `dev`; not for user-space IPsec, where security associations decide. */
  peerFor(dev: string, dst: Ip): string | undefined;
  /** WireGuard: "the source must belong to the peer that it came from" (wireguard.com, Cryptokey Routing). */
  accepts(peer: string, src: Ip): boolean;
}

export function compileVpn(plan: TunnelPlan): Vpn {
  const peers = new Set(plan.tunnels.map(({ peer }) => peer));
  const callable = new Set(plan.tunnels.filter(({ remote }) => remote !== undefined).map(({ peer }) => peer));
  if (plan.driver === 'ipsec') {
    const byDevice = new Map(plan.tunnels.map(({ peer }) => [peerDevice(peer), peer]));
    return { plan, peers, callable, peerFor: (dev) => byDevice.get(dev), accepts: () => true };
  }
  const prefixes = plan.tunnels.flatMap(({ peer, allowedIps }) => allowedIps.map((cidr) => ({ cidr, peer })));
  const owners = new Map<Ip, string | undefined>();
  const ownerOf = (ip: Ip): string | undefined => {
    if (!owners.has(ip)) owners.set(ip, longestOwner(prefixes, ip));
    return owners.get(ip);
  };
  return { plan, peers, callable, peerFor: (_, dst) => ownerOf(dst), accepts: (peer, src) => ownerOf(src) === peer };
}

function longestOwner(prefixes: readonly { readonly cidr: Cidr; readonly peer: string }[], ip: Ip): string | undefined {
  const owned = prefixes.filter(({ cidr }) => cidrContainsIp(cidr, ip));
  return owned.toSorted((a, b) => prefixLength(b.cidr) - prefixLength(a.cidr))[0]?.peer;
}
