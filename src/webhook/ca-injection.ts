import { z } from 'zod';
import { API_GROUP, MUTATING_WEBHOOK, VALIDATING_WEBHOOK } from '../api/names.ts';

/** API objects that tell an API server which CA our webhooks' certificate comes from. */
export const INJECTION_PATHS: readonly string[] = [
  `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gateways.${API_GROUP}`,
  `/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/${MUTATING_WEBHOOK}`,
  `/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/${VALIDATING_WEBHOOK}`,
];

const clientConfig = z.object({ caBundle: z.string().optional() });

/** What we read of them. */
export const injectable = z.object({
  metadata: z.object({ resourceVersion: z.string() }),
  /** Of an admission configuration. */
  webhooks: z.array(z.object({ clientConfig })).nullish(),
  /** Of a CustomResourceDefinition. */
  spec: z
    .object({ conversion: z.object({ webhook: z.object({ clientConfig: clientConfig.optional() }).nullish() }).optional() })
    .optional(),
});
export type Injectable = z.infer<typeof injectable>;

/** RFC 6902. */
export type InjectionOperation =
  | { readonly op: 'test'; readonly path: '/metadata/resourceVersion'; readonly value: string }
  | { readonly op: 'add'; readonly path: string; readonly value: string };

/**
 * The JSON Patch that makes every webhook of the object trust the bundle, and nothing else: other fields belong to whoever installed the object.
 * Empty when all do. It fails with 422 when somebody has changed the object since it was read: positions in it may mean something else then.
 */
export function planInjection(object: Injectable, bundle: string): InjectionOperation[] {
  const wanted = Buffer.from(bundle).toString('base64');
  const conversion = object.spec?.conversion?.webhook?.clientConfig;
  const places = [
    ...(object.webhooks ?? []).map((webhook, index) => ({ path: `/webhooks/${index}/clientConfig`, config: webhook.clientConfig })),
    ...(conversion === undefined ? [] : [{ path: '/spec/conversion/webhook/clientConfig', config: conversion }]),
  ].filter(({ config }) => config.caBundle !== wanted);
  if (places.length === 0) return [];
  return [
    { op: 'test', path: '/metadata/resourceVersion', value: object.metadata.resourceVersion },
    // `add` replaces what is there (RFC 6902 §4.1).
    ...places.map(({ path }) => ({ op: 'add' as const, path: `${path}/caBundle`, value: wanted })),
  ];
}
