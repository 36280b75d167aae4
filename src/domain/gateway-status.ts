import { isDeepStrictEqual } from 'node:util';
import type { Service } from '../api/core.ts';
import type { Gateway, GatewayStatus } from '../api/gateway.ts';
import type { Condition } from '../api/meta.ts';
import { type TunnelLink, upOfTotal } from '../api/tunnel-endpoint.ts';
import { type Election, electEndpoints, type Switches } from './election.ts';
import { electionEvents, type GatewayEvent } from './election-events.ts';
import type { EndpointSigns } from './endpoint-fitness.ts';
import {
  acceptedCondition,
  endpointsFitCondition,
  endpointsKnownCondition,
  newlyNamed,
  PEERS_CONNECTED,
  peersConnectedCondition,
  REGION_REACHABLE,
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
  /** What is known of each of `nodes` as a gateway. */
  readonly signsOf: (node: NodeFacts) => EndpointSigns;
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

export interface GatewayVerdict {
  readonly status: GatewayStatus;
  /** Whether `status` is another than the Gateway has. */
  readonly isChanged: boolean;
  /** Only what is new: the same input with `status` in place gives none. */
  readonly events: readonly GatewayEvent[];
}

/** First half: who is active, and which subnets the region has. Pure. */
export function decideRegion({ gateway, nodes, switches, signsOf }: RegionView, nowMs: number): RegionDecision {
  const signs = new Map(nodes.map((node) => [node.name, signsOf(node)]));
  const election = electEndpoints({ gateway, signs, switches, nowMs, returnedAtMs: returnedAtMs(gateway, nowMs) });
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
    endpointsFitCondition(election),
    reachableCondition(input),
    peersConnectedCondition(activeTunnels(election).map((node) => ({ node, links: view.linksOf(node) }))),
    subnetsUsableCondition(problems),
  ].filter((verdict) => verdict !== undefined);
  const { active: _, peers: __, exposed: ___, impaired: ____, ...others } = previous ?? {};
  const status: GatewayStatus = {
    ...others,
    nodes: [...region.nodes],
    activeEndpoints: [...election.active],
    ...describeActive(view, election),
    ...(election.impaired.length > 0 && { impaired: [...election.impaired] }),
    conditions: mergeConditions(previous?.conditions ?? [], verdicts, now),
  };
  const exposed = exposedAddresses({ ...gateway, status }, view.services);
  if (exposed.length > 0) status.exposed = exposed;
  const said = previous?.conditions?.find(({ type }) => type === 'SubnetsUsable')?.message ?? '';
  return {
    status,
    isChanged: !isDeepStrictEqual(status, previous),
    events: [
      ...electionEvents(election, gateway),
      ...newlyNamed(problems, said).map(({ reason, message }) => ({ type: 'Warning' as const, reason, message })),
    ],
  };
}

/** When a region that was cut off was heard again: only now, when its status still says that it is cut off. */
function returnedAtMs({ status }: Gateway, nowMs: number): number | undefined {
  const reachable = status?.conditions?.find(({ type }) => type === REGION_REACHABLE);
  if (reachable?.status === 'False') return nowMs;
  const since = Date.parse((reachable?.status === 'True' ? reachable.lastTransitionTime : undefined) ?? '');
  return Number.isNaN(since) ? undefined : since;
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
