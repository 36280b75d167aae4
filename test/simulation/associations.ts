import { type Cidr, cidrContains, cidrContainsIp, prefixLength } from '../../src/net/cidr.ts';
import type { Ip } from '../../src/net/ip.ts';
import type { Packet, Vpn } from './kernel.ts';
import type { Random } from './random.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** The VPN's associations between gateway nodes: who has keys with whom, and with user-space IPsec for which packets. */
export interface Associations {
  /** Plans, machines or the underlay changed: what can come up does so after a while. */
  poke(): void;
  /** A machine went off, and its keys with it. */
  forget(node: string): void;
  isUp(a: string, b: string): boolean;
  /** User-space IPsec: the peer whose association takes a packet; the narrowest, of equal ones the newest. */
  peerFor(node: string, packet: Packet): string | undefined;
  /** User-space IPsec: whether the association with `peer` is for this packet. */
  carries(node: string, peer: string, packet: Packet): boolean;
}

export interface AssociationParts {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly vpns: ReadonlyMap<string, Vpn>;
  /** Whether outer packets pass between the two. */
  readonly isReachable: (a: string, b: string) => boolean;
  readonly onChange: () => void;
}

interface Association {
  readonly bornMs: number;
  /** Of the first by name: what it sends from, and to. undefined: everything. */
  readonly selectors: { readonly local: readonly Cidr[]; readonly remote: readonly Cidr[] } | undefined;
}

/** A handshake, with the retry of a caller whose first try met nobody. */
const HANDSHAKE_MS = { min: 60, max: 900 };
/** Another CHILD_SA on an IKE SA that stands. */
const SELECTORS_MS = { min: 60, max: 400 };

export function createAssociations({ clock, random, vpns, isReachable, onChange }: AssociationParts): Associations {
  const up = new Map<string, Association>();
  const pending = new Set<string>();

  function poke(): void {
    for (const [a, vpn] of vpns)
      for (const b of vpn.peers) {
        if (a > b && vpns.get(b)?.peers.has(a) === true) continue;
        consider(...([a, b].toSorted() as [string, string]));
      }
  }

  function consider(a: string, b: string): void {
    const key = `${a} ${b}`;
    const known = up.get(key);
    if (!isMutual(a, b)) {
      if (known !== undefined) up.delete(key);
      return;
    }
    if (pending.has(key) || !isReachable(a, b)) return;
    if (known !== undefined && isSame(known.selectors, agreed(a, b))) return;
    pending.add(key);
    const { min, max } = known === undefined ? HANDSHAKE_MS : SELECTORS_MS;
    clock.after(random.int(min, max), () => {
      pending.delete(key);
      if (!isMutual(a, b) || !isReachable(a, b)) return consider(a, b);
      const selectors = agreed(a, b);
      if (selectors?.local.length === 0 || selectors?.remote.length === 0) return;
      up.set(key, { bornMs: clock.now(), selectors });
      onChange();
    });
  }

  function isMutual(a: string, b: string): boolean {
    const [one, other] = [vpns.get(a), vpns.get(b)];
    if (one === undefined || other === undefined || !one.peers.has(b) || !other.peers.has(a)) return false;
    return one.callable.has(b) || other.callable.has(a);
  }

  /** What both plans allow (RFC 7296 §2.9: the answer narrows the offer). */
  function agreed(a: string, b: string): Association['selectors'] {
    const [one, other] = [tunnelOf(a, b), tunnelOf(b, a)];
    if (one === undefined || other === undefined) return undefined;
    return { local: common(one.localTs, other.remoteTs), remote: common(one.remoteTs, other.localTs) };
  }

  function tunnelOf(node: string, peer: string) {
    const plan = vpns.get(node)?.plan;
    return plan?.driver === 'ipsec' && plan.dataPath === 'user' ? plan.tunnels.find((each) => each.peer === peer) : undefined;
  }

  function width(node: string, peer: string, { src, dst }: Packet): number | undefined {
    const association = up.get(keyOf(node, peer));
    if (association?.selectors === undefined) return undefined;
    const { local, remote } = association.selectors;
    const [from, to] = node < peer ? [local, remote] : [remote, local];
    return from.some((cidr) => cidrContainsIp(cidr, src)) ? narrowest(to, dst) : undefined;
  }

  return {
    poke,
    forget: (node) => {
      for (const key of up.keys()) if (key.split(' ').includes(node)) up.delete(key);
    },
    isUp: (a, b) => up.has(keyOf(a, b)),
    peerFor: (node, packet) =>
      [...(vpns.get(node)?.peers ?? [])]
        .map((peer) => ({ peer, length: width(node, peer, packet), bornMs: up.get(keyOf(node, peer))?.bornMs ?? 0 }))
        .filter(({ length }) => length !== undefined)
        .toSorted((a, b) => (b.length ?? 0) - (a.length ?? 0) || b.bornMs - a.bornMs)[0]?.peer,
    carries: (node, peer, packet) => width(node, peer, packet) !== undefined,
  };
}

function keyOf(a: string, b: string): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`;
}

function narrowest(cidrs: readonly Cidr[], ip: Ip): number | undefined {
  const lengths = cidrs.filter((cidr) => cidrContainsIp(cidr, ip)).map(prefixLength);
  return lengths.length === 0 ? undefined : Math.max(...lengths);
}

function common(a: readonly Cidr[], b: readonly Cidr[]): Cidr[] {
  const all = a.flatMap((one) => b.flatMap((other) => (cidrContains(one, other) ? [other] : cidrContains(other, one) ? [one] : [])));
  return [...new Set(all)].toSorted();
}

function isSame(a: Association['selectors'], b: Association['selectors']): boolean {
  return a?.local.join() === b?.local.join() && a?.remote.join() === b?.remote.join();
}
