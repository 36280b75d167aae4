import type { z } from 'zod';
import { blockAffinitySchema, configMapSchema, endpointSliceSchema, eventSchema, leaseSchema, nodeSchema, serviceSchema } from './core.ts';
import { gatewaySchema } from './gateway.ts';
import { ALPHA_VERSION, API_GROUP, BETA_VERSION } from './names.ts';
import { tunnelEndpointSchema } from './tunnel-endpoint.ts';

/** The kinds that a ClusterStore holds. */
export const SCHEMAS = {
  Node: nodeSchema,
  Gateway: gatewaySchema,
  TunnelEndpoint: tunnelEndpointSchema,
  Lease: leaseSchema,
  Event: eventSchema,
  ConfigMap: configMapSchema,
  Service: serviceSchema,
  EndpointSlice: endpointSliceSchema,
  BlockAffinity: blockAffinitySchema,
} as const;

export type Kind = keyof typeof SCHEMAS;
export type ObjectOf<K extends Kind> = z.infer<(typeof SCHEMAS)[K]>;
export const KINDS = Object.keys(SCHEMAS) as readonly Kind[];

/** How the API names a kind: `/apis/GROUP/VERSION/…/PLURAL`, or `/api/v1/…` for the core group. */
export interface Resource {
  /** As in `apiVersion`: the one version of the kind that a store holds. */
  readonly apiVersion: string;
  readonly plural: string;
  readonly namespaced: boolean;
}

export const RESOURCES: Readonly<Record<Kind, Resource>> = {
  Node: { apiVersion: 'v1', plural: 'nodes', namespaced: false },
  Gateway: { apiVersion: `${API_GROUP}/${BETA_VERSION}`, plural: 'gateways', namespaced: false },
  TunnelEndpoint: { apiVersion: `${API_GROUP}/${BETA_VERSION}`, plural: 'tunnelendpoints', namespaced: false },
  Lease: { apiVersion: 'coordination.k8s.io/v1', plural: 'leases', namespaced: true },
  Event: { apiVersion: 'v1', plural: 'events', namespaced: true },
  ConfigMap: { apiVersion: 'v1', plural: 'configmaps', namespaced: true },
  Service: { apiVersion: 'v1', plural: 'services', namespaced: true },
  EndpointSlice: { apiVersion: 'discovery.k8s.io/v1', plural: 'endpointslices', namespaced: true },
  BlockAffinity: { apiVersion: 'crd.projectcalico.org/v1', plural: 'blockaffinities', namespaced: false },
};

/** Versions that a manifest of the kind may be written in; the first is the one of `RESOURCES`. */
export function servedVersions(kind: Kind): readonly string[] {
  const { apiVersion } = RESOURCES[kind];
  return kind === 'Gateway' ? [apiVersion, `${API_GROUP}/${ALPHA_VERSION}`] : [apiVersion];
}
