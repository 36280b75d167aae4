import type { Ip } from '../net/ip.ts';
import { compareText } from '../lib/compare.ts';
import type { GatewayNode, Region, Snapshot } from './snapshot.ts';

/** How a gateway node reaches one other region. */
export interface Path {
  readonly region: Region;
  /** Gateway node at the far end. */
  readonly peer: GatewayNode;
  /** Gateway node through which packets go; undefined on a direct path. */
  readonly via: GatewayNode | undefined;
}

/** An association that a gateway node should have. */
export interface Association {
  readonly peer: GatewayNode;
  /** Undefined: wait to be called. */
  readonly remote: { readonly ip: Ip; readonly port: number } | undefined;
  readonly initiate: boolean;
}

/** What is known of a tunnel at this moment. */
export interface LinkHealth {
  readonly up: boolean;
  /** Not up for so long that the other side should try as well. */
  readonly stuck: boolean;
}

export interface Paths {
  /** By peer name. */
  readonly associations: readonly Association[];
  /** By region name; a region without gateway, or that nobody can reach, is missing. */
  readonly paths: readonly Path[];
  /** The region that relays for `own`; undefined when it needs none or there is none. */
  readonly relay: Region | undefined;
  readonly unreachable: readonly Region[];
}

/**
 * Chooses, for gateway node `self` of region `own`, whom to call and which way packets take to every other region.
 *
 * Direct when either side can be called, or both stand behind the same public address (then over private addresses, as soon as that tunnel is up);
 * otherwise through the relay. Both ends compute the same pairs from the same snapshot.
 */
export function choosePaths(own: Region, self: GatewayNode, { regions }: Snapshot, health: ReadonlyMap<string, LinkHealth>): Paths {
  const others = regions.filter(({ name, active }) => name !== own.name && active.length > 0);
  const relay = relayOf(own, regions);
  const associations: Association[] = [];
  const paths: Path[] = [];
  const unreachable: Region[] = [];
  for (const region of others) {
    const [peer] = region.active;
    if (peer === undefined) continue;
    const association = associate(self, peer, health);
    if (association !== undefined) associations.push(association);
    const direct = association !== undefined && (isCallable(self, peer) || health.get(peer.name)?.up === true);
    const via = direct ? undefined : relayBetween(own, region, regions);
    if (direct || via !== undefined) paths.push({ region, peer, via });
    else unreachable.push(region);
  }
  return { associations: associations.toSorted((a, b) => compareText(a.peer.name, b.peer.name)), paths, relay, unreachable };
}

/**
 * The region that relays for `region`: the oldest one with a public gateway. By age, so that adding a region moves no flow.
 * A region that is public itself needs none.
 */
export function relayOf(region: Region, regions: readonly Region[]): Region | undefined {
  if (isPublic(region)) return undefined;
  return regions
    .filter((each) => each.name !== region.name && isPublic(each))
    .toSorted((a, b) => compareText(a.createdAt, b.createdAt) || compareText(a.name, b.name))[0];
}

function relayBetween(own: Region, other: Region, regions: readonly Region[]): GatewayNode | undefined {
  const relay = relayOf(own, regions);
  return relay === undefined || relay.name === other.name ? undefined : relay.active[0];
}

function isPublic({ active }: Region): boolean {
  return active[0]?.publicAddress !== undefined;
}

function isCallable(a: GatewayNode, b: GatewayNode): boolean {
  return a.publicAddress !== undefined || b.publicAddress !== undefined;
}

function associate(self: GatewayNode, peer: GatewayNode, health: ReadonlyMap<string, LinkHealth>): Association | undefined {
  if (isCallable(self, peer)) {
    const remote = peer.publicAddress;
    // One caller per pair, or two SAs come up at once. When it gets no answer, its view of our address may be wrong: then we call too.
    const ours = self.publicAddress === undefined || self.name < peer.name || health.get(peer.name)?.stuck === true;
    return { peer, remote, initiate: remote !== undefined && ours };
  }
  if (!sameSite(self, peer) || peer.privateIp === undefined) return undefined;
  return { peer, remote: { ip: peer.privateIp, port: peer.port }, initiate: self.name < peer.name };
}

/** Behind one public address there is most likely one network; the tunnel proves it, or the relay stays. */
function sameSite(a: GatewayNode, b: GatewayNode): boolean {
  return a.observedIp !== undefined && a.observedIp === b.observedIp && a.privateIp !== b.privateIp;
}
