import { compareText } from '../lib/compare.ts';
import type { WgKey } from '../net/wg-key.ts';
import type { Finding, VpnDriver } from './node-plan.ts';
import type { Paths } from './paths.ts';
import type { GatewayNode } from './snapshot.ts';

export interface MatchedPaths {
  readonly paths: Paths;
  readonly findings: readonly Finding[];
}

/**
 * Leaves out what would need a tunnel to a gateway node with another VPN driver, or with WireGuard and no key of its own, and says so.
 * All other ways stay as they are. A node that has not reported yet is taken to be like us.
 */
export function matchDrivers(self: GatewayNode, paths: Paths, driver: VpnDriver): MatchedPaths {
  const problems = new Map<string, Omit<Finding, 'gateway'>>();
  const owners = keyOwners(self, paths);
  const check = (peer: GatewayNode): void => {
    const problem = differs(self, peer, driver) ?? (driver === 'wireguard' ? lacksKey(peer, owners) : undefined);
    if (problem !== undefined) problems.set(peer.name, problem);
  };
  for (const { peer } of paths.associations) check(peer);
  for (const { peer, via } of paths.paths) if (via !== undefined && peer.driver !== undefined && peer.driver !== driver) check(peer);
  const lost = paths.paths.filter(({ peer, via }) => problems.has(peer.name) || problems.has((via ?? peer).name));
  return {
    paths: {
      ...paths,
      associations: paths.associations.filter(({ peer }) => !problems.has(peer.name)),
      paths: paths.paths.filter((path) => !lost.includes(path)),
    },
    findings: lost
      .flatMap(({ region, peer, via }) => {
        const problem = problems.get(peer.name) ?? problems.get((via ?? peer).name);
        return problem === undefined ? [] : [{ ...problem, gateway: region.name }];
      })
      .toSorted((a, b) => compareText(a.gateway, b.gateway)),
  };
}

function differs(self: GatewayNode, peer: GatewayNode, driver: VpnDriver): Omit<Finding, 'gateway'> | undefined {
  if (peer.driver === undefined || peer.driver === driver) return undefined;
  return {
    reason: 'VpnDriverDiffers',
    message: `gateway ${peer.name} of region ${peer.region} uses the VPN driver ${peer.driver}, ${self.name} uses ${driver}: no tunnel between the two`,
  };
}

function lacksKey({ name, region, publicKey }: GatewayNode, owners: ReadonlyMap<WgKey, string>): Omit<Finding, 'gateway'> | undefined {
  const owner = publicKey === undefined ? undefined : owners.get(publicKey);
  if (owner === name) return undefined;
  const why =
    owner === undefined ? 'has not published its WireGuard key yet' : `has the same WireGuard key as ${owner} (a copied state folder?)`;
  return { reason: 'PeerKeyMissing', message: `gateway ${name} of region ${region} ${why}: no tunnel to it` };
}

/** A key counts for one node only: for this one, else for the first by name. */
function keyOwners(self: GatewayNode, { associations }: Paths): ReadonlyMap<WgKey, string> {
  const nodes = [self, ...associations.map(({ peer }) => peer).toSorted((a, b) => compareText(a.name, b.name))];
  const owners = new Map<WgKey, string>();
  for (const { name, publicKey } of nodes) if (publicKey !== undefined && !owners.has(publicKey)) owners.set(publicKey, name);
  return owners;
}
