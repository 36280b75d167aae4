import { TUNNEL_GROUP, USER_TUNNEL_DEVICE } from '../api/names.ts';
import { type Cidr, hostCidr, mergeCidrs } from '../net/cidr.ts';
import type { Family } from '../net/ip.ts';
import { espMtu } from '../net/mtu.ts';
import { probeAddress } from '../net/probe-address.ts';
import { assignIds, peerDevice } from './device.ts';
import type { DataPath, IpsecPlan, LinkPlan, Tunnel, TunnelPlan, VpnDriver } from './node-plan.ts';
import type { Underlay } from './facts.ts';
import { ownFamily } from './families.ts';
import { hasChoice } from './live-endpoints.ts';
import type { Association, Paths } from './paths.ts';
import { wireguardTunnels } from './plan-wireguard.ts';
import { isRelayOf } from './reach.ts';
import type { GatewayNode, Region, Snapshot } from './snapshot.ts';

const ANY = ['0.0.0.0/0', '::/0'] as readonly string[] as readonly Cidr[];

/** XFRM interface ids: any non-zero 32 bits; ours start here so that they are recognised in `ip xfrm state`. */
const IF_ID_FIRST = 0x52000000;
const IF_IDS = 0x1000000;

/** charon reads whole packets from its TUN into a buffer of this size and no larger (strongSwan, TUN_DEFAULT_MTU). */
export const USER_TUNNEL_MTU_MAX_BYTES = 1400;

export interface TunnelView {
  readonly region: Region;
  readonly self: GatewayNode;
  readonly snapshot: Snapshot;
  readonly paths: Paths;
  /** Whether the own region's packets for another one leave here. */
  readonly carries: (region: string) => boolean;
  readonly underlay: Underlay;
  readonly driver: VpnDriver;
  readonly dataPath: DataPath;
  /** Node addresses that are carried too, by region. */
  readonly nodeIps: ReadonlyMap<string, readonly Cidr[]>;
}

export interface TunnelRoutes {
  readonly plan: TunnelPlan;
  readonly links: readonly LinkPlan[];
  /** Device per remote region; the MTU stands on the route where one device serves several peers. */
  readonly ways: ReadonlyMap<string, { readonly dev: string; readonly mtuBytes?: number }>;
  /** Whether one device serves all peers. */
  readonly sharesDevice: boolean;
  /** Device of the tunnel to a peer. */
  readonly deviceOf: (peer: string) => string;
  /** The largest packet that fits a tunnel over an underlay of this MTU. */
  readonly mtuOver: (underlayMtuBytes: number) => number;
}

/** The VPN half of a gateway's plan. */
export function planTunnels(view: TunnelView): TunnelRoutes {
  if (view.driver === 'wireguard') return wireguardTunnels(view);
  return view.dataPath === 'kernel' ? kernelTunnels(view) : userTunnels(view);
}

/** One XFRM interface per peer; selectors are open, routes alone decide. */
function kernelTunnels({ self, paths, underlay }: TunnelView): TunnelRoutes {
  const ifIds = assignIds(
    paths.associations.map(({ peer }) => peer.name),
    IF_ID_FIRST,
    IF_IDS,
  );
  const tunnels = paths.associations.map((association): Tunnel => {
    const ifId = ifIds.get(association.peer.name) ?? IF_ID_FIRST;
    return { ...toTunnel(association), ifId, localTs: ANY, remoteTs: ANY };
  });
  const links = paths.associations.map(({ peer, underlay: outer }): LinkPlan => ({
    type: 'xfrm',
    name: peerDevice(peer.name),
    ifId: ifIds.get(peer.name) ?? IF_ID_FIRST,
    dev: underlay.dev,
    mtuBytes: tunnelMtu(underlay.mtuBytes, peer, outer),
    group: TUNNEL_GROUP,
  }));
  const ways = new Map(paths.paths.map(({ region, peer, via }) => [region.name, { dev: peerDevice((via ?? peer).name) }]));
  return {
    plan: tunnelPlan('kernel', self, tunnels),
    links,
    ways,
    sharesDevice: false,
    deviceOf: peerDevice,
    mtuOver: (bytes) => espMtu(bytes, ownFamily(self)),
  };
}

/** All peers share charon's TUN device and selectors decide: narrow ones to direct peers, wide ones to the relay. */
function userTunnels({ region, self, snapshot, paths, carries, underlay, nodeIps }: TunnelView): TunnelRoutes {
  const selectors = (of: Region | undefined): Cidr[] => mergeCidrs([...(of?.cidrs ?? []), ...(nodeIps.get(of?.name ?? '') ?? [])]);
  const tunnels = paths.associations.map((association): Tunnel => {
    const peerRegion = snapshot.regions.find(({ name }) => name === association.peer.region);
    // charon holds the selectors of a region for one peer only; a tunnel that stands ready carries no more than the probes.
    // Used are the relay's, and also that of an entry which is still reached through it: the narrower selectors then take over by themselves.
    const isUsed = paths.paths.some(
      ({ region: to, peer, via }) => carries(to.name) && [peer.name, via?.name].includes(association.peer.name),
    );
    const isProbed = peerRegion !== undefined && hasChoice(region, peerRegion);
    const probeTs = ({ name }: GatewayNode): Cidr[] => (isProbed ? [hostCidr(probeAddress(name))] : []);
    if (!isUsed) return { ...toTunnel(association), localTs: probeTs(self), remoteTs: probeTs(association.peer) };
    const weRelay = peerRegion !== undefined && isRelayOf(region, peerRegion, snapshot.regions);
    const theyRelay = peerRegion !== undefined && isRelayOf(peerRegion, region, snapshot.regions);
    return {
      ...toTunnel(association),
      localTs: weRelay ? ANY : mergeCidrs([...selectors(region), ...probeTs(self)]),
      remoteTs: theyRelay ? ANY : mergeCidrs([...selectors(peerRegion), ...probeTs(association.peer)]),
    };
  });
  const outer = (peer: GatewayNode): Family =>
    paths.associations.find((each) => each.peer.name === peer.name)?.underlay ?? (peer.underlayFamilies.includes(4) ? 4 : 6);
  const mtu = (peer: GatewayNode): number => Math.min(USER_TUNNEL_MTU_MAX_BYTES, tunnelMtu(underlay.mtuBytes, peer, outer(peer)));
  const link: LinkPlan = { type: 'tun', name: USER_TUNNEL_DEVICE, mtuBytes: USER_TUNNEL_MTU_MAX_BYTES, group: TUNNEL_GROUP };
  const ways = new Map(
    paths.paths.map(({ region: { name }, peer, via }) => [
      name,
      { dev: USER_TUNNEL_DEVICE, mtuBytes: via === undefined ? mtu(peer) : Math.min(mtu(via), mtu(peer)) },
    ]),
  );
  return {
    plan: tunnelPlan(
      'user',
      self,
      tunnels.filter(({ localTs, remoteTs }) => localTs.length > 0 && remoteTs.length > 0),
    ),
    links: [link],
    ways,
    sharesDevice: true,
    deviceOf: () => USER_TUNNEL_DEVICE,
    mtuOver: (bytes) => Math.min(USER_TUNNEL_MTU_MAX_BYTES, espMtu(bytes, ownFamily(self))),
  };
}

function toTunnel({ peer, remote, initiate }: Association): Pick<Tunnel, 'peer' | 'gateway' | 'initiate' | 'remote'> {
  return { peer: peer.name, gateway: peer.region, initiate, ...(remote !== undefined && { remote }) };
}

function tunnelPlan(dataPath: DataPath, self: GatewayNode, tunnels: readonly Tunnel[]): IpsecPlan {
  return { driver: 'ipsec', dataPath, localName: self.name, localPort: self.port, tunnels };
}

/** The smaller of both ends' underlays counts; a peer that has not reported yet is taken to be like us. */
function tunnelMtu(ownUnderlayMtuBytes: number, { underlayMtuBytes }: GatewayNode, outer: Family): number {
  return espMtu(Math.min(ownUnderlayMtuBytes, underlayMtuBytes ?? ownUnderlayMtuBytes), outer);
}
