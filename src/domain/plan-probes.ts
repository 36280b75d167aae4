import { PROBE_PORT, RULE_PREF_PROBES, TABLE_PROBES, VXLAN_DEVICE } from '../api/names.ts';
import { hostCidr } from '../net/cidr.ts';
import { FAMILIES, type Family, familyOf, type Ip } from '../net/ip.ts';
import type { Route, Rule } from './node-plan.ts';
import type { PathLimits } from './path-mtu.ts';
import type { Paths } from './paths.ts';
import type { PlainHops } from './plan-plain.ts';
import type { TunnelRoutes } from './plan-tunnels.ts';

/** See `TABLE_PROBES`. */
function probeRule(family: Family): Rule {
  return { pref: RULE_PREF_PROBES, family, table: TABLE_PROBES, ownUdpPort: PROBE_PORT };
}

export interface ProbeView {
  /** Carried between regions. */
  readonly families: readonly Family[];
  readonly limits: PathLimits;
  readonly tunnels: Pick<TunnelRoutes, 'deviceOf'>;
  readonly plainHops: PlainHops;
}

/**
 * Takes probes of a far endpoint to that very one, whichever endpoint its region's packets go to (`docs/decisions/0014-local-reroute.md`), and lets them be
 * as large as the links at both ends allow (`docs/decisions/0012-path-mtu.md`).
 */
export function planProbes(
  { direct, paths }: Pick<Paths, 'direct' | 'paths'>,
  { families, limits, tunnels, plainHops }: ProbeView,
): { readonly rules: readonly Rule[]; readonly routes: readonly Route[] } {
  const routes = new Map<Ip, Route>();
  for (const { peer, isPlain } of direct) {
    // Of two endpoints that claim one address the first by name is asked.
    if (peer.overlayIp === undefined || routes.has(peer.overlayIp) || !families.includes(familyOf(peer.overlayIp))) continue;
    const via = isPlain ? plainHops.get(peer.name)?.[familyOf(peer.overlayIp)] : undefined;
    if (isPlain && via === undefined) continue;
    const isEntry = paths.some((path) => path.peer.name === peer.name);
    const mtuBytes = isEntry ? limits.get(peer.region)?.probe?.ceilingBytes : undefined;
    routes.set(peer.overlayIp, {
      table: TABLE_PROBES,
      dst: hostCidr(peer.overlayIp),
      ...(via !== undefined && { via }),
      dev: isPlain ? VXLAN_DEVICE : tunnels.deviceOf(peer.name),
      ...(mtuBytes !== undefined && { mtuBytes }),
    });
  }
  const used = FAMILIES.filter((family) => [...routes.keys()].some((ip) => familyOf(ip) === family));
  return { rules: used.map(probeRule), routes: [...routes.values()] };
}
