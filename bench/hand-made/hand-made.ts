import { netnsExec } from '../../src/drivers/exec/exec.ts';
import type { DataPath, Ends, RoutesIn } from './ends.ts';
import { createIpsec } from './ipsec.ts';
import { createVxlan } from './vxlan.ts';
import { createWireguard } from './wireguard.ts';

export type Driver = 'ipsec' | 'wireguard';

const TUNNELS = { ipsec: createIpsec, wireguard: createWireguard };

export interface HandMadeKind {
  readonly driver: Driver;
  readonly dataPath: DataPath;
  readonly routesIn: RoutesIn;
}

/**
 * The same way as Raven's between the same nodes, as an operator would make it with the tools' own commands.
 *
 * @returns ends the programs that were started; devices and routes go with the lab's namespaces
 */
export async function createHandMade(ends: Ends, { driver, dataPath, routesIn }: HandMadeKind): Promise<() => Promise<void>> {
  const { caller, called } = ends;
  await createVxlan(caller, called.podCidrs, routesIn);
  await createVxlan(called, caller.podCidrs, routesIn);
  for (const { gateway, ordinary } of [caller, called]) {
    await exceptFromMasquerade(gateway.netns);
    await exceptFromMasquerade(ordinary.netns);
    await clampMss(gateway.netns);
  }
  return await TUNNELS[driver](ends, dataPath, routesIn);
}

/** What everybody forgets first: the CNI would give packets to other regions the node's address. */
async function exceptFromMasquerade(netns: string): Promise<void> {
  const [pods, match] = ['10.244.0.0/16', ['iptables', '-w', '-t', 'nat', '-I', 'POSTROUTING'] as const];
  await netnsExec(netns)([...match, '-s', pods, '-d', pods, '-j', 'ACCEPT']);
}

/** What everybody forgets next: the tunnel's MTU is smaller than the pods'. */
async function clampMss(netns: string): Promise<void> {
  const syn = ['-p', 'tcp', '--tcp-flags', 'SYN,RST', 'SYN'];
  await netnsExec(netns)(['iptables', '-w', '-t', 'mangle', '-A', 'FORWARD', ...syn, '-j', 'TCPMSS', '--clamp-mss-to-pmtu']);
}
