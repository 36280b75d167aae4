import type { Exec } from '../exec/exec.ts';
import type { Connection } from './connection.ts';
import type { Observed } from './reconcile.ts';
import { type ChildSa, type IkeSa, isCarrying, parseConnections, parseIkeSas } from './sas.ts';
import type { ViciClient } from './vici-client.ts';
import { observeXfrm, type XfrmView } from './xfrm.ts';

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
  const ifIds = new Map(connections.map(({ name, tunnel }) => [name, tunnel.ifId]));
  const isLost = (name: string, child: ChildSa): boolean => {
    const ifId = ifIds.get(name);
    const complete = spis.has(child.spiIn) && spis.has(child.spiOut) && (ifId === undefined || policies.has(ifId));
    // In its first second it may be half written while we look.
    return isCarrying(child) && child.installedS >= 1 && !complete;
  };
  return new Set(ikeSas.flatMap(({ name, children }) => children.filter((child) => isLost(name, child)).map(({ id }) => id)));
}
