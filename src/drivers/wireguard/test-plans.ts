import type { WireguardPlan } from '../../domain/node-plan.ts';
import { parseCidr } from '../../net/cidr.ts';
import { parseIp } from '../../net/ip.ts';
import type { WgKey } from '../../net/wg-key.ts';
import type { PlannedPeer } from '../tunnel/conformance.ts';

/** A plan for tests: who calls keeps its NAT open. */
export function wireguardPlanOf(
  localName: string,
  peers: readonly PlannedPeer[],
  keyOf: (peer: string) => WgKey,
  { localPort = 4500, dataPath = 'user' }: { readonly localPort?: number; readonly dataPath?: WireguardPlan['dataPath'] } = {},
): WireguardPlan {
  return {
    driver: 'wireguard',
    dataPath,
    localName,
    localPort,
    tunnels: peers.map(({ peer, remote, call }) => {
      const ip = parseIp(call?.ip ?? '');
      return {
        peer,
        gateway: peer.toUpperCase(),
        publicKey: keyOf(peer),
        ...(call !== undefined && ip !== undefined && { remote: { ip, port: call.port } }),
        allowedIps: remote.split(' ').flatMap((text) => parseCidr(text) ?? []),
        keepaliveS: call === undefined ? 0 : 25,
        peerKeepsAlive: call === undefined,
      };
    }),
  };
}
