import { hostExec } from '../../src/drivers/exec/exec.ts';
import type { LabNode } from '../../test/lab/harness.ts';
import { type End, type RoutesIn, routeLines, ruleLines } from './ends.ts';

const LINK = { gateway: '172.31.0.1', ordinary: '172.31.0.2' };
/** Underlay of 1500 less 50 (RFC 7348 §5). */
const MTU = 1450;

/** Between an ordinary node and its gateway, both ways, as Raven has it: a VXLAN device with one other end, and routes. */
export async function createVxlan({ gateway, ordinary }: End, remotePodCidrs: readonly string[], routesIn: RoutesIn): Promise<void> {
  await configure(gateway, ordinary, [
    `address add ${LINK.gateway}/30 dev hand0`,
    // In place of the CNI's route: a node with strict rp_filter takes remote pods' packets only from where it would send to them.
    `route replace ${ordinary.podCIDR} via ${LINK.ordinary} dev hand0`,
  ]);
  await configure(ordinary, gateway, [
    `address add ${LINK.ordinary}/30 dev hand0`,
    ...ruleLines(routesIn),
    ...routeLines(remotePodCidrs, `via ${LINK.gateway} dev hand0`, routesIn),
  ]);
}

async function configure(self: LabNode, other: LabNode, rest: readonly string[]): Promise<void> {
  const [local, remote] = [self.addresses[0] ?? '', other.addresses[0] ?? ''];
  const lines = [
    `link add hand0 type vxlan id 42 dstport 4789 local ${local} remote ${remote} dev eth0`,
    `link set hand0 mtu ${MTU} up`,
    ...rest,
  ];
  await hostExec(['ip', '-n', self.netns, '-batch', '-'], { stdin: lines.map((line) => `${line}\n`).join('') });
}
