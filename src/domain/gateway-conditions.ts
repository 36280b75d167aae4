import { type Gateway, type ImpairedEndpoint, IMPAIRMENTS, validateGateway } from '../api/gateway.ts';
import type { Condition } from '../api/meta.ts';
import { GATEWAY_LABEL } from '../api/names.ts';
import type { TunnelLink } from '../api/tunnel-endpoint.ts';
import { compareText } from '../lib/compare.ts';
import type { Cidr } from '../net/cidr.ts';
import { candidatesOf, type Election, ENDPOINT_TYPES, type EndpointType, SWITCH_KEYS, type Switches, wantedReplicas } from './election.ts';
import type { Finding } from './node-plan.ts';
import type { Overlap } from './overlap.ts';
import type { RegionStatus } from './region-status.ts';

/** A condition without its times. All are of positive polarity: `True` is good. */
export type Verdict = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>;

/** What is known of a node by its name: the region it belongs to (undefined: none), and whether it is Ready. */
export interface NodeLookup {
  (name: string): { readonly region: string | undefined; readonly isReady: boolean } | undefined;
}

export interface ConditionInput {
  readonly gateway: Gateway;
  readonly election: Election;
  readonly switches: Switches;
  readonly lookup: NodeLookup;
}

/** What a message names at most; "and N more" stands for the rest. */
const MAX_NAMED = 10;
const SEPARATOR = '; ';

/** Ready: everything that should be active in this region has an active endpoint. The message says what to do when not. */
export function readyCondition(input: ConditionInput): Verdict {
  const { gateway, election } = input;
  const listed = ENDPOINT_TYPES.filter((type) => candidatesOf(gateway).some((endpoint) => endpoint.type === type));
  const missing = listed.map((type) => missingEndpoint(input, type)).filter((verdict) => verdict !== undefined);
  // A proxy that nobody switched on takes nothing from a region whose tunnel stands.
  const problem = missing.find(({ reason }) => reason !== 'ProxyDisabled' || election.active.length === 0);
  if (problem !== undefined) return problem;
  if (listed.length === 0) {
    const example = `{nodeName: NODE, type: tunnel, port: 4500}`;
    return {
      type: 'Ready',
      status: 'False',
      reason: 'NoEndpoints',
      message: `spec.endpoints lists no endpoint: add at least one, such as ${example}`,
    };
  }
  const shares = listed.map((type) => shareOf(input, type)).filter((text) => text !== '');
  return {
    type: 'Ready',
    status: 'True',
    reason: election.isCutOff ? 'LastActiveKept' : 'EndpointElected',
    message: `active: ${shares.join(SEPARATOR)}`,
  };
}

/** `tunnel b1, b3 (2 of 2)` */
function shareOf({ gateway, election, switches }: ConditionInput, type: EndpointType): string {
  const names = election.active.filter((each) => each.type === type).map(({ nodeName }) => nodeName);
  const wanted = wantedReplicas(gateway, type, switches);
  return names.length === 0 ? '' : `${type} ${names.join(', ')} (${names.length} of ${wanted})`;
}

function missingEndpoint({ gateway, election, switches, lookup }: ConditionInput, type: EndpointType): Verdict | undefined {
  if (election.active.some((each) => each.type === type)) return undefined;
  const no = (reason: string, message: string): Verdict => ({ type: 'Ready', status: 'False', reason, message });
  const title = type === 'tunnel' ? 'Tunnel' : 'Proxy';
  if (!switches[type])
    return no(`${title}Disabled`, `no ${type} endpoint is elected: set ${SWITCH_KEYS[type]} to "true" in ConfigMap raven-cfg`);
  if (wantedReplicas(gateway, type, switches) === 0) {
    const field = `spec.${type}Config`;
    const found = gateway.spec[`${type}Config`] === undefined ? `${field} is absent, which means` : `${field}.Replicas asks for`;
    return no(`No${title}Replicas`, `no ${type} endpoint is elected: ${found} 0 active endpoints; set ${field}.Replicas to 1 or more`);
  }
  const region = gateway.metadata.name;
  const reasons = candidatesOf(gateway)
    .filter((each) => each.type === type)
    .map(({ nodeName }) => strangeness(nodeName, region, lookup) ?? `node ${nodeName} is not Ready`);
  return no(`No${title}EndpointFit`, `no ${type} endpoint can be elected: ${listed(reasons)}`);
}

/** Accepted: the object follows the API contract. What can be used of it is used all the same. */
export function acceptedCondition(gateway: Gateway): Verdict {
  const errors = validateGateway(gateway).map(({ path, message }) => `${path}: ${message}`);
  if (errors.length === 0) return { type: 'Accepted', status: 'True', reason: 'Valid', message: 'follows the API contract' };
  return { type: 'Accepted', status: 'False', reason: 'Invalid', message: listed(errors) };
}

/** EndpointsKnown: every endpoint's node exists and belongs to the region. */
export function endpointsKnownCondition({ gateway, lookup }: ConditionInput): Verdict {
  const names = new Set(gateway.spec.endpoints.map(({ nodeName }) => nodeName).filter((name) => name !== ''));
  const strange = [...names].map((name) => strangeness(name, gateway.metadata.name, lookup)).filter((text) => text !== undefined);
  if (strange.length > 0) return { type: 'EndpointsKnown', status: 'False', reason: 'UnknownNodes', message: listed(strange) };
  const message = names.size === 0 ? 'spec.endpoints names no nodes' : 'the nodes of all endpoints belong to the region';
  return { type: 'EndpointsKnown', status: 'True', reason: 'NodesFound', message };
}

/** Why a node cannot be an endpoint of the region, whatever its state; undefined when it can. */
function strangeness(name: string, region: string, lookup: NodeLookup): string | undefined {
  const node = lookup(name);
  if (node === undefined) return `node ${name} does not exist`;
  if (node.region === region) return undefined;
  const found = node.region === undefined ? 'belongs to no region' : `belongs to region ${node.region}`;
  return `node ${name} ${found}: kubectl label node ${name} --overwrite ${GATEWAY_LABEL}=${region}`;
}

/** EndpointsFit: nothing stands against any endpoint; what did so lately is no objection. */
export function endpointsFitCondition({ impaired, isCutOff }: Election): Verdict {
  const worst = impaired.filter(({ state }) => state !== 'Recovered').toSorted((a, b) => weightOf(b) - weightOf(a));
  const [first] = worst;
  if (first === undefined)
    return { type: 'EndpointsFit', status: 'True', reason: 'AllFit', message: 'nothing stands against any endpoint' };
  const message = isCutOff ? 'the region is cut off: see RegionReachable' : listed(worst.map((each) => each.message));
  return { type: 'EndpointsFit', status: 'False', reason: first.state, message };
}

function weightOf({ state }: ImpairedEndpoint): number {
  return IMPAIRMENTS.indexOf(state);
}

export const REGION_REACHABLE = 'RegionReachable';

/** RegionReachable: the API server hears from at least one of the region's endpoint nodes. */
export function reachableCondition({ gateway, election, lookup }: ConditionInput): Verdict {
  const region = gateway.metadata.name;
  const names = [...new Set(candidatesOf(gateway).map(({ nodeName }) => nodeName))].filter((name) => lookup(name)?.region === region);
  const verdict = (status: Verdict['status'], reason: string, message: string): Verdict => ({
    type: REGION_REACHABLE,
    status,
    reason,
    message,
  });
  if (names.length === 0) return verdict('Unknown', 'NoCandidates', 'no node of the region is an endpoint');
  if (!election.isCutOff) return verdict('True', 'NodeReady', 'an endpoint node is Ready');
  const active = [...new Set(election.active.map(({ nodeName }) => nodeName))];
  const kept =
    active.length === 0
      ? 'none was active before'
      : `the last active ones (${active.join(', ')}) stay, as most likely only the link to the API server is lost`;
  return verdict(
    'False',
    'AllNodesNotReady',
    `no endpoint node is ${names.some((name) => lookup(name)?.isReady) ? 'heard of' : 'Ready'} (${listed(names, ', ')}): ${kept}. Check the region's uplink and its kubelets`,
  );
}

export const PEERS_CONNECTED = 'PeersConnected';

/**
 * PeersConnected: the tunnels of the region's active endpoints are up. The message changes only when a tunnel's state or its cause does.
 * Undefined while none of them has told anything.
 */
export function peersConnectedCondition(
  nodes: readonly { readonly node: string; readonly links: readonly TunnelLink[] | undefined }[],
): Verdict | undefined {
  const links = nodes.flatMap(({ node, links: own = [] }) => own.map((link) => ({ node, link })));
  const down = links.filter(({ link }) => link.state !== 'Up');
  if (nodes.every((each) => each.links === undefined)) return undefined;
  if (down.length === 0) {
    const message = `${links.length} of ${links.length} links up`;
    return { type: PEERS_CONNECTED, status: 'True', reason: 'AllLinksUp', message };
  }
  const messages = down.map(({ node, link }) => `${node} to ${link.peer} (region ${link.gateway}): ${link.message ?? link.state}`);
  return { type: PEERS_CONNECTED, status: 'False', reason: 'LinksDown', message: listed(messages) };
}

/** SubnetsUsable: all pod addresses of the region can be routed from elsewhere. */
export function subnetsUsableCondition(problems: readonly Finding[]): Verdict {
  const verdict = (value: Verdict['status'], reason: string, message: string): Verdict => ({
    type: 'SubnetsUsable',
    status: value,
    reason,
    message,
  });
  const hard = problems.find(({ reason }) => reason !== CALICO);
  const message = listed(problems.map((problem) => problem.message));
  if (hard !== undefined) return verdict('False', hard.reason, message);
  return problems.length === 0 ? verdict('True', 'AllUsable', 'all subnets of the region are routed') : verdict('True', CALICO, message);
}

const CALICO = 'CalicoBlocksNotRead';

/** All that stands against a region's subnets, the weightiest first. */
export function subnetProblems(region: string, status: RegionStatus, overlaps: readonly Overlap[]): Finding[] {
  const noNodes = { reason: 'NoNodes', message: `no node belongs to the region: kubectl label node NODE ${GATEWAY_LABEL}=${region}` };
  const calico = {
    reason: CALICO,
    message: 'nodes run Calico, but there are no BlockAffinity objects: spec.podCIDRs of the nodes are taken instead',
  };
  return [
    ...(status.nodes.length === 0 ? [noNodes] : []),
    ...overlapFindings(overlaps),
    ...status.findings,
    ...(status.lacksBlocks ? [calico] : []),
  ];
}

function overlapFindings(overlaps: readonly Overlap[]): Finding[] {
  const byRegion = Map.groupBy(overlaps, (overlap) => overlap.with);
  return [...byRegion]
    .toSorted(([a], [b]) => compareText(a, b))
    .map(([region, shared]) => {
      const cidrs: readonly Cidr[] = shared.map(({ cidr }) => cidr);
      return {
        reason: 'SubnetOverlap',
        message: `${listed(cidrs, ', ')} also claimed by region ${region}, so routed to neither: give one of them other pod CIDRs`,
      };
    });
}

/** Those of `problems` that the message names and `previous` did not: each is worth an event, once. */
export function newlyNamed(problems: readonly Finding[], previous: string): Finding[] {
  const before = `${SEPARATOR}${previous}${SEPARATOR}`;
  return problems.slice(0, MAX_NAMED).filter(({ message }) => !before.includes(`${SEPARATOR}${message}${SEPARATOR}`));
}

function listed(items: readonly string[], separator = SEPARATOR): string {
  const rest = items.length - MAX_NAMED;
  return [...items.slice(0, MAX_NAMED), ...(rest > 0 ? [`and ${rest} more`] : [])].join(separator);
}
