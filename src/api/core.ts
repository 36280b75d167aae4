import { z } from 'zod';
import { condition, objectMeta } from './meta.ts';

/** The part of Kubernetes' Node that Raven reads. */
export const nodeSchema = z.looseObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('Node'),
  metadata: objectMeta,
  spec: z
    .looseObject({ podCIDR: z.string().optional(), podCIDRs: z.array(z.string()).optional(), unschedulable: z.boolean().optional() })
    .prefault({}),
  status: z
    .looseObject({
      addresses: z.array(z.looseObject({ type: z.string(), address: z.string() })).optional(),
      conditions: z.array(condition).optional(),
    })
    .optional(),
});
export type Node = z.infer<typeof nodeSchema>;

/** Whether a Node's condition Ready is True; Unknown, False and absent are not. */
export function isNodeReady({ status }: Node): boolean {
  return status?.conditions?.find(({ type }) => type === 'Ready')?.status === 'True';
}

/** `coordination.k8s.io/v1` Lease. Times are RFC 3339 with microseconds. */
export const leaseSchema = z.looseObject({
  apiVersion: z.literal('coordination.k8s.io/v1'),
  kind: z.literal('Lease'),
  metadata: objectMeta,
  spec: z
    .looseObject({
      holderIdentity: z.string().nullish(),
      leaseDurationSeconds: z.int().nullish(),
      acquireTime: z.string().nullish(),
      renewTime: z.string().nullish(),
    })
    .prefault({}),
});
export type Lease = z.infer<typeof leaseSchema>;

/** Core `v1` Event. */
export const eventSchema = z.looseObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('Event'),
  metadata: objectMeta,
  involvedObject: z.looseObject({ apiVersion: z.string().optional(), kind: z.string(), name: z.string() }),
  type: z.enum(['Normal', 'Warning']),
  reason: z.string(),
  message: z.string(),
  count: z.int().optional(),
  firstTimestamp: z.string().nullish(),
  lastTimestamp: z.string().nullish(),
  source: z.looseObject({ component: z.string().optional(), host: z.string().optional() }).optional(),
});
export type Event = z.infer<typeof eventSchema>;
