import { VXLAN_DEVICE, VXLAN_ID, VXLAN_PORT } from '../api/names.ts';
import { type Family, familyOf, type Ip } from '../net/ip.ts';
import { nodeMac } from '../net/mac.ts';
import { vxlanMtu } from '../net/mtu.ts';
import { probeAddress } from '../net/probe-address.ts';
import type { Underlay } from './facts.ts';
import type { NextHopAddresses } from './next-hop-address.ts';
import type { FdbEntry, Finding, LinkPlan, Neighbour } from './node-plan.ts';
import type { Region, RegionNode } from './snapshot.ts';

export interface OverlayView {
  readonly region: Region;
  readonly self: RegionNode;
  /** Of `self`. */
  readonly address: Ip;
  readonly underlay: Underlay;
  readonly families: readonly Family[];
  readonly nextHops: NextHopAddresses;
  /** Other gateways' agents probe the tunnels to this node. */
  readonly isProbed: boolean;
}

export interface OverlayPlan {
  readonly links: LinkPlan[];
  readonly fdb: FdbEntry[];
  readonly neighbours: Neighbour[];
  readonly findings: Finding[];
}

/** `raven0` and where it finds the others: an endpoint knows every node of its region, the others know its endpoints. */
export function planOverlay({ region, self, address, underlay, families, nextHops, isProbed }: OverlayView): OverlayPlan {
  const isEndpoint = region.endpointNames.has(self.name);
  const all = region.nodes.flatMap(({ name, privateIp }) =>
    name !== self.name && privateIp !== undefined && (isEndpoint || region.endpointNames.has(name))
      ? [{ name, mac: nodeMac(name), ip: privateIp }]
      : [],
  );
  const peers = all.filter(({ ip }) => familyOf(ip) === familyOf(address));
  const raven0: LinkPlan = {
    type: 'vxlan',
    name: VXLAN_DEVICE,
    vni: VXLAN_ID,
    port: VXLAN_PORT,
    local: address,
    dev: underlay.dev,
    mac: nodeMac(self.name),
    mtuBytes: vxlanMtu(underlay.mtuBytes, familyOf(address)),
    ...(isProbed && { probeIp: probeAddress(self.name) }),
  };
  return {
    links: [raven0],
    fdb: peers.map(({ mac, ip }) => ({ dev: VXLAN_DEVICE, mac, dst: ip })),
    neighbours: peers.flatMap(({ name, mac }) =>
      families.flatMap((family) => {
        const ip = nextHops.get(name)?.[family];
        return ip === undefined ? [] : [{ dev: VXLAN_DEVICE, mac, ip }];
      }),
    ),
    findings: all
      .filter((peer) => !peers.includes(peer))
      .map(({ name, ip }) => ({
        reason: 'UnderlayFamilyDiffers',
        message: `node ${name} has the address ${ip} and this node ${address}: raven0 cannot reach it; give all nodes of a region a first InternalIP of one family`,
      })),
  };
}
