import type { IpsecPlan, Tunnel } from '../../domain/node-plan.ts';
import { parseCidr } from '../../net/cidr.ts';
import { parseIp } from '../../net/ip.ts';
import type { PlannedPeer } from '../tunnel/conformance.ts';

/** Plans for tests of the IPsec driver. */

export function tunnel(peer: string, local: readonly string[], remote: readonly string[], call?: PlannedPeer['call']): Tunnel {
  const cidrs = (texts: readonly string[]): Tunnel['localTs'] => texts.flatMap((text) => parseCidr(text) ?? []);
  const ip = parseIp(call?.ip ?? '');
  const to = call !== undefined && ip !== undefined && { remote: { ip, port: call.port } };
  return { peer, gateway: peer.toUpperCase(), initiate: call !== undefined, localTs: cidrs(local), remoteTs: cidrs(remote), ...to };
}

export function tunnelPlan(localName: string, tunnels: readonly Tunnel[], localPort = 4500): IpsecPlan {
  return { driver: 'ipsec', dataPath: 'user', localName, localPort, tunnels };
}

/** What the conformance suite asks for. */
export function ipsecPlanOf(localName: string, peers: readonly PlannedPeer[]): IpsecPlan {
  return tunnelPlan(
    localName,
    peers.map(({ peer, local, remote, call }) => tunnel(peer, [local], [remote], call)),
  );
}
