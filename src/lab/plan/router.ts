import { prefixLength } from '../../net/cidr.ts';
import type { LabRouter, Topology } from '../topology/resolve.ts';
import type { NamespacePlan } from './lab-plan.ts';
import { formatBridge, formatVeth } from './links.ts';
import { INTERNET, INTERNET_IP, LAN_BRIDGE, netnsName, WAN } from './names.ts';
import { dropIcmpChains, forwarderSettings } from './settings.ts';

/** A region's router: a bridge for the LAN, a link to the internet, NAT between them if asked for. */
export function planRouter(topology: Topology, router: LabRouter, lab: string): NamespacePlan {
  const netns = netnsName(lab, router.name);
  const internet = netnsName(lab, INTERNET);
  const device = router.region;
  const nft = nftTable(router);
  return {
    netns,
    kind: 'router',
    member: router.name,
    // What the LAN's bridge passes on is no business of the router's firewall, as it is none of a real switch.
    sysctls: [...forwarderSettings(topology, 'off'), 'net.bridge.bridge-nf-call-iptables=0'],
    attach: {
      netns: internet,
      device,
      ip: [
        `addr add ${INTERNET_IP}/32 dev ${device}`,
        `link set dev ${device} up`,
        // Without NAT the link needs no address of its own: the router answers ARP for that in its LAN.
        router.publicIp === undefined
          ? `route add ${router.lan} via ${router.lanIp} dev ${device} onlink`
          : `route add ${router.publicIp}/32 dev ${device}`,
      ],
    },
    ip: [
      'link set dev lo up',
      formatVeth({ netns, name: WAN }, { netns: internet, name: device }, router.wanMtuBytes),
      formatBridge(netns, LAN_BRIDGE, router.lanMtuBytes),
      `addr add ${router.lanIp}/${prefixLength(router.lan)} dev ${LAN_BRIDGE}`,
      `link set dev ${LAN_BRIDGE} up`,
      ...(router.publicIp === undefined ? [] : [`addr add ${router.publicIp}/32 dev ${WAN}`]),
      `link set dev ${WAN} up`,
      `route add default via ${INTERNET_IP} dev ${WAN} onlink${router.publicIp === undefined ? '' : ` src ${router.publicIp}`}`,
    ],
    ...(nft.length > 0 && { nft: ['table ip lab {', ...nft, '}', ''].join('\n') }),
    iptables: [],
  };
}

function nftTable(router: LabRouter): string[] {
  return [...(router.nat === 'none' ? [] : natChains(router)), ...(router.dropIcmp ? dropIcmpChains() : [])];
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
