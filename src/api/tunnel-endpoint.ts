import { z } from 'zod';
import { condition, objectMeta } from './meta.ts';
import { API_GROUP } from './names.ts';

const address = z.looseObject({
  /** Private: on the node itself. Public: on the node itself and global, or given by the Gateway. */
  type: z.enum(['Private', 'Public', 'Observed', 'LoadBalancer']),
  ip: z.string(),
  port: z.int(),
});
export type TunnelAddress = z.infer<typeof address>;

const link = z.looseObject({
  /** Gateway node at the other end. */
  peer: z.string(),
  /** Region of that node. */
  gateway: z.string(),
  state: z.enum(['Up', 'Connecting', 'Down']),
  /** Where packets to that region go: straight to the peer, or relayed by another region's gateway node. */
  path: z.enum(['direct', 'relay']),
  /** Gateway node that relays; absent on direct paths. */
  via: z.string().optional(),
  /** Address from which the peer's packets come, as this node sees it (`ip:port`; behind a NAT: the mapped one). */
  observed: z.string().optional(),
  /** Smoothed round trip to the peer's agent through the tunnel, quantised so that noise causes no writes. */
  rttMs: z.number().optional(),
  /** When the state was reached (RFC 3339). */
  since: z.string().optional(),
  /** Why it is not up. */
  message: z.string().optional(),
});
export type TunnelLink = z.infer<typeof link>;

const spec = z.looseObject({
  gateway: z.string(),
  nodeName: z.string(),
  /** VPN driver: `ipsec`. */
  driver: z.string(),
  /** `kernel` (ESP and XFRM interfaces) or `user` (kernel-libipsec). */
  dataPath: z.enum(['kernel', 'user']),
  /** UDP port that the tunnel listens on. */
  port: z.int(),
  /** MTU in bytes of the link that carries the tunnels. */
  underlayMtu: z.int(),
  /** Address inside the region's pod CIDRs on which the agent answers probes. */
  overlayIP: z.string().optional(),
  addresses: z.array(address).default([]),
});

/** What one gateway node says about itself: written only by that node's agent. Cluster-scoped, named as the node. */
export const tunnelEndpointSchema = z.looseObject({
  apiVersion: z.literal(`${API_GROUP}/v1beta1`),
  kind: z.literal('TunnelEndpoint'),
  metadata: objectMeta,
  spec,
  status: z.looseObject({ links: z.array(link).default([]), conditions: z.array(condition).default([]) }).optional(),
});
export type TunnelEndpoint = z.infer<typeof tunnelEndpointSchema>;
