import { type Endpoint, extraCidrTexts, type Gateway, type NodeInfo } from '../api/gateway.ts';
import { EXTRA_CIDRS_ANNOTATION } from '../api/names.ts';
import { compareText } from '../lib/compare.ts';
import { type Cidr, parseCidr } from '../net/cidr.ts';
import { type NodeFacts, uncarriable } from './node-facts.ts';
import type { Finding } from './node-plan.ts';
import { isCarriable } from './subnets.ts';

export interface RegionStatusInput {
  readonly gateway: Gateway;
  /** The nodes that carry the region's label. */
  readonly nodes: readonly NodeFacts[];
  /** Elected endpoints, by node name. */
  readonly active: readonly Endpoint[];
}

export interface RegionStatus {
  /** What belongs into `status.nodes`, by name. */
  readonly nodes: readonly NodeInfo[];
  /** All subnets of the region. */
  readonly cidrs: readonly Cidr[];
  /** What was left out, and why; by node name. */
  readonly findings: readonly Finding[];
  /** A node has Calico, and no block of Calico's is known. */
  readonly lacksBlocks: boolean;
}

/** Decides what a region's `status.nodes` says, by the API contract ("status.nodes"). Pure; the order of `nodes` does not matter. */
export function regionStatus({ gateway, nodes, active }: RegionStatusInput): RegionStatus {
  const sorted = nodes.toSorted((a, b) => compareText(a.name, b.name));
  const findings: Finding[] = sorted.flatMap((node) => node.findings);
  const cidrs: Cidr[] = [];

  const extras = extraCidrs(gateway, findings);
  const extrasGoTo = active.find(({ type }) => type === 'tunnel')?.nodeName;
  const infos = sorted.map(({ name, privateIp = '', subnets }): NodeInfo => {
    const all = name === extrasGoTo ? [...new Set([...subnets, ...extras])] : subnets;
    cidrs.push(...all);
    return { nodeName: name, privateIP: privateIp, subnets: [...all] };
  });
  return { nodes: infos, cidrs, findings, lacksBlocks: nodes.some(({ lacksBlocks }) => lacksBlocks) };
}

/** The annotation may well name the LAN that the gateway itself stands in, so its node's own address is no objection here. */
function extraCidrs({ metadata }: Gateway, findings: Finding[]): Cidr[] {
  return extraCidrTexts(metadata.annotations).flatMap((text) => {
    const cidr = parseCidr(text);
    if (cidr !== undefined && isCarriable(cidr)) return [cidr];
    const finding = cidr === undefined ? { reason: '', message: `${JSON.stringify(text)} is no CIDR` } : uncarriable('', cidr);
    findings.push({ reason: 'InvalidExtraCIDR', message: `annotation ${EXTRA_CIDRS_ANNOTATION}: ${finding.message}` });
    return [];
  });
}
