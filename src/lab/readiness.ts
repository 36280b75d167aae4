import type { Gateway } from '../api/gateway.ts';
import type { TunnelEndpoint } from '../api/tunnel-endpoint.ts';

/** How far a lab has come on its way to connectivity. */
export interface Readiness {
  readonly ready: boolean;
  /** In words, for a progress line. */
  readonly progress: string;
  /** What is not there yet, one line each, in order. */
  readonly missing: readonly string[];
}

/** Every region that has endpoints needs an active one, and every active one a tunnel that is up to each other such region. Pure. */
export function labReadiness(gateways: readonly Gateway[], endpoints: readonly TunnelEndpoint[]): Readiness {
  const regions = gateways.filter(({ spec }) => spec.endpoints.some(({ type }) => type === 'tunnel') && spec.tunnelConfig?.Replicas !== 0);
  const active = regions.map((gateway) => ({ region: gateway.metadata.name, nodes: activeNodes(gateway) }));
  const elected = active.filter(({ nodes }) => nodes.length > 0);
  const missing = active.filter(({ nodes }) => nodes.length === 0).map(({ region }) => `region ${region} has no active endpoint`);
  let up = 0;
  let wanted = 0;
  for (const { region, nodes } of elected) {
    for (const node of nodes) {
      const tunnelEndpoint = endpoints.find(({ metadata }) => metadata.name === node);
      for (const peer of elected.filter((other) => other.region !== region)) {
        wanted++;
        const problem = tunnelProblem(tunnelEndpoint, node, peer.region);
        if (problem === undefined) up++;
        else missing.push(problem);
      }
    }
  }
  return {
    ready: missing.length === 0,
    progress: `${elected.length}/${regions.length} gateways elected, ${up}/${wanted} tunnel ends up`,
    missing,
  };
}

function activeNodes({ status }: Gateway): string[] {
  return (status?.activeEndpoints ?? []).filter(({ type }) => type === 'tunnel').map(({ nodeName }) => nodeName);
}

function tunnelProblem(endpoint: TunnelEndpoint | undefined, node: string, region: string): string | undefined {
  if (endpoint === undefined) return `${node} → region ${region}: the agent of ${node} has not published its TunnelEndpoint`;
  const links = (endpoint.status?.links ?? []).filter((link) => link.gateway === region);
  if (links.some(({ state }) => state === 'Up')) return undefined;
  const [link] = links;
  if (link === undefined) return `${node} → region ${region}: no tunnel yet`;
  return `${node} → region ${region}: tunnel to ${link.peer} is ${link.state}${link.message === undefined ? '' : ` (${link.message})`}`;
}
