import { z } from 'zod';

/** The part of Kubernetes' ObjectMeta that Raven reads; everything else passes through. */
export const objectMeta = z.looseObject({
  name: z.string().min(1, 'is required'),
  namespace: z.string().optional(),
  uid: z.string().optional(),
  labels: z.record(z.string(), z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
  creationTimestamp: z.string().nullish(),
  resourceVersion: z.string().optional(),
});
export type ObjectMeta = z.infer<typeof objectMeta>;

/** `metav1.Condition`, as Kubernetes defines it. */
export const condition = z.looseObject({
  type: z.string(),
  status: z.enum(['True', 'False', 'Unknown']),
  reason: z.string().default(''),
  message: z.string().default(''),
  lastTransitionTime: z.string().optional(),
  observedGeneration: z.number().optional(),
});
export type Condition = z.infer<typeof condition>;
