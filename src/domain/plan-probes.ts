import { PROBE_PORT, RULE_PREF_PROBES, TABLE_PROBES } from '../api/names.ts';
import { hostCidr } from '../net/cidr.ts';
import { FAMILIES, type Family, familyOf, type Ip } from '../net/ip.ts';
import type { Route, Rule } from './node-plan.ts';
import type { PathLimits } from './path-mtu.ts';
import type { Path } from './paths.ts';
import type { NexthopIds } from './plan-routes.ts';

/** See `TABLE_PROBES`. */
function probeRule(family: Family): Rule {
  return { pref: RULE_PREF_PROBES, family, table: TABLE_PROBES, ownUdpPort: PROBE_PORT };
}

/**
 * Lets probes of a path's MTU be as large as the links at both ends allow, see `docs/decisions/0012-path-mtu.md`.
 *
 * @param nexthopIds by region and family
 */
export function planProbes(
  paths: readonly Path[],
  limits: PathLimits,
  nexthopIds: NexthopIds,
): { readonly rules: readonly Rule[]; readonly routes: readonly Route[] } {
  const routes = new Map<Ip, Route>();
  for (const { region, peer } of paths) {
    const probe = limits.get(region.name)?.probe;
    // Of two gateways that claim one address the first by name is asked.
    if (probe === undefined || peer.overlayIp === undefined || routes.has(peer.overlayIp)) continue;
    const nexthopId = nexthopIds(region.name, familyOf(peer.overlayIp));
    routes.set(peer.overlayIp, { table: TABLE_PROBES, dst: hostCidr(peer.overlayIp), nexthopId, mtuBytes: probe.ceilingBytes });
  }
  const families = FAMILIES.filter((family) => [...routes.keys()].some((ip) => familyOf(ip) === family));
  return { rules: families.map(probeRule), routes: [...routes.values()] };
}
