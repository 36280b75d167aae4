import type { Family } from '../net/ip.ts';
import { vxlanMtu } from '../net/mtu.ts';
import type { LinkPlan } from './node-plan.ts';
import type { Path } from './paths.ts';

/** How large a packet to one region may be. */
export interface PathLimit {
  readonly mtuBytes: number;
  /** What the routes say about it; nothing where the device says it. */
  readonly onRoute: { readonly mtuBytes?: number };
  /** How to find out what passes; only where packets go straight to the far gateway, and its agent answers. */
  readonly probe?: {
    /** The largest packet that the links at both ends allow. */
    readonly ceilingBytes: number;
    /** Largest first; the first is the ceiling. */
    readonly sizes: readonly number[];
  };
}

/** By region. */
export type PathLimits = ReadonlyMap<string, PathLimit>;

/** By region; without an MTU of its own, that of the device counts. */
type Ways = ReadonlyMap<string, { readonly dev: string; readonly mtuBytes?: number }>;

export interface PathMtuView {
  /** By peer: the largest packet that was seen to arrive. */
  readonly found: ReadonlyMap<string, number>;
  readonly tunnels: {
    readonly links: readonly LinkPlan[];
    readonly ways: Ways;
    readonly mtuOver: (underlayMtuBytes: number) => number;
  };
  readonly plain: Ways;
  /** MTU of `raven0`. */
  readonly overlayMtuBytes: number;
  /** Of the packets that carry `raven0`'s. */
  readonly underlay: Family;
}

/** MTUs of real links, so that a search takes few steps (as RFC 1191 §7.1): jumbo frames, FDDI, Ethernet, PPPoE, tunnels of others, IPv6's and IPv4's minima. */
const KNOWN_UNDERLAY_MTUS = [
  9000, 4352, 1500, 1492, 1480, 1476, 1460, 1450, 1440, 1420, 1400, 1380, 1360, 1340, 1320, 1300, 1280, 1200, 1000, 576,
];

/** The MTU of each path: what the links at both ends allow, what probes found on the first leg, and what the relay says of the second. */
export function planPathMtus(paths: readonly Path[], { found, tunnels, plain, overlayMtuBytes, underlay }: PathMtuView): PathLimits {
  const deviceMtus = new Map(tunnels.links.map(({ name, mtuBytes }) => [name, mtuBytes]));
  return new Map(
    paths.flatMap(({ region: { name, live }, peer, via, isPlain }): [string, PathLimit][] => {
      const way = (isPlain ? plain : tunnels.ways).get(name);
      if (way === undefined) return [];
      const ceilingBytes = way.mtuBytes ?? deviceMtus.get(way.dev) ?? overlayMtuBytes;
      // What was found on the way to another endpoint of that region holds until this way was searched.
      const known = via === undefined ? [peer, ...live] : [via];
      const firstBytes = known.map(({ name: endpoint }) => found.get(endpoint)).find((bytes) => bytes !== undefined) ?? ceilingBytes;
      const secondBytes = via?.links.get(peer.name)?.mtuBytes ?? ceilingBytes;
      const mtuBytes = Math.min(ceilingBytes, firstBytes, secondBytes);
      const isOnRoute = way.mtuBytes !== undefined || mtuBytes < ceilingBytes;
      const sizes = probeSizes(ceilingBytes, isPlain ? (bytes) => vxlanMtu(bytes, underlay) : tunnels.mtuOver);
      const isProbed = via === undefined && peer.overlayIp !== undefined;
      return [[name, { mtuBytes, onRoute: isOnRoute ? { mtuBytes } : {}, ...(isProbed && { probe: { ceilingBytes, sizes } }) }]];
    }),
  );
}

/** The ceiling and what known links below it would let through, largest first. */
export function probeSizes(ceilingBytes: number, mtuOver: (underlayMtuBytes: number) => number): number[] {
  const known = KNOWN_UNDERLAY_MTUS.map(mtuOver).filter((bytes) => bytes < ceilingBytes);
  return [...new Set([ceilingBytes, ...known])].toSorted((a, b) => b - a);
}

/**
 * The largest of `sizes` that passes, after RFC 8899 (datagram packetization layer path MTU discovery): the largest first, which is enough almost always,
 * then a binary search.
 *
 * @param passes whether packets of that size arrive; undefined when even small ones do not, which says nothing about sizes
 * @returns undefined when nothing could be learnt. When none passes, the smallest: better than what is known not to pass
 */
export async function searchPathMtu(
  sizes: readonly number[],
  passes: (bytes: number) => Promise<boolean | undefined>,
): Promise<number | undefined> {
  let low = 0;
  let high = sizes.length - 1;
  for (let at = 0; low <= high; at = (low + high) >> 1) {
    const passed = await passes(sizes[at] ?? 0);
    if (passed === undefined) return undefined;
    if (passed) high = at - 1;
    else low = at + 1;
  }
  return sizes[Math.min(low, sizes.length - 1)];
}
