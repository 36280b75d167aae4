import { z } from 'zod';

/** The part of Kubernetes' ObjectMeta that Raven reads; everything else passes through. */
export const objectMeta = z.looseObject({
  name: z.string().min(1, 'is required'),
  namespace: z.string().optional(),
  uid: z.string().optional(),
  labels: z.record(z.string(), z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
  creationTimestamp: z.string().nullish(),
  deletionTimestamp: z.string().nullish(),
  ownerReferences: z.array(z.looseObject({ apiVersion: z.string(), kind: z.string(), name: z.string(), uid: z.string() })).optional(),
  resourceVersion: z.string().optional(),
});
export type ObjectMeta = z.infer<typeof objectMeta>;

/** `metav1.Condition`, as Kubernetes defines it. */
export const condition = z.looseObject({
  type: z.string().describe('Name of the condition.'),
  status: z.enum(['True', 'False', 'Unknown']).describe('Whether it holds.'),
  reason: z.string().default('').describe('Why, in one word for programs.'),
  message: z.string().default('').describe('Why, for people.'),
  lastTransitionTime: z.string().optional().describe('When the status became what it is (RFC 3339).'),
  observedGeneration: z.int().optional().describe('`metadata.generation` for which this was found.'),
});
export type Condition = z.infer<typeof condition>;
