import { isDeepStrictEqual } from 'node:util';
import type { Service } from '../api/core.ts';
import type { Gateway, GatewayStatus } from '../api/gateway.ts';
import type { Condition } from '../api/meta.ts';
import { type TunnelLink, upOfTotal } from '../api/tunnel-endpoint.ts';
import { type Election, electEndpoints, type Switches } from './election.ts';
import {
  acceptedCondition,
  endpointsKnownCondition,
  newlyNamed,
  PEERS_CONNECTED,
  peersConnectedCondition,
  type NodeLookup,
  reachableCondition,
  readyCondition,
  subnetProblems,
  subnetsUsableCondition,
  type Verdict,
} from './gateway-conditions.ts';
import { exposedAddresses } from './exposure.ts';
import type { NodeFacts } from './node-facts.ts';
import type { Overlap } from './overlap.ts';
import { type RegionStatus, regionStatus } from './region-status.ts';

export interface RegionView {
  /** With defaults filled in. */
  readonly gateway: Gateway;
  /** The nodes that carry the region's label. */
  readonly nodes: readonly NodeFacts[];
  readonly lookup: NodeLookup;
  readonly switches: Switches;
  /** Tunnels of a gateway node as it published them; undefined when it published nothing. */
  readonly linksOf: (node: string) => readonly TunnelLink[] | undefined;
  /** Services that expose it, as they are. */
  readonly services: readonly Service[];
}

/** What can be decided without looking at other regions' subnets. */
export interface RegionDecision {
  readonly election: Election;
  readonly region: RegionStatus;
}

/** What the controller tells about a Gateway, once. */
export interface GatewayEvent {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly message: string;
}

export interface GatewayVerdict {
  readonly status: GatewayStatus;
  /** Whether `status` is another than the Gateway has. */
  readonly isChanged: boolean;
  /** Only what is new: the same input with `status` in place gives none. */
  readonly events: readonly GatewayEvent[];
}

/** First half: who is active, and which subnets the region has. Pure. */
export function decideRegion({ gateway, nodes, switches }: RegionView): RegionDecision {
  const readiness = new Map(nodes.map(({ name, isReady }) => [name, isReady]));
  const election = electEndpoints({ gateway, readiness, switches });
  return { election, region: regionStatus({ gateway, nodes, active: election.active }) };
}

/**
 * Second half: the status to write, given what other regions claim of this region's subnets. Pure. Fields and conditions that others put
 * into the status stay. `now` (RFC 3339) is used only where a condition's status turns.
 */
export function gatewayStatus(
  view: RegionView,
  { election, region }: RegionDecision,
  overlaps: readonly Overlap[],
  now: string,
): GatewayVerdict {
  const { gateway } = view;
  const previous = gateway.status;
  const problems = subnetProblems(gateway.metadata.name, region, overlaps);
  const input = { ...view, election };
  const verdicts = [
    readyCondition(input),
    acceptedCondition(gateway),
    endpointsKnownCondition(input),
    reachableCondition(input),
    peersConnectedCondition(activeTunnels(election).map((node) => ({ node, links: view.linksOf(node) }))),
    subnetsUsableCondition(problems),
  ].filter((verdict) => verdict !== undefined);
  const { active: _, peers: __, exposed: ___, ...others } = previous ?? {};
  const status: GatewayStatus = {
    ...others,
    nodes: [...region.nodes],
    activeEndpoints: [...election.active],
    ...describeActive(view, election),
    conditions: mergeConditions(previous?.conditions ?? [], verdicts, now),
  };
  const exposed = exposedAddresses({ ...gateway, status }, view.services);
  if (exposed.length > 0) status.exposed = exposed;
  const said = previous?.conditions?.find(({ type }) => type === 'SubnetsUsable')?.message ?? '';
  return {
    status,
    isChanged: !isDeepStrictEqual(status, previous),
    events: [
      ...electionEvents(election),
      ...newlyNamed(problems, said).map(({ reason, message }) => ({ type: 'Warning' as const, reason, message })),
    ],
  };
}

/** What `kubectl get gateways` shows. */
function describeActive({ linksOf }: RegionView, election: Election): Pick<GatewayStatus, 'active' | 'peers'> {
  const nodes = activeTunnels(election);
  const links = nodes.flatMap((node) => linksOf(node) ?? []);
  return {
    ...(nodes.length > 0 && { active: nodes.join(',') }),
    ...(nodes.some((node) => linksOf(node) !== undefined) && { peers: upOfTotal(links) }),
  };
}

function activeTunnels({ active }: Election): string[] {
  return active.filter(({ type }) => type === 'tunnel').map(({ nodeName }) => nodeName);
}

/** Ours first, in their fixed order, then those of others. `lastTransitionTime` changes with `status` only, as `metav1.Condition` demands. */
function mergeConditions(previous: readonly Condition[], verdicts: readonly Verdict[], now: string): Condition[] {
  const ours = verdicts.map((verdict): Condition => {
    const old = previous.find(({ type }) => type === verdict.type);
    const isSame = old?.status === verdict.status && old.lastTransitionTime !== undefined;
    return { ...verdict, lastTransitionTime: isSame ? old.lastTransitionTime : now };
  });
  return [...ours, ...previous.filter(({ type }) => type !== PEERS_CONNECTED && !verdicts.some((verdict) => verdict.type === type))];
}

function electionEvents({ elected, lost }: Election): GatewayEvent[] {
  return [
    ...elected.map(({ nodeName, type }) => ({
      type: 'Normal' as const,
      reason: 'ActiveEndpointElected',
      message: `node ${nodeName} is now an active ${type} endpoint`,
    })),
    ...lost.map(({ nodeName, type }) => ({
      type: 'Warning' as const,
      reason: 'ActiveEndpointLost',
      message: `node ${nodeName} is no longer an active ${type} endpoint, and no other is left`,
    })),
  ];
}
