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

/** a and d reach each other through routers without NAT and are marked so (R14); b is an edge as any. */
export const ROUTABLE = `
name: routable
masquerade: [legacy, nft]
rpFilter: strict
regions:
  - name: a
    lan: 203.0.113.0/24
    annotations: {raven.openyurt.io/routable-domain: vpc-1}
    nodes:
      - {name: a1, ip: 203.0.113.1, gateway: true, publicIp: 203.0.113.1}
      - {name: a2, ip: 203.0.113.2}
  - name: b
    lan: 192.168.1.0/24
    router: {nat: cone, publicIp: 198.51.100.2}
    nodes:
      - {name: b1, gateway: true}
      - {name: b2}
  - name: d
    lan: 10.9.0.0/24
    annotations: {raven.openyurt.io/routable-domain: vpc-1}
    nodes:
      - {name: d1, gateway: true}
      - {name: d2}
`;

/** Every LAN private, one behind a port forward: what node addresses need to be carried (R5). b and c talk through a. */
export const NODE_IPS = `
name: nodeips
masquerade: [legacy, nft]
rpFilter: strict
regions:
  - name: a
    lan: 10.0.1.0/24
    router: {nat: cone, publicIp: 203.0.113.1, forwards: [{publicPort: 4500, node: a1, port: 4500}]}
    nodes:
      - {name: a1, ip: 10.0.1.10, gateway: true, publicIp: 203.0.113.1}
      - {name: a2, ip: 10.0.1.11}
  - name: b
    lan: 192.168.1.0/24
    router: {nat: cone, publicIp: 198.51.100.2}
    nodes:
      - {name: b1, ip: 192.168.1.10, gateway: true}
      - {name: b2, ip: 192.168.1.11}
  - name: c
    lan: 192.168.2.0/24
    router: {nat: symmetric, publicIp: 198.51.100.3}
    nodes:
      - {name: c1, ip: 192.168.2.10, gateway: true}
      - {name: c2, ip: 192.168.2.11}
services:
  - {name: web, clusterIP: 10.96.0.20, port: 80, targetPort: 8000, nodePort: 30080, pods: [pod-a2, pod-c2]}
`;

/** Every link of a node has 1500, the internet less, and nobody says so (R10); b and c talk through a. */
export const MIDDLE = `
name: middle
masquerade: [nft]
internet: {mtu: 1400, dropIcmp: true}
regions:
  - name: a
    lan: 203.0.113.0/24
    mtu: 1500
    router: {dropIcmp: true}
    nodes:
      - {name: a1, ip: 203.0.113.1, gateway: true, publicIp: 203.0.113.1}
      - {name: a2, ip: 203.0.113.2}
  - name: b
    lan: 192.168.1.0/24
    mtu: 1500
    router: {nat: cone, publicIp: 198.51.100.2, dropIcmp: true}
    nodes:
      - {name: b1, gateway: true}
      - {name: b2}
  - name: c
    lan: 192.168.2.0/24
    mtu: 1500
    router: {nat: symmetric, publicIp: 198.51.100.3, dropIcmp: true, mtu: 1280}
    nodes:
      - {name: c1, gateway: true}
      - {name: c2}
`;

/** Jumbo frames everywhere; a and d need no tunnel. */
export const JUMBO = `
name: jumbo
masquerade: [nft]
internet: {mtu: 9000}
regions:
  - name: a
    lan: 203.0.113.0/24
    annotations: {raven.openyurt.io/routable-domain: vpc-1}
    nodes:
      - {name: a1, ip: 203.0.113.1, gateway: true, publicIp: 203.0.113.1}
      - {name: a2, ip: 203.0.113.2}
  - name: b
    lan: 192.168.1.0/24
    router: {nat: cone, publicIp: 198.51.100.2}
    nodes:
      - {name: b1, gateway: true}
  - name: d
    lan: 10.9.0.0/24
    annotations: {raven.openyurt.io/routable-domain: vpc-1}
    nodes:
      - {name: d1, gateway: true}
      - {name: d2}
`;

/** a and b have two active endpoints each (R44). b talks to a by b1, to c by b3, and to d by b1 and its relay a1. */
export const LANES = `
name: lanes
masquerade: [nft]
rpFilter: strict
regions:
  - name: a
    lan: 203.0.113.0/24
    replicas: 2
    nodes:
      - {name: a1, ip: 203.0.113.1, gateway: true, publicIp: 203.0.113.1}
      - {name: a2, ip: 203.0.113.2}
      - {name: a3, ip: 203.0.113.3, gateway: true, publicIp: 203.0.113.3}
  - name: b
    lan: 192.168.1.0/24
    replicas: 2
    router: {nat: cone, publicIp: 198.51.100.2}
    nodes:
      - {name: b1, ip: 192.168.1.10, gateway: true}
      - {name: b2, ip: 192.168.1.11}
      - {name: b3, ip: 192.168.1.12, gateway: true}
  - name: c
    lan: 203.0.114.0/24
    nodes:
      - {name: c1, ip: 203.0.114.1, gateway: true, publicIp: 203.0.114.1}
      - {name: c2, ip: 203.0.114.2}
  - name: d
    lan: 192.168.2.0/24
    router: {nat: symmetric, publicIp: 198.51.100.3}
    nodes:
      - {name: d1, ip: 192.168.2.10, gateway: true}
`;
