import type { z } from 'zod';
import { eventSchema, leaseSchema, nodeSchema } from './core.ts';
import { gatewaySchema } from './gateway.ts';
import { tunnelEndpointSchema } from './tunnel-endpoint.ts';

/** The kinds that a ClusterStore holds. */
export const SCHEMAS = {
  Node: nodeSchema,
  Gateway: gatewaySchema,
  TunnelEndpoint: tunnelEndpointSchema,
  Lease: leaseSchema,
  Event: eventSchema,
} as const;

export type Kind = keyof typeof SCHEMAS;
export type ObjectOf<K extends Kind> = z.infer<(typeof SCHEMAS)[K]>;
export const KINDS = Object.keys(SCHEMAS) as readonly Kind[];
