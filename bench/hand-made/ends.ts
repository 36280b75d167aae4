import type { ChildProcess } from 'node:child_process';
import { mergeCidrs, parseCidr } from '../../src/net/cidr.ts';
import type { LabNode } from '../../test/lab/harness.ts';

/** Where packets are encrypted. */
export type DataPath = 'kernel' | 'user';

/**
 * Where the routes to the other end stand: among all others, or in a table of their own that a rule looks up first. The latter is strongSwan's way (table and
 * rule 220; charon makes the rule in any case), and what a host needs whose CNI has routes for the same pods in `main`.
 */
export type RoutesIn = 'main' | 'table';

const OWN_TABLE = '220';

/** One region of a lab without Raven: the node that gets the tunnel, and one behind it. */
export interface End {
  readonly gateway: LabNode;
  readonly ordinary: LabNode;
  /** Of both nodes, merged: one selector with the gateway's own addresses in it, without which kernel-libipsec installs no policy. */
  readonly podCidrs: readonly string[];
}

/** `caller` stands behind the NAT. */
export interface Ends {
  readonly caller: End;
  readonly called: End;
}

export function endOf(gateway: LabNode, ordinary: LabNode): End {
  return { gateway, ordinary, podCidrs: mergeCidrs([gateway.podCIDR, ordinary.podCIDR].flatMap((text) => parseCidr(text) ?? [])) };
}

/** Ends a program that the bench started, and waits for that; also one that has ended already. */
export async function endProgram(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
}

/** Lines for ip(8). @param way the rest of each route */
export function routeLines(cidrs: readonly string[], way: string, routesIn: RoutesIn): string[] {
  return cidrs.map((cidr) => `route add ${cidr} ${way}${routesIn === 'main' ? '' : ` table ${OWN_TABLE}`}`);
}

/** Line for ip(8), but where charon runs, which makes it itself. */
export function ruleLines(routesIn: RoutesIn): string[] {
  return routesIn === 'main' ? [] : [`rule add pref ${OWN_TABLE} lookup ${OWN_TABLE}`];
}
