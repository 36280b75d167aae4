import { prefixLength } from '../../net/cidr.ts';
import { familiesOf, type Family, familyOf } from '../../net/ip.ts';
import type { LabLan, LabRouter, Topology } from '../topology/resolve.ts';
import type { NamespacePlan } from './lab-plan.ts';
import { formatAddress, formatBridge, formatVeth } from './links.ts';
import { INTERNET, INTERNET_IP, INTERNET_IP6, labLinkLocal, LAN_BRIDGE, netnsName, WAN } from './names.ts';
import { labTables } from './nft.ts';
import { dropIcmpChains, forwarderSettings } from './settings.ts';

/** A region's router: a bridge for the LAN, a link to the internet, NAT or a firewall between them if asked for. */
export function planRouter(topology: Topology, router: LabRouter, lab: string): NamespacePlan {
  const netns = netnsName(lab, router.name);
  const internet = netnsName(lab, INTERNET);
  const device = router.region;
  const families = familiesOf(router.lans.map(({ cidr }) => cidr));
  const nft = labTables(families, (family) => [
    ...(router.nat === 'none' ? [] : family === 4 ? natChains(router) : firewallChain()),
    ...(router.dropIcmp ? dropIcmpChains(family) : []),
  ]);
  const lanIn = (family: Family): LabLan | undefined => router.lans.find(({ cidr }) => familyOf(cidr) === family);
  const [lan4, lan6] = [lanIn(4), lanIn(6)];
  return {
    netns,
    kind: 'router',
    member: router.name,
    // What the LAN's bridge passes on is no business of the router's firewall, as it is none of a real switch.
    sysctls: [
      ...forwarderSettings(topology, 'off'),
      'net.bridge.bridge-nf-call-iptables=0',
      ...(topology.ipv6 === 'on' ? ['net.bridge.bridge-nf-call-ip6tables=0'] : []),
    ],
    attach: {
      netns: internet,
      device,
      ip: [
        `addr add ${INTERNET_IP}/32 dev ${device}`,
        ...(lan6 === undefined ? [] : [formatAddress(INTERNET_IP6, 128, device)]),
        `link set dev ${device} up`,
        ...(lan4 === undefined ? [] : [internetRoute(router, lan4, device)]),
        ...(lan6 === undefined ? [] : [`route add ${lan6.cidr} via ${labLinkLocal(netns, WAN)} dev ${device}`]),
      ],
    },
    ip: [
      'link set dev lo up',
      formatVeth({ netns, name: WAN }, { netns: internet, name: device }, router.wanMtuBytes),
      formatBridge(netns, LAN_BRIDGE, router.lanMtuBytes),
      ...router.lans.map(({ cidr, routerIp }) => formatAddress(routerIp, prefixLength(cidr), LAN_BRIDGE)),
      `link set dev ${LAN_BRIDGE} up`,
      ...(router.publicIp === undefined ? [] : [`addr add ${router.publicIp}/32 dev ${WAN}`]),
      `link set dev ${WAN} up`,
      ...(lan4 === undefined
        ? []
        : [`route add default via ${INTERNET_IP} dev ${WAN} onlink${router.publicIp === undefined ? '' : ` src ${router.publicIp}`}`]),
      ...(lan6 === undefined ? [] : [`route add default via ${labLinkLocal(internet, device)} dev ${WAN}`]),
    ],
    ...(nft !== undefined && { nft }),
    iptables: [],
  };
}

/** Without NAT the link needs no address of its own: the router answers ARP for that in its LAN. */
function internetRoute({ publicIp }: LabRouter, { cidr, routerIp }: LabLan, device: string): string {
  return publicIp === undefined ? `route add ${cidr} via ${routerIp} dev ${device} onlink` : `route add ${publicIp}/32 dev ${device}`;
}

/** IPv6 is routed; from outside comes only what was asked for. */
function firewallChain(): string[] {
  return [
    '  chain forward {',
    '    type filter hook forward priority filter; policy accept;',
    `    iifname "${WAN}" ct state new drop`,
    '  }',
  ];
}

function natChains({ nat, publicIp, forwards }: LabRouter): string[] {
  return [
    '  chain postrouting {',
    '    type nat hook postrouting priority srcnat; policy accept;',
    // Linux keeps the source port when it is free: the same one for every destination, until two nodes want it.
    `    oifname "${WAN}" masquerade${nat === 'symmetric' ? ' random,fully-random' : ''}`,
    '  }',
    '  chain input {',
    '    type filter hook input priority filter; policy accept;',
    // As home routers do. An unasked-for packet that was let in would also occupy the port that a node inside is about to use.
    `    iifname "${WAN}" ct state new meta l4proto { tcp, udp } drop`,
    '  }',
    ...(forwards.length === 0
      ? []
      : [
          '  chain prerouting {',
          '    type nat hook prerouting priority dstnat; policy accept;',
          ...forwards.map(
            ({ protocol, publicPort, ip, port }) =>
              `    iifname "${WAN}" ip daddr ${publicIp} ${protocol} dport ${publicPort} dnat to ${ip}:${port}`,
          ),
          '  }',
        ]),
  ];
}
