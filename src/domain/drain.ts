import type { Gateway } from '../api/gateway.ts';

/** How far a node has come in giving its part as a gateway to another one. */
export type DrainStep =
  /** It carries nothing for others. */
  | { readonly step: 'idle' }
  /** It carries, and no other node is listed that could take over. */
  | { readonly step: 'alone'; readonly region: string }
  /** It carries, until the controller elects another. */
  | { readonly step: 'active'; readonly region: string }
  /** Another one was elected: packets that are on their way may still come here. */
  | { readonly step: 'moved'; readonly region: string; readonly to: readonly string[] };

/** Pure. Tunnels only: a proxy's connections end with its process, whoever is elected. */
export function drainStep(node: string, gateways: readonly Gateway[]): DrainStep {
  for (const { metadata, spec, status } of gateways) {
    const active = (status?.activeEndpoints ?? []).filter(({ type }) => type === 'tunnel').map(({ nodeName }) => nodeName);
    const listed = spec.endpoints.filter(({ type }) => type === 'tunnel').map(({ nodeName }) => nodeName);
    const others = active.filter((name) => name !== node);
    const region = metadata.name;
    if (active.includes(node)) return listed.some((name) => name !== node) ? { step: 'active', region } : { step: 'alone', region };
    if (listed.includes(node) && others.length > 0) return { step: 'moved', region, to: others };
  }
  return { step: 'idle' };
}

/** Probes and keepalives go on through a tunnel that nobody uses. */
const QUIET_PER_SECOND = 20;
/** Of what it was, where many tunnels stand ready. */
const QUIET_SHARE = 0.1;

/** Whether what still passes through the tunnels is no traffic of others any more; both in packets per second. */
export function isQuiet(perSecond: number, atFirstPerSecond: number): boolean {
  return perSecond <= Math.max(QUIET_PER_SECOND, atFirstPerSecond * QUIET_SHARE);
}
