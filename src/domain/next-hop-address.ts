import { type Family, familyOf, formatIp, type Ip, ipValue, linkLocalIp } from '../net/ip.ts';
import { nodeMac } from '../net/mac.ts';
import { assignIds } from './device.ts';
import type { RegionNode } from './snapshot.ts';

/** By node name. */
export type NextHopAddresses = ReadonlyMap<string, Readonly<Record<Family, Ip>>>;

/** 169.254.128.0/17 without its ends: no packet ever has such an address (`docs/decisions/0007-next-hops-of-both-families.md`). */
const STAND_IN_FIRST = '169.254.128.1' as Ip;
const STAND_INS = 0x7ffe;

/**
 * By which address routes name each node of a region on `raven0`, for packets of either family; nodes without an address of the family of `self`,
 * this node's own, cannot be reached there and are left out. IPv4 packets take the node's own address when
 * that is an IPv4 one. All others are stand-ins that mean nothing outside of this machine: they lead to the neighbour entry with the node's MAC.
 */
export function nextHopAddresses(all: readonly RegionNode[], self: Ip): NextHopAddresses {
  const nodes = all.filter(({ privateIp }) => privateIp !== undefined && familyOf(privateIp) === familyOf(self));
  const standIns = assignIds(
    nodes.filter((node) => ownIpv4(node) === undefined).map(({ name }) => name),
    0,
    STAND_INS,
  );
  return new Map(
    nodes.map((node) => [node.name, { 4: ownIpv4(node) ?? standIn(standIns.get(node.name) ?? 0), 6: linkLocalIp(nodeMac(node.name)) }]),
  );
}

function ownIpv4({ privateIp }: RegionNode): Ip | undefined {
  return privateIp !== undefined && familyOf(privateIp) === 4 ? privateIp : undefined;
}

function standIn(id: number): Ip {
  return formatIp({ family: 4, value: ipValue(STAND_IN_FIRST).value + BigInt(id) });
}
