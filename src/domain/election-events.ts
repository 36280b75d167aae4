import type { Endpoint, Gateway, ImpairedEndpoint } from '../api/gateway.ts';
import type { Election } from './election.ts';

/** What the controller tells about a Gateway, once. */
export interface GatewayEvent {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly message: string;
}

/** What is new in an election, and why. Pure. Messages hold no times: the same event again is counted, not written anew. */
export function electionEvents(election: Election, gateway: Gateway): GatewayEvent[] {
  const { elected, left, lost, isCutOff } = election;
  return [
    ...elected.map(({ nodeName, type }) => ({
      type: 'Normal' as const,
      reason: 'ActiveEndpointElected',
      message: `node ${nodeName} is now an active ${type} endpoint`,
    })),
    ...(lost.length > 0 ? [] : left.map((endpoint) => moved(endpoint, election, gateway))),
    ...lost.map(({ nodeName, type }) => ({
      type: 'Warning' as const,
      reason: 'ActiveEndpointLost',
      message: `node ${nodeName} is no longer an active ${type} endpoint, and no other is left`,
    })),
    ...(isCutOff ? keptInRegion(election, gateway) : keptForWant(election, gateway)),
  ];
}

function moved({ nodeName, type }: Endpoint, { active, impaired }: Election, { spec }: Gateway): GatewayEvent {
  const others = active.filter((each) => each.type === type).map((each) => each.nodeName);
  const against = objectionOf(nodeName, impaired);
  const isListed = spec.endpoints.some((each) => each.nodeName === nodeName && each.type === type);
  const why = against?.message ?? (isListed ? 'fewer are wanted, or it is no node of the region' : 'it is no longer in spec.endpoints');
  return {
    type: against === undefined || against.state === 'Draining' ? 'Normal' : 'Warning',
    reason: 'ActiveEndpointMoved',
    message: `${type} moved from ${nodeName} to ${others.join(', ') || 'nobody'}: ${why}`,
  };
}

/** Once, when the region is lost from sight. */
function keptInRegion({ active }: Election, { status }: Gateway): GatewayEvent[] {
  const isNews = status?.conditions?.find(({ type }) => type === 'RegionReachable')?.status === 'True';
  if (!isNews || active.length === 0) return [];
  const names = [...new Set(active.map(({ nodeName }) => nodeName))].join(', ');
  return [
    {
      type: 'Warning',
      reason: 'ActiveEndpointKept',
      message: `${names} stays active: nothing is heard of any endpoint, so most likely only the region's link to the API server is lost`,
    },
  ];
}

/** Once for each cause: an active endpoint that should be left, or cannot do its work, and nobody who is better. */
function keptForWant({ active, impaired }: Election, { status }: Gateway): GatewayEvent[] {
  return [...new Set(active.map(({ nodeName }) => nodeName))].flatMap((nodeName) => {
    const against = objectionOf(nodeName, impaired);
    const before = status?.impaired?.find((each) => each.nodeName === nodeName);
    if (against === undefined || before?.state === against.state) return [];
    return [
      {
        type: 'Warning' as const,
        reason: 'ActiveEndpointKept',
        message: `${against.message}; it stays active, as no other endpoint is better`,
      },
    ];
  });
}

function objectionOf(nodeName: string, impaired: readonly ImpairedEndpoint[]): ImpairedEndpoint | undefined {
  return impaired.find((each) => each.nodeName === nodeName && each.state !== 'Recovered');
}
