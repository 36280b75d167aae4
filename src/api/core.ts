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

/** Core `v1` ConfigMap: Raven's own switches and settings. */
export const configMapSchema = z.looseObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('ConfigMap'),
  metadata: objectMeta,
  data: z.record(z.string(), z.string()).optional(),
});
export type ConfigMap = z.infer<typeof configMapSchema>;

const servicePort = z.looseObject({
  name: z.string().optional(),
  protocol: z.enum(['TCP', 'UDP', 'SCTP']).optional(),
  port: z.int(),
  targetPort: z.union([z.int(), z.string()]).optional(),
  nodePort: z.int().optional(),
});

/** Core `v1` Service, as far as exposing gateways needs it. */
export const serviceSchema = z.looseObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('Service'),
  metadata: objectMeta,
  spec: z
    .looseObject({
      type: z.string().optional(),
      externalTrafficPolicy: z.string().optional(),
      clusterIP: z.string().optional(),
      ports: z.array(servicePort).optional(),
    })
    .prefault({}),
  status: z
    .looseObject({
      loadBalancer: z
        .looseObject({ ingress: z.array(z.looseObject({ ip: z.string().optional(), hostname: z.string().optional() })).optional() })
        .optional(),
    })
    .optional(),
});
export type Service = z.infer<typeof serviceSchema>;

/** `discovery.k8s.io/v1` EndpointSlice. */
export const endpointSliceSchema = z.looseObject({
  apiVersion: z.literal('discovery.k8s.io/v1'),
  kind: z.literal('EndpointSlice'),
  metadata: objectMeta,
  addressType: z.enum(['IPv4', 'IPv6', 'FQDN']),
  endpoints: z
    .array(
      z.looseObject({
        addresses: z.array(z.string()),
        conditions: z.looseObject({ ready: z.boolean().optional() }).optional(),
        nodeName: z.string().optional(),
      }),
    )
    .nullish()
    .transform((endpoints) => endpoints ?? []),
  ports: z
    .array(z.looseObject({ name: z.string().optional(), protocol: z.string().optional(), port: z.int().optional() }))
    .nullish()
    .transform((ports) => ports ?? []),
});
export type EndpointSlice = z.infer<typeof endpointSliceSchema>;

/** Calico's `crd.projectcalico.org/v1` BlockAffinity: a block of pod addresses that belongs to a node. */
export const blockAffinitySchema = z.looseObject({
  apiVersion: z.literal('crd.projectcalico.org/v1'),
  kind: z.literal('BlockAffinity'),
  metadata: objectMeta,
  spec: z.looseObject({ node: z.string(), cidr: z.string(), state: z.string() }),
});
export type BlockAffinity = z.infer<typeof blockAffinitySchema>;
