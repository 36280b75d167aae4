import type { Lease } from '../api/core.ts';
import type { EndpointSigns } from '../domain/endpoint-fitness.ts';
import { drainOfLease, extendSpan, type HeardSpan, isStale, nodeOfLease, silenceOf } from '../domain/agent-leases.ts';

/** What was seen of agents' Leases. */
export interface LeaseBook {
  /** Takes a Lease as it is now. @returns the node whose agent renewed it or says something new; undefined: nobody's, or seen already */
  set(lease: Lease, nowMs: number): string | undefined;
  delete(name: string): void;
  /** An agent of the region was heard. */
  heard(region: string, nowMs: number): void;
  forget(region: string): void;
  /** Why the node's agent is about to stop. */
  drainOf(node: string): string | undefined;
  signsOf(region: string, node: string, hasEndpoint: boolean, nowMs: number): LeaseSigns;
  /** All of it that an election hangs on, for these endpoints of a region. */
  textOf(region: string, nodes: readonly string[], more: { readonly has: (node: string) => boolean; readonly nowMs: number }): string;
}

export type LeaseSigns = Pick<EndpointSigns, 'silence' | 'isStale'>;

interface Seen {
  readonly renewTime: string;
  readonly drain: string | undefined;
  readonly atMs: number;
}

export function createLeaseBook(): LeaseBook {
  const seen = new Map<string, Seen>();
  const spans = new Map<string, HeardSpan>();

  function signsOf(region: string, node: string, hasEndpoint: boolean, nowMs: number): LeaseSigns {
    const renewedMs = seen.get(node)?.atMs;
    return { silence: silenceOf({ renewedMs, span: spans.get(region), hasEndpoint }), isStale: isStale(renewedMs, nowMs) };
  }

  return {
    set: (lease, nowMs) => {
      const node = nodeOfLease(lease.metadata.name);
      if (node === undefined) return undefined;
      const next = { renewTime: lease.spec.renewTime ?? '', drain: drainOfLease(lease), atMs: nowMs };
      const before = seen.get(node);
      if (before?.renewTime === next.renewTime && before.drain === next.drain) return undefined;
      seen.set(node, next);
      return node;
    },
    delete: (name) => {
      const node = nodeOfLease(name);
      if (node !== undefined) seen.delete(node);
    },
    heard: (region, nowMs) => void spans.set(region, extendSpan(spans.get(region), nowMs)),
    forget: (region) => void spans.delete(region),
    drainOf: (node) => seen.get(node)?.drain,
    signsOf,
    textOf: (region, nodes, { has, nowMs }) =>
      JSON.stringify(nodes.map((node) => [seen.get(node)?.drain, signsOf(region, node, has(node), nowMs)])),
  };
}
