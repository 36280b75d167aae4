import { isNodeReady, type Node } from '../api/core.ts';
import { DRAIN_ANNOTATION, GATEWAY_LABEL } from '../api/names.ts';
import { type Cidr, cidrContainsIp, parseCidr } from '../net/cidr.ts';
import { type Ip, parseIp } from '../net/ip.ts';
import type { Finding } from './node-plan.ts';
import { isCarriable } from './subnets.ts';

/** All that the controller wants to know of a Node. Heartbeats and the like leave it as it is. */
export interface NodeFacts {
  readonly name: string;
  /** Undefined when the node belongs to no region. */
  readonly region: string | undefined;
  readonly isReady: boolean;
  /** Why other nodes should take over from it, in words; undefined when they need not. */
  readonly drain: string | undefined;
  readonly privateIp: Ip | undefined;
  /** Pod CIDRs, without those that no other region may route; in the order of the Node. */
  readonly subnets: readonly Cidr[];
  /** Its pods' addresses come from Calico's blocks, none of which is known: `subnets` is what the Node says. */
  readonly lacksBlocks: boolean;
  /** What was left out of `subnets`, and why. */
  readonly findings: readonly Finding[];
}

/** Whether Calico runs on a node, which then has blocks of pod addresses of its own (`BlockAffinity`). */
export function hasCalico({ metadata }: Node): boolean {
  return Object.keys(metadata.annotations ?? {}).some((key) => key.includes('projectcalico.org'));
}

/**
 * Reads a Node. Never throws; whatever does not parse is left out and named.
 * @param blocks CIDRs that Calico gave to the node, also none; undefined when the cluster has no such blocks at all. For nodes with Calico only.
 */
export function nodeFacts(node: Node, blocks?: readonly string[]): NodeFacts {
  const { name, labels } = node.metadata;
  const ofCalico = hasCalico(node) ? blocks : undefined;
  const addresses = internalAddresses(node);
  const subnets: Cidr[] = [];
  const findings: Finding[] = [];
  for (const text of ofCalico ?? podCidrTexts(node)) {
    const cidr = parseCidr(text);
    const finding = judge(text, cidr, addresses);
    if (finding !== undefined) findings.push({ ...finding, message: `node ${name}: ${finding.message}` });
    else if (cidr !== undefined && !subnets.includes(cidr)) subnets.push(cidr);
  }
  return {
    name,
    region: labels?.[GATEWAY_LABEL] || undefined,
    isReady: isNodeReady(node),
    drain: drainOf(node),
    privateIp: addresses[0],
    subnets,
    lacksBlocks: hasCalico(node) && blocks === undefined,
    findings,
  };
}

/** `kubectl drain` leaves the pods of DaemonSets alone: that the node is cordoned is all that shows of it here. */
function drainOf({ metadata, spec }: Node): string | undefined {
  const asked = metadata.annotations?.[DRAIN_ANNOTATION]?.trim().toLowerCase();
  if (asked === 'true') return `its annotation ${DRAIN_ANNOTATION} is true`;
  return spec.unschedulable === true && asked !== 'false' ? 'it is cordoned' : undefined;
}

function internalAddresses({ status }: Node): Ip[] {
  const internal = (status?.addresses ?? []).filter(({ type }) => type === 'InternalIP');
  return internal.map(({ address }) => parseIp(address)).filter((ip) => ip !== undefined);
}

/** `podCIDR` is the older field: kubelets and manifests that set only that one are still about. */
function podCidrTexts({ spec: { podCIDRs = [], podCIDR = '' } }: Node): readonly string[] {
  return podCIDRs.length > 0 ? podCIDRs : [podCIDR];
}

function judge(text: string, cidr: Cidr | undefined, own: readonly Ip[]): Finding | undefined {
  if (text.trim() === '') return { reason: 'EmptyPodCIDR', message: 'has no pod CIDR, or an empty one' };
  if (cidr === undefined) return { reason: 'InvalidPodCIDR', message: `pod CIDR ${JSON.stringify(text)} is no CIDR` };
  if (!isCarriable(cidr)) return uncarriable('InvalidPodCIDR', cidr);
  const swallowed = own.find((ip) => cidrContainsIp(cidr, ip));
  if (swallowed === undefined) return undefined;
  return { reason: 'InvalidPodCIDR', message: `${cidr} holds the node's own address ${swallowed}` };
}

export function uncarriable(reason: string, cidr: Cidr): Finding {
  return { reason, message: `${cidr} is too wide, or not for pods (loopback, link-local, multicast, reserved)` };
}
