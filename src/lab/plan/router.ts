import { prefixLength } from '../../net/cidr.ts';
import type { LabRouter, Topology } from '../topology/resolve.ts';
import type { NamespacePlan } from './lab-plan.ts';
import { INTERNET, INTERNET_IP, labMac, LAN_BRIDGE, netnsName, WAN } from './names.ts';
import { dropIcmpChains, forwarderSettings } from './settings.ts';

/** A region's router: a bridge for the LAN, a link to the internet, NAT between them if asked for. */
export function planRouter(topology: Topology, router: LabRouter, lab: string): NamespacePlan {
  const netns = netnsName(lab, router.name);
  const internet = netnsName(lab, INTERNET);
  const { region: device, wanMtuBytes: mtu } = router;
  const nft = nftTable(router);
  return {
    netns,
    kind: 'router',
    member: router.name,
    sysctls: forwarderSettings(topology, 'off'),
    attach: {
      netns: internet,
      device,
      ip: [
        `link add ${device} mtu ${mtu} address ${labMac(internet, device)} type veth peer name ${WAN} mtu ${mtu} address ${labMac(netns, WAN)} netns ${netns}`,
        `addr add ${INTERNET_IP}/32 dev ${device}`,
        `link set ${device} up`,
        // Without NAT the link needs no address of its own: the router answers ARP for that in its LAN.
        router.publicIp === undefined
          ? `route add ${router.lan} via ${router.lanIp} dev ${device} onlink`
          : `route add ${router.publicIp}/32 dev ${device}`,
      ],
    },
    ip: [
      'link set lo up',
      // A fixed address: else the bridge takes that of a port, and changes it when nodes come and go.
      `link add ${LAN_BRIDGE} mtu ${router.lanMtuBytes} address ${labMac(netns, LAN_BRIDGE)} type bridge`,
      `addr add ${router.lanIp}/${prefixLength(router.lan)} dev ${LAN_BRIDGE}`,
      `link set ${LAN_BRIDGE} up`,
      ...(router.publicIp === undefined ? [] : [`addr add ${router.publicIp}/32 dev ${WAN}`]),
      `link set ${WAN} up`,
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
            ({ protocol, publicPort, ip, port }) => `    iifname "${WAN}" ip daddr ${publicIp} ${protocol} dport ${publicPort} dnat to ${ip}:${port}`,
          ),
          '  }',
        ]),
  ];
}
