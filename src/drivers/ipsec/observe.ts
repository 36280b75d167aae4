import type { Tunnel } from '../../domain/node-plan.ts';
import { familyOf } from '../../net/ip.ts';
import type { Exec } from '../exec/exec.ts';
import type { Connection } from './connection.ts';
import type { Observed } from './reconcile.ts';
import { type ChildSa, type IkeSa, isCarrying, parseConnections, parseIkeSas } from './sas.ts';
import type { ViciClient } from './vici-client.ts';
import { observeXfrm, POLICY_DIRECTIONS, policyKey, type XfrmState, type XfrmView } from './xfrm.ts';

/** Looks at charon and, when `kernel` is given, at what the kernel holds of it. Asks only. */
export async function observeCharon(client: ViciClient, connections: readonly Connection[], kernel: Exec | undefined): Promise<Observed> {
  const loaded = parseConnections(await client.stream('list-conns', 'list-conn'));
  const ikeSas = await listIkeSas(client);
  return { loaded, ikeSas, lost: kernel === undefined ? new Set() : findLost(ikeSas, connections, await observeXfrm(kernel)) };
}

/** Without `noblock`: that would leave out each SA that charon works on right now, as if it were not there. */
export async function listIkeSas(client: ViciClient): Promise<IkeSa[]> {
  return parseIkeSas(await client.stream('list-sas', 'list-sa'));
}

/** CHILD_SAs that charon believes in and of which the kernel lacks a state or the policies. Pure. */
export function findLost(ikeSas: readonly IkeSa[], connections: readonly Connection[], { states, policies }: XfrmView): Set<number> {
  const spis = new Set(states.map(({ spi }) => spi));
  const policiesOf = new Map(connections.map(({ name, tunnel }) => [name, neededPolicies(tunnel)]));
  const isLost = (name: string, child: ChildSa): boolean => {
    const needed = policiesOf.get(name) ?? [];
    const complete = spis.has(child.spiIn) && spis.has(child.spiOut) && needed.every((policy) => policies.has(policy));
    // In its first second it may be half written while we look.
    return isCarrying(child) && child.installedS >= 1 && !complete;
  };
  return new Set(ikeSas.flatMap(({ name, children }) => children.filter((child) => isLost(name, child)).map(({ id }) => id)));
}

function neededPolicies({ ifId, localTs, remoteTs }: Tunnel): string[] {
  if (ifId === undefined) return [];
  const families = ([4, 6] as const).filter((family) =>
    [localTs, remoteTs].every((selectors) => selectors.some((each) => familyOf(each) === family)),
  );
  return families.flatMap((family) => POLICY_DIRECTIONS.map((dir) => policyKey(ifId, family, dir)));
}

/** Those of `stale` whose tunnel has had a newer SA for long enough that no packet needs the old one any more. Pure. */
export function replacedStates(stale: readonly XfrmState[], ikeSas: readonly IkeSa[], connections: readonly Connection[]): XfrmState[] {
  const settled = ikeSas
    .filter(({ children }) => children.some((child) => isCarrying(child) && child.installedS > 2))
    .map(({ name }) => name);
  const ifIds = new Set(connections.filter(({ name }) => settled.includes(name)).map(({ tunnel }) => tunnel.ifId));
  return unknownStates(stale, ikeSas).filter(({ ifId }) => ifIds.has(ifId));
}

/** Those of `states` that belong to no SA of this charon: an earlier one left them. Pure. */
export function unknownStates(states: readonly XfrmState[], ikeSas: readonly IkeSa[]): XfrmState[] {
  const spis = new Set(ikeSas.flatMap(({ children }) => children.flatMap(({ spiIn, spiOut }) => [spiIn, spiOut])));
  return states.filter(({ spi }) => !spis.has(spi));
}
