import { z } from 'zod';
import { condition, objectMeta } from './meta.ts';
import { API_GROUP } from './names.ts';

const address = z.looseObject({
  type: z
    .enum(['Private', 'Public', 'Observed', 'LoadBalancer'])
    .describe('Private: on the node itself. Public: on the node itself and global, or given by the Gateway.'),
  ip: z.string().describe('Address, or the host name of a load balancer.'),
  port: z.int().describe('UDP port.'),
});
export type TunnelAddress = z.infer<typeof address>;

const link = z.looseObject({
  peer: z.string().describe('Gateway node at the other end.'),
  gateway: z.string().describe('Region of that node.'),
  state: z.enum(['Up', 'Connecting', 'Down']).describe('Whether packets pass.'),
  path: z
    .enum(['direct', 'relay'])
    .describe('Where packets to that region go: straight to the peer, or relayed by another region’s gateway node.'),
  via: z.string().optional().describe('Gateway node that relays; absent on direct paths.'),
  carrier: z
    .string()
    .optional()
    .describe('Endpoint of the own region that sends its packets there, where several share them and it is another one than this.'),
  encryption: z
    .enum(['none'])
    .optional()
    .describe('`none`: packets cross at least part of the way without encryption, between regions that are marked as routable.'),
  observed: z
    .string()
    .optional()
    .describe('Address from which the peer’s packets come, as this node sees it (`ip:port`; behind a NAT: the mapped one).'),
  rttMs: z
    .number()
    .optional()
    .describe('Smoothed round trip to the peer’s agent through the tunnel, quantised so that noise causes no writes.'),
  mtu: z
    .int()
    .optional()
    .describe(
      'The largest packet in bytes that goes this way in one piece: what the links at both ends allow, or less where probes found less.',
    ),
  since: z.string().optional().describe('When the state was reached (RFC 3339).'),
  message: z.string().optional().describe('Why it is not up.'),
});
export type TunnelLink = z.infer<typeof link>;

const standbyLink = link.pick({ peer: true, gateway: true, state: true, observed: true, message: true }).loose();
export type StandbyLink = z.infer<typeof standbyLink>;
const forwarding = z.looseObject({
  state: z.enum(['Ok', 'Failed', 'Unknown']).describe('Failed: the controller elects another endpoint, if one is better.'),
  reason: z.string().optional().describe('Why it fails, in one word for programs.'),
  message: z.string().optional().describe('Why it fails, for people.'),
  since: z.string().describe('When the state was reached (RFC 3339).'),
});
/** Whether packets get across a gateway node, in its own agent's words. */
export type Forwarding = z.infer<typeof forwarding>;

const spec = z.looseObject({
  gateway: z.string().describe('Gateway object of the region.'),
  nodeName: z.string().describe('Node that this endpoint is; the object has the same name.'),
  driver: z.string().describe('VPN driver: `ipsec` or `wireguard`.'),
  dataPath: z
    .enum(['kernel', 'user'])
    .describe('`kernel` (ESP and XFRM interfaces, or WireGuard) or `user` (kernel-libipsec, or wireguard-go).'),
  publicKey: z.string().optional().describe('Public key of the node’s WireGuard device; absent with another driver.'),
  port: z.int().describe('UDP port that the tunnel listens on.'),
  underlayMtu: z.int().describe('MTU in bytes of the link that carries the tunnels.'),
  overlayIP: z.string().optional().describe('Address inside the region’s pod CIDRs on which the agent answers probes.'),
  addresses: z.array(address).default([]).describe('Where other gateways may reach the node.'),
});

/** What one gateway node says about itself: written only by that node's agent. Cluster-scoped, named as the node. */
export const tunnelEndpointSchema = z
  .looseObject({
    apiVersion: z.literal(`${API_GROUP}/v1beta1`),
    kind: z.literal('TunnelEndpoint'),
    metadata: objectMeta,
    spec: spec.describe('What the node says about itself.'),
    status: z
      .looseObject({
        links: z.array(link).default([]).describe('Tunnels to other regions’ gateways.'),
        standbyLinks: z
          .array(standbyLink)
          .optional()
          .describe('Tunnels that carry nothing now and stand ready for when a region’s other endpoint fails.'),
        conditions: z.array(condition).default([]).describe('What holds for the node, and what does not.'),
        forwarding: forwarding.optional().describe('Whether the node forwards between its region and others, as far as it knows.'),
        peers: z.string().optional().describe('Links that are up, and all of them, as `2/3`, for `kubectl get`.'),
      })
      .optional()
      .describe('What the node sees.'),
  })
  .refine(({ metadata, spec: { nodeName } }) => nodeName === metadata.name, {
    path: ['spec', 'nodeName'],
    message: 'must be the name of the object',
  });
export type TunnelEndpoint = z.infer<typeof tunnelEndpointSchema>;

/** Links that are up, and all of them: `2/3`. */
export function upOfTotal(links: readonly TunnelLink[]): string {
  return `${links.filter(({ state }) => state === 'Up').length}/${links.length}`;
}
