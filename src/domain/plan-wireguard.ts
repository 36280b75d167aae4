import { TUNNEL_GROUP, WIREGUARD_DEVICE } from '../api/names.ts';
import { type Cidr, hostCidr } from '../net/cidr.ts';
import { type Family, familyOf, type Ip } from '../net/ip.ts';
import { WIREGUARD_ALIGN_BYTES, wireguardMtu } from '../net/mtu.ts';
import { probeAddress } from '../net/probe-address.ts';
import { ownFamily } from './families.ts';
import type { LinkPlan, WireguardTunnel } from './node-plan.ts';
import type { Association, Path, Paths } from './paths.ts';
import type { TunnelRoutes, TunnelView } from './plan-tunnels.ts';
import type { GatewayNode } from './snapshot.ts';

/** Less than the half minute after which the shortest-lived NATs forget a UDP flow (RFC 4787 §4.3 asks for 2 min; `wg(8)` recommends 25 s). */
const KEEPALIVE_S = 25;

/**
 * The VPN half of a gateway's plan with WireGuard: one device for all peers, and its allowed IPs decide who gets a packet.
 * Each region's prefixes belong to the peer that leads there: its own gateway, or the relay.
 */
export function wireguardTunnels({ self, paths, underlay, dataPath, nodeIps }: TunnelView): TunnelRoutes {
  const remotes = new Map(paths.associations.map(({ peer, remote }) => [peer.name, remote]));
  const outer = ownFamily(self);
  const deviceMtuBytes = wireguardMtu(underlay.mtuBytes, outer);
  const mtuTo = (peer: GatewayNode): number =>
    wireguardMtu(
      Math.min(underlay.mtuBytes, peer.underlayMtuBytes ?? underlay.mtuBytes),
      remoteFamily(remotes.get(peer.name)?.ip) ?? outer,
    );
  const mtuOf = ({ peer, via }: Path): number => {
    const mtuBytes = via === undefined ? mtuTo(peer) : Math.min(mtuTo(via), mtuTo(peer));
    // wireguard-go fills up to the device's MTU, whatever the route says; the kernel's knows the route's (drivers/net/wireguard/device.c).
    return dataPath === 'user' && mtuBytes < deviceMtuBytes ? mtuBytes - (mtuBytes % WIREGUARD_ALIGN_BYTES) : mtuBytes;
  };
  const ways = paths.paths.map((path) => {
    const mtuBytes = mtuOf(path);
    return [path.region.name, { dev: WIREGUARD_DEVICE, ...(mtuBytes < deviceMtuBytes && { mtuBytes }) }] as const;
  });
  return {
    plan: {
      driver: 'wireguard',
      dataPath,
      localName: self.name,
      localPort: self.port,
      tunnels: paths.associations.flatMap((association) => toTunnel(association, self, { paths, nodeIps })),
    },
    links: [deviceOf(dataPath, deviceMtuBytes)],
    ways: new Map(ways),
    sharesDevice: true,
    deviceOf: () => WIREGUARD_DEVICE,
    mtuOver: (bytes) => wireguardMtu(bytes, outer),
  };
}

function deviceOf(dataPath: TunnelView['dataPath'], mtuBytes: number): LinkPlan {
  return { type: dataPath === 'kernel' ? 'wireguard' : 'tun', name: WIREGUARD_DEVICE, mtuBytes, group: TUNNEL_GROUP };
}

interface Prefixes {
  readonly paths: Paths;
  /** Node addresses that are carried, by region. */
  readonly nodeIps: TunnelView['nodeIps'];
}

function remoteFamily(ip: Ip | undefined): Family | undefined {
  return ip && familyOf(ip);
}

/** Whoever carries its region's packets, probes of a peer go through the tunnel to that very one. */
function probeCidr({ name }: GatewayNode, { direct }: Paths): Cidr[] {
  return direct.some(({ peer, isProbed }) => isProbed && peer.name === name) ? [hostCidr(probeAddress(name))] : [];
}

function toTunnel({ peer, remote }: Association, self: GatewayNode, { paths, nodeIps }: Prefixes): WireguardTunnel[] {
  const { name, region, publicKey, publicAddress } = peer;
  if (publicKey === undefined) return [];
  return [
    {
      peer: name,
      gateway: region,
      publicKey,
      ...(remote !== undefined && { remote }),
      // Region by region, not merged: what changes its way then moves as a whole, and nothing else of the peer has to be written.
      allowedIps: [
        ...paths.paths
          .filter(({ peer: far, via }) => (via ?? far).name === name)
          .flatMap(({ region: { name: to, cidrs } }) => [...cidrs, ...(nodeIps.get(to) ?? [])]),
        ...probeCidr(peer, paths),
      ],
      keepaliveS: self.publicAddress === undefined ? KEEPALIVE_S : 0,
      peerKeepsAlive: publicAddress === undefined,
    },
  ];
}
