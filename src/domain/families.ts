import type { Cidr } from '../net/cidr.ts';
import { FAMILIES, familiesOf, type Family, familyOf } from '../net/ip.ts';
import { IPV6_MIN_MTU_BYTES } from '../net/mtu.ts';
import type { LocalFacts } from './facts.ts';
import type { Finding } from './node-plan.ts';
import type { GatewayNode, Region, Snapshot } from './snapshot.ts';

/** Whether there are IPv6 pods at all. */
export function hasIpv6({ regions }: Snapshot): boolean {
  return regions.some(({ cidrs }) => has(cidrs, 6));
}

/**
 * The families that a node carries between regions: those that two regions have. A gateway that others can call may relay what its own region lacks;
 * any other node needs only what its region has. IPv4 when there is nothing to carry (yet).
 */
export function familiesBetween({ regions }: Snapshot, own: Region, mayRelay: boolean): Family[] {
  const having = regions.map(({ cidrs }) => familiesOf(cidrs));
  const shared = FAMILIES.filter((family) => having.filter((each) => each.includes(family)).length > 1);
  const ownFamilies = familiesOf(own.cidrs);
  const carried = mayRelay ? shared : shared.filter((family) => ownFamilies.includes(family));
  return carried.length === 0 ? [4] : carried;
}

/** Of the network that carries a gateway node's own address. */
export function ownFamily({ privateIp }: GatewayNode): Family {
  return privateIp === undefined ? 4 : familyOf(privateIp);
}

/** What this machine can carry of `families`, and why not the rest. `raven0` and every tunnel must take the packets that each IPv6 link has to (RFC 8200 §5). */
export function carriableFamilies(
  families: readonly Family[],
  { ipv6Forwarding }: Pick<LocalFacts, 'ipv6Forwarding'>,
  overlayMtuBytes: number,
): { families: readonly Family[]; findings: Finding[] } {
  if (!families.includes(6)) return { families, findings: [] };
  const without = (message: string) => ({
    families: families.filter((family) => family !== 6),
    findings: [{ reason: 'FamilyNotCarried', message }],
  });
  if (ipv6Forwarding === undefined) return without('IPv6 is not carried by this node: its kernel has no IPv6');
  if (overlayMtuBytes < IPV6_MIN_MTU_BYTES) {
    return without(
      `IPv6 is not carried by this node: ${overlayMtuBytes} bytes are left in raven0, and IPv6 needs ${IPV6_MIN_MTU_BYTES}; give the underlay a larger MTU`,
    );
  }
  if (ipv6Forwarding) return { families, findings: [] };
  const message =
    'net.ipv6.conf.all.forwarding is 0 on this node: its kernel passes no IPv6 packet of pods on; set it to 1, as CNIs with IPv6 do';
  return { families, findings: [{ reason: 'IPv6ForwardingOff', message }] };
}

/** Families that only one of two regions has: pods reach each other by the other one, or not at all. */
export function familyFindings(own: Region, { regions }: Snapshot): Finding[] {
  return regions.flatMap(({ name, cidrs }) => {
    if (name === own.name || cidrs.length === 0 || own.cidrs.length === 0) return [];
    return FAMILIES.flatMap((family): Finding[] => {
      const [lacking, having] = has(own.cidrs, family) ? [name, own.name] : [own.name, name];
      if (has(own.cidrs, family) === has(cidrs, family)) return [];
      const message = `IPv${family} is not carried between regions ${own.name} and ${name}: ${having} has IPv${family} pod CIDRs and ${lacking} has none`;
      return [{ reason: 'FamilyNotCarried', gateway: name, message }];
    });
  });
}

function has(cidrs: readonly Cidr[], family: Family): boolean {
  return cidrs.some((cidr) => familyOf(cidr) === family);
}
