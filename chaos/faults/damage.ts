import { wgOf } from '../../test/lab/wg.ts';
import type { Driver, Rig } from '../rig.ts';
import type { Fault } from '../fault.ts';

interface Damage {
  readonly what: string;
  readonly drivers?: readonly Driver[];
  /** Does it on the node that carries for B. */
  readonly by: (rig: Rig, node: string) => Promise<unknown>;
}

/** R25: back within 10 s. */
const REPAIR_BUDGET_MS = 10_000;

const DAMAGES: Readonly<Record<string, Damage>> = {
  route: { what: 'route to a node of C', by: (rig, node) => rig.in(node, ['ip', 'route', 'del', rig.podCidr('c2'), 'table', '9027']) },
  'route-back': {
    what: 'route to b2 for packets out of tunnels',
    by: (rig, node) => rig.in(node, ['ip', 'route', 'del', rig.podCidr('b2'), 'table', '9028']),
  },
  rule: { what: 'rule that leads to the routes', by: (rig, node) => rig.in(node, ['ip', 'rule', 'del', 'pref', '100']) },
  nexthop: { what: 'next hops', by: (rig, node) => rig.in(node, ['ip', 'nexthop', 'flush', 'proto', '82']) },
  fdb: { what: 'forwarding entries of raven0', by: (rig, node) => rig.in(node, ['bridge', 'fdb', 'flush', 'dev', 'raven0']) },
  neighbours: {
    what: 'neighbours of raven0',
    by: (rig, node) => rig.in(node, ['ip', 'neigh', 'flush', 'dev', 'raven0', 'nud', 'permanent']),
  },
  link: { what: 'link raven0', by: (rig, node) => rig.in(node, ['ip', 'link', 'del', 'raven0']) },
  nft: { what: 'nft table', by: (rig, node) => rig.in(node, ['nft', 'delete', 'table', 'inet', 'raven']) },
  sa: { what: 'SA with a1', drivers: ['ipsec'], by: (rig, node) => rig.swanctl(node, '--terminate', '--ike', 'raven-a1') },
  peer: { what: 'WireGuard peer a1', drivers: ['wireguard'], by: removeFirstPeer },
};

/** Somebody deletes what is Raven's on the gateway, by hand; nobody heals it but the agent (R25). */
export const DAMAGE_FAULTS: readonly Fault[] = Object.entries(DAMAGES).map(([name, { what, drivers, by }]) => ({
  name: `deleted-${name}`,
  requirement: 'R25',
  what: `the gateway's ${what} deleted by hand`,
  expected: { traffic: 'returns', budgetMs: REPAIR_BUDGET_MS },
  ...(drivers !== undefined && { drivers }),
  places: ['kernel', 'nodes'],
  inject: (rig, { carrier }) => by(rig, carrier),
}));

async function removeFirstPeer(rig: Rig, node: string): Promise<void> {
  const at = await rig.lab.node(node);
  const [peer = ''] = (await wgOf(at, 'show', 'raven-wg0', 'peers')).split('\n');
  await wgOf(at, 'set', 'raven-wg0', 'peer', peer, 'remove');
}
