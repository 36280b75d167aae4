/** Three underlays of different MTU, and every router silent about it (R10). */
export const MTUS = `
name: mtus
masquerade: [nft]
internet: {mtu: 1500, dropIcmp: true}
regions:
  - name: a
    lan: 203.0.113.0/24
    nodes:
      - {name: a1, ip: 203.0.113.1, gateway: true, publicIp: 203.0.113.1}
      - {name: a2, ip: 203.0.113.2}
  - name: b
    lan: 192.168.1.0/24
    mtu: 1400
    router: {nat: cone, publicIp: 198.51.100.2, dropIcmp: true, mtu: 1400}
    nodes:
      - {name: b1, gateway: true}
      - {name: b2}
  - name: c
    lan: 192.168.2.0/24
    mtu: 1300
    router: {nat: symmetric, publicIp: 198.51.100.3, dropIcmp: true, mtu: 1300}
    nodes:
      - {name: c1, gateway: true}
      - {name: c2}
`;

/** A public region with both, one behind a NAT with IPv4 alone, one behind a firewall with IPv6 alone. */
export const MIXED = `
name: mixed
clusterCidr: [10.244.0.0/16, 'fd00:10:244::/48']
serviceCidr: [10.96.0.0/16, 'fd00:10:96::/112']
regions:
  - name: a
    lan: [203.0.113.0/24, '2001:db8:a::/64']
    nodes:
      - {name: a1, ip: [203.0.113.1, '2001:db8:a::1'], gateway: true, publicIp: 203.0.113.1}
  - name: b
    lan: 192.168.1.0/24
    router: {nat: symmetric, publicIp: 198.51.100.2}
    nodes:
      - {name: b1, gateway: true}
  - name: c
    lan: '2001:db8:c::/64'
    router: {nat: cone}
    nodes:
      - {name: c1, gateway: true}
      - {name: c2}
`;

/** Two regions behind one NAT, which find each other by private addresses (R7). */
export const ONE_LAN = `
name: onelan
masquerade: [nft]
regions:
  - name: a
    lan: 203.0.113.0/24
    nodes:
      - {name: a1, ip: 203.0.113.1, gateway: true, publicIp: 203.0.113.1}
  - name: b
    lan: 192.168.1.0/24
    router: {nat: symmetric, publicIp: 198.51.100.2}
    nodes:
      - {name: b1, gateway: true}
  - name: c
    router: {sameAs: b}
    nodes:
      - {name: c1, gateway: true}
`;
