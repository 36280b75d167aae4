import { type Family, familyOf, type Ip } from '../net/ip.ts';
import { compareText } from '../lib/compare.ts';
import { entryOf } from './carriers.ts';
import { addressFor, isCallable, relayBetween, relayOf } from './reach.ts';
import { type Choices, NO_CHOICES } from './reroute-state.ts';
import { hasChoice } from './live-endpoints.ts';
import { judgePlainLink, type PlainLink, routableGateways } from './routable.ts';
import { type GatewayNode, podMatcher, type Region, type Snapshot } from './snapshot.ts';

/** How a gateway node reaches one other region. */
export interface Path {
  readonly region: Region;
  /** Gateway node at the far end. */
  readonly peer: GatewayNode;
  /** Gateway node through which packets go; undefined on a direct path. */
  readonly via: GatewayNode | undefined;
  /** The first leg is no tunnel: packets go to `via`, or else `peer`, as the underlay carries them. */
  readonly isPlain: boolean;
  /** No leg is plain. */
  readonly isEncrypted: boolean;
}

/** An association that a gateway node should have. */
export interface Association {
  readonly peer: GatewayNode;
  /** Undefined: wait to be called. */
  readonly remote: { readonly ip: Ip; readonly port: number } | undefined;
  readonly initiate: boolean;
  /** Of the outer packets; IPv6, the larger one, where it may be either. */
  readonly underlay: Family;
}

/** A far endpoint that packets can be sent to now without a relay, whether or not any are. */
export interface DirectLink {
  readonly peer: GatewayNode;
  readonly isPlain: boolean;
  /** There is a choice between endpoints, at this end or the other. */
  readonly isProbed: boolean;
}

/** What is known of a tunnel at this moment. */
export interface LinkHealth {
  readonly up: boolean;
  /** Not up for so long that the other side should try as well. */
  readonly stuck: boolean;
}

/** What a node knows beside the API. */
export interface Measured {
  /** By peer name. */
  readonly health: ReadonlyMap<string, LinkHealth>;
  readonly choices?: Choices;
}

export interface Paths {
  /** By peer name. */
  readonly associations: readonly Association[];
  /** By peer name. */
  readonly direct: readonly DirectLink[];
  /** By region name; a region without gateway, or that nobody can reach, is missing. */
  readonly paths: readonly Path[];
  /** The region that relays for `own`; undefined when it needs none or there is none. */
  readonly relay: Region | undefined;
  readonly unreachable: readonly Region[];
}

/**
 * Chooses, for gateway node `self` of region `own`, whom to call and which way packets take to every other region. All live endpoints are called, one of
 * each region carries what is between the two.
 *
 * Direct when both regions are marked as routable (then without a tunnel), when either side can be called, or when both stand behind the same public
 * address (then over private addresses, as soon as that tunnel is up); otherwise through the relay. Both ends compute the same pairs from the same snapshot.
 * A relay reaches every region directly, so no path has more than two legs and none returns.
 */
export function choosePaths(own: Region, self: GatewayNode, snapshot: Snapshot, { health, choices = NO_CHOICES }: Measured): Paths {
  const { regions } = snapshot;
  const others = regions.filter(({ name, active }) => name !== own.name && active.length > 0);
  const relay = relayOf(own, regions);
  const routable = routableGateways(regions);
  let isPod: ((ip: Ip) => boolean) | undefined;
  const sight: Sight = { health, isPod: (ip) => (isPod ??= podMatcher(regions))(ip) };
  const plainTo = (peer: GatewayNode): PlainLink =>
    judgePlainLink(self, peer, {
      routable,
      canWait: associate(self, peer, sight) !== undefined && own.nodes.every(({ privateIp }) => privateIp !== peer.privateIp),
      health: health.get(peer.name),
    });
  const linkTo = (peer: GatewayNode) => {
    const { isPlain, needsTunnel } = plainTo(peer);
    const association = needsTunnel ? associate(self, peer, sight) : undefined;
    const isUsable = isPlain || (association !== undefined && (isCallable(self, peer) || health.get(peer.name)?.up === true));
    return { peer, isPlain, association, isUsable };
  };
  const associations: Association[] = [];
  const direct: DirectLink[] = [];
  const paths: Path[] = [];
  const unreachable: Region[] = [];
  for (const region of others) {
    const peer = entryOf(region, own, snapshot, choices);
    if (peer === undefined) continue;
    const links = region.live.map((each) => linkTo(each));
    associations.push(...links.flatMap(({ association }) => association ?? []));
    const usable = links.filter(({ isUsable }) => isUsable);
    direct.push(...usable.map(({ peer: far, isPlain }) => ({ peer: far, isPlain, isProbed: hasChoice(own, region) })));
    const link = usable.find((each) => each.peer.name === peer.name);
    const relaying = link === undefined ? relayBetween(own, region, regions) : undefined;
    const via = relaying && entryOf(relaying, own, snapshot, choices);
    if (link !== undefined) paths.push({ region, peer, via, isPlain: link.isPlain, isEncrypted: !link.isPlain });
    else if (via !== undefined) {
      const isFirstPlain = plainTo(via).isPlain;
      paths.push({ region, peer, via, isPlain: isFirstPlain, isEncrypted: !isFirstPlain && !routable.areRoutable(via, peer) });
    } else unreachable.push(region);
  }
  return { associations: byPeer(associations), direct: byPeer(direct), paths, relay, unreachable };
}

function byPeer<T extends { readonly peer: GatewayNode }>(links: readonly T[]): T[] {
  return links.toSorted((a, b) => compareText(a.peer.name, b.peer.name));
}

interface Sight {
  readonly health: ReadonlyMap<string, LinkHealth>;
  /** Routed into the overlay. */
  readonly isPod: (ip: Ip) => boolean;
}

function associate(self: GatewayNode, peer: GatewayNode, { health, isPod }: Sight): Association | undefined {
  if (isCallable(self, peer)) {
    const remote = addressFor(peer, self);
    const back = addressFor(self, peer);
    // One caller per pair, or two SAs come up at once. When it gets no answer, its view of our address may be wrong: then we call too.
    const ours = back === undefined || self.name < peer.name || health.get(peer.name)?.stuck === true;
    const underlay = [remote, back].some((each) => each !== undefined && familyOf(each.ip) === 6) ? 6 : 4;
    return { peer, remote, initiate: remote !== undefined && ours, underlay };
  }
  // A tunnel to an address of pods would lead into itself.
  if (!sameSite(self, peer) || peer.privateIp === undefined || isPod(peer.privateIp)) return undefined;
  return { peer, remote: { ip: peer.privateIp, port: peer.port }, initiate: self.name < peer.name, underlay: familyOf(peer.privateIp) };
}

/** Behind one public address there is most likely one network; the tunnel proves it, or the relay stays. */
function sameSite(a: GatewayNode, b: GatewayNode): boolean {
  return a.observedIp !== undefined && a.observedIp === b.observedIp && a.privateIp !== b.privateIp;
}

/** Why two regions are not connected, for an operator. */
export function unreachableMessage(own: Region, other: string, regions: readonly Region[]): string {
  const anyPublic = regions.some(({ active }) => active.some(({ publicAddress }) => publicAddress !== undefined));
  const advice = anyPublic
    ? 'the public gateway is not up'
    : 'no region has a gateway with a public address: set spec.endpoints[].publicIP of one';
  return `regions ${own.name} and ${other} are both behind NAT and nobody relays: ${advice}`;
}
