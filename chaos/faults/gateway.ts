import { must } from '../../test/lab/harness.ts';
import { FAILOVER, type Fault } from '../fault.ts';

/** Drops what the VPN sends and receives (port 4500 of the lab's endpoints), and nothing else. */
const NO_UNDERLAY = `
table inet chaos_underlay {
  chain input { type filter hook input priority -400; udp dport 4500 drop; }
  chain output { type filter hook output priority -400; udp sport 4500 drop; }
}
`;
/** Declared first, so that it works as well when there is none. */
const UNDERLAY = 'table inet chaos_underlay\ndelete table inet chaos_underlay\n';

/** The gateway that carries for region B dies, in one way or another (R20). That it returns is seen while the fault is healed. */
export const GATEWAY_FAULTS: readonly Fault[] = [
  {
    name: 'power-off',
    requirement: 'R20',
    what: 'the gateway loses power: no cable, no process, no namespace; later it boots again',
    expected: FAILOVER,
    places: ['nodes', 'uplink', 'programs', 'kernel'],
    inject: (rig, { carrier }) => rig.kill(carrier),
    heal: (rig, { carrier }) => rig.start(carrier),
  },
  {
    name: 'uplink-down',
    requirement: 'R20',
    what: "the gateway's cable is pulled out of the switch, and put back",
    expected: FAILOVER,
    places: ['uplink'],
    inject: (rig, { carrier }) => setCable(rig.netns('router-b'), carrier, 'down'),
    heal: (rig, { carrier }) => setCable(rig.netns('router-b'), carrier, 'up'),
  },
  {
    name: 'underlay-blocked',
    requirement: 'R20',
    what: "the gateway's VPN port is blocked; its LAN and its way to the API work",
    expected: FAILOVER,
    places: ['uplink'],
    inject: (rig, { carrier }) => rig.in(carrier, ['nft', '-f', '-'], NO_UNDERLAY),
    heal: (rig, { carrier }) => rig.in(carrier, ['nft', '-f', '-'], UNDERLAY),
  },
  {
    name: 'forward-drop',
    requirement: 'R20',
    what: "the gateway's firewall forwards nothing, though its node answers",
    expected: FAILOVER,
    places: ['uplink'],
    inject: (rig, { carrier }) => rig.in(carrier, ['iptables', '-w', '-P', 'FORWARD', 'DROP']),
    heal: (rig, { carrier }) => rig.in(carrier, ['iptables', '-w', '-P', 'FORWARD', 'ACCEPT']),
  },
];

/** The switch's end of a node's cable, which the lab names as the node. */
function setCable(router: string, node: string, state: 'up' | 'down'): Promise<string> {
  return must(['ip', '-n', router, 'link', 'set', 'dev', node, state]);
}
