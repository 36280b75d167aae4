import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { gatewaySchema } from '../../api/gateway.ts';
import { linkLocalIp } from '../../net/ip.ts';
import { parseTopology } from '../topology/parse.ts';
import { formatLabPlan, planLab } from './lab-plan.ts';
import { planManifests, planZone } from './manifests.ts';
import { kubeProxyRules } from './iptables.ts';
import { parseAllDocuments } from 'yaml';

function shipped(name: string) {
  return parseTopology(readFileSync(join(import.meta.dirname, `../../../topologies/${name}.yaml`), 'utf8'), name);
}

describe('the plan of mini', () => {
  const text = formatLabPlan(planLab(shipped('mini'), 'mini'))
    .replaceAll(/ address 02(:[0-9a-f]{2}){5}/g, '')
    .replaceAll(/^ {2}sysctl .*\n/gm, '');

  it('is this', () =>
    expect(text).toMatchInlineSnapshot(`
      "ip netns add raven-mini-internet
        ip link set dev lo up
      ip netns add raven-mini-router-cloud
        ip link set dev lo up
        ip link add name wan mtu 1500 index 10000 type veth peer name cloud mtu 1500 netns raven-mini-internet
        ip link add name lan mtu 1500 type bridge
        ip addr add 203.0.113.254/24 dev lan
        ip link set dev lan up
        ip link set dev wan up
        ip route add default via 192.0.2.1 dev wan onlink
        ip -n raven-mini-internet addr add 192.0.2.1/32 dev cloud
        ip -n raven-mini-internet link set dev cloud up
        ip -n raven-mini-internet route add 203.0.113.0/24 via 203.0.113.254 dev cloud onlink
      ip netns add raven-mini-router-edge
        ip link set dev lo up
        ip link add name wan mtu 1500 index 10000 type veth peer name edge mtu 1500 netns raven-mini-internet
        ip link add name lan mtu 1500 type bridge
        ip addr add 192.168.1.254/24 dev lan
        ip link set dev lan up
        ip addr add 198.51.100.2/32 dev wan
        ip link set dev wan up
        ip route add default via 192.0.2.1 dev wan onlink src 198.51.100.2
        ip -n raven-mini-internet addr add 192.0.2.1/32 dev edge
        ip -n raven-mini-internet link set dev edge up
        ip -n raven-mini-internet route add 198.51.100.2/32 dev edge
        nft -f - <<.
          table ip lab {
            chain postrouting {
              type nat hook postrouting priority srcnat; policy accept;
              oifname "wan" masquerade random,fully-random
            }
            chain input {
              type filter hook input priority filter; policy accept;
              iifname "wan" ct state new meta l4proto { tcp, udp } drop
            }
          }
      ip netns add raven-mini-cloud1
        ip link set dev lo up
        ip link add name eth0 mtu 1500 index 10000 type veth peer name cloud1 mtu 1500 netns raven-mini-router-cloud
        ip addr add 203.0.113.1/24 dev eth0
        ip link set dev eth0 up
        ip route add default via 203.0.113.254 dev eth0
        ip link add name cni0 mtu 1500 type bridge
        ip addr add 10.244.1.1/24 dev cni0
        ip link set dev cni0 up
        ip -n raven-mini-router-cloud link set dev cloud1 master lan up
        iptables-nft-restore --noflush <<.
          *nat
          :FLANNEL-POSTRTG - [0:0]
          -A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
          -A FLANNEL-POSTRTG -s 10.244.1.0/24 -d 10.244.1.0/24 -j RETURN
          -A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE --random-fully
          COMMIT
      ip netns add raven-mini-edge1
        ip link set dev lo up
        ip link add name eth0 mtu 1500 index 10000 type veth peer name edge1 mtu 1500 netns raven-mini-router-edge
        ip addr add 192.168.1.10/24 dev eth0
        ip link set dev eth0 up
        ip route add default via 192.168.1.254 dev eth0
        ip link add name cni0 mtu 1500 type bridge
        ip addr add 10.244.2.1/24 dev cni0
        ip link set dev cni0 up
        ip -n raven-mini-router-edge link set dev edge1 master lan up
        iptables-nft-restore --noflush <<.
          *nat
          :FLANNEL-POSTRTG - [0:0]
          -A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
          -A FLANNEL-POSTRTG -s 10.244.2.0/24 -d 10.244.2.0/24 -j RETURN
          -A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE --random-fully
          COMMIT
      ip netns add raven-mini-pod-cloud1
        ip link set dev lo up
        ip link add name eth0 mtu 1500 index 10000 type veth peer name veth1 mtu 1500 netns raven-mini-cloud1
        ip addr add 10.244.1.2/24 dev eth0
        ip link set dev eth0 up
        ip route add default via 10.244.1.1 dev eth0
        ip -n raven-mini-cloud1 link set dev veth1 master cni0 up
        ip -n raven-mini-cloud1 link set dev veth1 type bridge_slave hairpin on
      ip netns add raven-mini-pod-edge1
        ip link set dev lo up
        ip link add name eth0 mtu 1500 index 10000 type veth peer name veth1 mtu 1500 netns raven-mini-edge1
        ip addr add 10.244.2.2/24 dev eth0
        ip link set dev eth0 up
        ip route add default via 10.244.2.1 dev eth0
        ip -n raven-mini-edge1 link set dev veth1 master cni0 up
        ip -n raven-mini-edge1 link set dev veth1 type bridge_slave hairpin on"
    `));
});

describe('the plan of rig', () => {
  const rig = shipped('rig');

  it('knows no namespace but its own: nothing can get out', () => {
    const plans = planLab(rig, 'rig');
    const own = new Set(plans.map(({ netns }) => netns));
    const mentioned = plans
      .flatMap((plan) => [...plan.ip, ...(plan.attach?.ip ?? [])])
      .flatMap((line) => / netns (\S+)$/.exec(line)?.[1] ?? []);
    expect(mentioned.filter((netns) => !own.has(netns))).toEqual([]);
    expect(plans.every(({ attach, kind }) => kind === 'internet' || own.has(attach!.netns))).toBe(true);
  });

  it('has what kube-proxy writes', () => {
    expect(kubeProxyRules({ ...rig, services: rig.services.slice(0, 1) }, 4)).toMatchInlineSnapshot(`
      "*nat
      :KUBE-SERVICES - [0:0]
      :KUBE-NODEPORTS - [0:0]
      :KUBE-POSTROUTING - [0:0]
      :KUBE-MARK-MASQ - [0:0]
      :KUBE-SVC-web-cloud-0 - [0:0]
      :KUBE-EXT-web-cloud-0 - [0:0]
      :KUBE-SEP-web-cloud-0-0 - [0:0]
      :KUBE-SEP-web-cloud-0-1 - [0:0]
      :KUBE-SVC-kube-dns-1 - [0:0]
      :KUBE-SEP-kube-dns-1-0 - [0:0]
      :KUBE-SVC-kube-dns-2 - [0:0]
      :KUBE-SEP-kube-dns-2-0 - [0:0]
      -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
      -A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
      -I POSTROUTING 1 -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
      -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
      -A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
      -A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
      -A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
      -A KUBE-SERVICES -d 10.96.0.20/32 -p tcp -m tcp --dport 80 -m comment --comment "default/web-cloud" -j KUBE-SVC-web-cloud-0
      -A KUBE-SVC-web-cloud-0 ! -s 10.244.0.0/16 -d 10.96.0.20/32 -p tcp -m tcp --dport 80 -m comment --comment "default/web-cloud" -j KUBE-MARK-MASQ
      -A KUBE-NODEPORTS -p tcp -m tcp --dport 30080 -m comment --comment "default/web-cloud" -j KUBE-EXT-web-cloud-0
      -A KUBE-EXT-web-cloud-0 -j KUBE-MARK-MASQ
      -A KUBE-EXT-web-cloud-0 -j KUBE-SVC-web-cloud-0
      -A KUBE-SVC-web-cloud-0 -m comment --comment "default/web-cloud" -m statistic --mode random --probability 0.5000000000 -j KUBE-SEP-web-cloud-0-0
      -A KUBE-SVC-web-cloud-0 -m comment --comment "default/web-cloud" -j KUBE-SEP-web-cloud-0-1
      -A KUBE-SEP-web-cloud-0-0 -s 10.244.1.2/32 -j KUBE-MARK-MASQ
      -A KUBE-SEP-web-cloud-0-0 -p tcp -m tcp -j DNAT --to-destination 10.244.1.2:8000
      -A KUBE-SEP-web-cloud-0-1 -s 10.244.2.2/32 -j KUBE-MARK-MASQ
      -A KUBE-SEP-web-cloud-0-1 -p tcp -m tcp -j DNAT --to-destination 10.244.2.2:8000
      -A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m udp --dport 53 -m comment --comment "kube-system/kube-dns" -j KUBE-SVC-kube-dns-1
      -A KUBE-SVC-kube-dns-1 ! -s 10.244.0.0/16 -d 10.96.0.10/32 -p udp -m udp --dport 53 -m comment --comment "kube-system/kube-dns" -j KUBE-MARK-MASQ
      -A KUBE-SVC-kube-dns-1 -m comment --comment "kube-system/kube-dns" -j KUBE-SEP-kube-dns-1-0
      -A KUBE-SEP-kube-dns-1-0 -s 10.244.2.2/32 -j KUBE-MARK-MASQ
      -A KUBE-SEP-kube-dns-1-0 -p udp -m udp -j DNAT --to-destination 10.244.2.2:53
      -A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m tcp --dport 53 -m comment --comment "kube-system/kube-dns" -j KUBE-SVC-kube-dns-2
      -A KUBE-SVC-kube-dns-2 ! -s 10.244.0.0/16 -d 10.96.0.10/32 -p tcp -m tcp --dport 53 -m comment --comment "kube-system/kube-dns" -j KUBE-MARK-MASQ
      -A KUBE-SVC-kube-dns-2 -m comment --comment "kube-system/kube-dns" -j KUBE-SEP-kube-dns-2-0
      -A KUBE-SEP-kube-dns-2-0 -s 10.244.2.2/32 -j KUBE-MARK-MASQ
      -A KUBE-SEP-kube-dns-2-0 -p tcp -m tcp -j DNAT --to-destination 10.244.2.2:53
      -A KUBE-SERVICES -m comment --comment "kubernetes service nodeports" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
      COMMIT
      *filter
      :KUBE-FORWARD - [0:0]
      -I FORWARD 1 -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
      -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
      -A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
      -A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
      COMMIT
      "
    `);
  });

  it('has device names that Linux takes', () => {
    const devices = planLab(rig, 'rig').flatMap(({ attach }) => attach?.device ?? []);
    expect(devices.filter((device) => device.length > 15)).toEqual([]);
  });
});

describe('manifests', () => {
  const { 'gateways.yaml': gateways, 'nodes.yaml': nodes } = planManifests(shipped('rig'), Date.parse('2030-01-01T00:00:09Z'));

  it('list gateways in the order of the topology, one second apart', () => {
    const objects = parseAllDocuments(gateways).map((document) => gatewaySchema.parse(document.toJS()));
    expect(
      objects.map(
        ({ metadata, spec }) =>
          `${metadata.name} ${metadata.creationTimestamp} ${spec.endpoints.map(({ nodeName }) => nodeName).join(',')}`,
      ),
    ).toEqual(['a 2030-01-01T00:00:07Z a1', 'b 2030-01-01T00:00:08Z b1,b3', 'c 2030-01-01T00:00:09Z c1']);
  });

  it('describe nodes as a person would', () => {
    expect(nodes.split('---\n')[2]).toMatchInlineSnapshot(`
      "apiVersion: v1
      kind: Node
      metadata:
        name: b1
        creationTimestamp: 2030-01-01T00:00:02Z
        labels:
          kubernetes.io/hostname: b1
          kubernetes.io/os: linux
          raven.openyurt.io/gateway: b
        annotations:
          node.alpha.kubernetes.io/ttl: "0"
      spec:
        podCIDR: 10.244.3.0/24
        podCIDRs:
          - 10.244.3.0/24
      status:
        addresses:
          - type: InternalIP
            address: 192.168.1.10
          - type: Hostname
            address: b1
      "
    `);
  });

  it('give the DNS pod its zone', () => {
    expect(JSON.parse(planZone(shipped('rig')))).toMatchObject({
      'web-edge.default.svc.cluster.local': ['10.96.0.21'],
      'kube-dns.kube-system.svc.cluster.local': ['10.96.0.10'],
    });
  });
});

describe('the plan of six', () => {
  const plans = planLab(shipped('six'), 'six');
  const of = (member: string) =>
    formatLabPlan(plans.filter((each) => each.member === member)).replaceAll(/ address 02(:[0-9a-f]{2}){5}/g, '');

  it('has routers that translate nothing and let in what was asked for', () =>
    expect(of('router-b')).toMatchInlineSnapshot(`
    "ip netns add raven-six-router-b
      sysctl net.ipv4.ip_forward=1
      sysctl net.ipv4.conf.all.rp_filter=0
      sysctl net.ipv4.conf.default.rp_filter=0
      sysctl net.ipv4.icmp_ratelimit=0
      sysctl net.ipv6.conf.all.forwarding=1
      sysctl net.ipv6.icmp.ratelimit=0
      sysctl net.ipv6.conf.all.accept_dad=0
      sysctl net.ipv6.conf.default.accept_dad=0
      sysctl net.ipv6.conf.default.accept_ra=0
      sysctl net.ipv6.conf.default.router_solicitations=0
      sysctl net.bridge.bridge-nf-call-iptables=0
      sysctl net.bridge.bridge-nf-call-ip6tables=0
      ip link set dev lo up
      ip link add name wan mtu 1500 index 10000 type veth peer name b mtu 1500 netns raven-six-internet
      ip link add name lan mtu 1500 type bridge
      ip addr add 2001:db8:b::fe/64 dev lan nodad
      ip link set dev lan up
      ip link set dev wan up
      ip route add default via fe80::83:95ff:fe0c:24b6 dev wan
      ip -n raven-six-internet addr add 192.0.2.1/32 dev b
      ip -n raven-six-internet addr add 2001:db8:ffff::1/128 dev b nodad
      ip -n raven-six-internet link set dev b up
      ip -n raven-six-internet route add 2001:db8:b::/64 via fe80::87:faff:fe07:2a7d dev b
      nft -f - <<.
        table ip6 lab {
          chain forward {
            type filter hook forward priority filter; policy accept;
            iifname "wan" ct state new drop
          }
        }"
  `));

  it("has nodes with the CNI's and kube-proxy's rules for IPv6 alone", () => {
    const text = of('b2');
    expect(text).toContain('-A FLANNEL-POSTRTG -s fd00:10:244::/48 ! -d ff00::/8 -j MASQUERADE --random-fully');
    expect(text).toContain('-j DNAT --to-destination [fd00:10:244:2::2]:8000');
    expect(text).toContain('ip6tables-nft-restore');
    expect(text).not.toContain(' iptables-nft-restore');
  });
});

describe('the plan of dual', () => {
  it("reaches IPv6 pods of the region by the nodes' link-local addresses, for the LAN has no others", () => {
    const { ip } = planLab(shipped('dual'), 'dual').find(({ member }) => member === 'b1')!;
    const b2 = planLab(shipped('dual'), 'dual').find(({ member }) => member === 'b2')!;
    const mac = /name eth0 .* address (\S+) index/.exec(b2.ip.join('\n'))![1]!;
    expect(ip).toContain(`route add fd00:10:244:4::/64 via ${linkLocalIp(mac)} dev eth0`);
  });
});
