import { PROBE_PORT, RULE_PREF_PROBES, TABLE_PROBES, VXLAN_DEVICE } from '../api/names.ts';
import { hostCidr } from '../net/cidr.ts';
import { FAMILIES, type Family, familyOf, type Ip } from '../net/ip.ts';
import { probeAddress } from '../net/probe-address.ts';
import type { Route, Rule } from './node-plan.ts';
import type { PathLimits } from './path-mtu.ts';
import type { DirectLink, Paths } from './paths.ts';
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
  /** Whether the own region's packets for another one leave here. */
  readonly carries: (region: string) => boolean;
}

/**
 * Takes probes of a tunnel into that very one, whichever endpoint its region's packets go to (`docs/decisions/0014-local-reroute.md`), and lets probes of a
 * path's MTU be as large as the links at both ends allow (`docs/decisions/0012-path-mtu.md`).
 */
export function planProbes(
  { direct, paths }: Pick<Paths, 'direct' | 'paths'>,
  { families, limits, tunnels, plainHops, carries }: ProbeView,
): { readonly rules: readonly Rule[]; readonly routes: readonly Route[] } {
  const routes = new Map<Ip, Route>();
  // Of two endpoints that have one address the first by name is asked.
  const add = ({ peer, isPlain }: DirectLink, ip: Ip, mtu: { readonly mtuBytes?: number }): void => {
    const via = isPlain ? plainHops.get(peer.name)?.[familyOf(ip)] : undefined;
    if (routes.has(ip) || (isPlain && via === undefined)) return;
    const dev = isPlain ? VXLAN_DEVICE : tunnels.deviceOf(peer.name);
    routes.set(ip, { table: TABLE_PROBES, dst: hostCidr(ip), ...(via !== undefined && { via }), dev, ...mtu });
  };
  for (const link of direct) {
    const { peer, isProbed } = link;
    if (isProbed) add(link, probeAddress(peer.name), {});
    const ceilingBytes = limits.get(peer.region)?.probe?.ceilingBytes;
    const isEntry = carries(peer.region) && paths.some((path) => path.peer.name === peer.name);
    if (!isEntry || ceilingBytes === undefined || peer.overlayIp === undefined || !families.includes(familyOf(peer.overlayIp))) continue;
    add(link, peer.overlayIp, { mtuBytes: ceilingBytes });
  }
  const used = FAMILIES.filter((family) => [...routes.keys()].some((ip) => familyOf(ip) === family));
  return { rules: used.map(probeRule), routes: [...routes.values()] };
}
