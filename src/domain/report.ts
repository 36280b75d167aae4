import type { Condition } from '../api/meta.ts';
import { API_GROUP, VXLAN_PORT } from '../api/names.ts';
import { type TunnelAddress, type StandbyLink, type TunnelEndpoint, type TunnelLink, upOfTotal } from '../api/tunnel-endpoint.ts';
import { formatTime } from '../lib/clock.ts';
import { familyOf, formatIpPort, type Ip, isGlobalIp, parseIp } from '../net/ip.ts';
import type { LocalFacts } from './facts.ts';
import { describeForwarding, type ForwardingFault } from './forwarding.ts';
import { HOST_UNFIT } from './host-needs.ts';
import type { NodePlan, PathPlan } from './node-plan.ts';
import { type GatewayNode, regionOfNode, type Snapshot } from './snapshot.ts';

/** One tunnel as the VPN driver sees it (`TunnelState` without its counters). */
export interface ObservedTunnel {
  readonly peer: string;
  readonly state: 'up' | 'connecting' | 'down';
  readonly sinceMs: number;
  readonly remote?: { readonly ip: string; readonly port: number };
  readonly message?: string;
}

export interface ReportInput {
  readonly node: string;
  readonly snapshot: Snapshot;
  readonly plan: NodePlan;
  readonly facts: LocalFacts;
  /** Why the data path is what it is. */
  readonly dataPathReason: string;
  /** Of the WireGuard device; undefined with another driver. */
  readonly publicKey: string | undefined;
  readonly tunnels: readonly ObservedTunnel[];
  /** Smoothed round trip per peer, in milliseconds. */
  readonly rtts: ReadonlyMap<string, number>;
  /** Addresses of host names; those that are not resolved yet are missing. */
  readonly resolved: ReadonlyMap<string, readonly Ip[]>;
  /** That nothing gets across this node, as measured by its agent; undefined: it was not found so. */
  readonly forwarding?: ForwardingFault | undefined;
  readonly previous: TunnelEndpoint | undefined;
  readonly nowMs: number;
}

/** What a gateway node says about itself; undefined on nodes that are none. Equal input gives an equal object, whatever the time. */
export function describeEndpoint(input: ReportInput): TunnelEndpoint | undefined {
  const { node, snapshot, plan, facts, previous } = input;
  const region = regionOfNode(snapshot, node);
  const self = region?.live.find(({ name }) => name === node);
  if (region === undefined || self === undefined) return undefined;
  if (!isUnfit(plan) && (plan.tunnels === undefined || facts.underlay === undefined)) return undefined;
  const port = plan.tunnels?.localPort ?? self.port;
  const links = plan.paths.map((path) => describeLink(path, input));
  const standbyLinks = describeStandbys(input);
  const overlayIp = facts.hostSources[4] ?? facts.hostSources[6];
  return {
    apiVersion: `${API_GROUP}/v1beta1`,
    kind: 'TunnelEndpoint',
    metadata: previous?.metadata ?? { name: node },
    spec: {
      gateway: region.name,
      nodeName: node,
      driver: facts.driver,
      dataPath: facts.dataPath,
      ...(input.publicKey !== undefined && { publicKey: input.publicKey }),
      port,
      underlayMtu: facts.underlay?.mtuBytes ?? previous?.spec.underlayMtu ?? USUAL_MTU_BYTES,
      ...(overlayIp !== undefined && { overlayIP: overlayIp }),
      addresses: [...exposedAddress(self, input), ...[self.privateIp, facts.underlay?.secondIp].flatMap((ip) => addressesOf(ip, port))],
    },
    status: {
      links,
      ...(standbyLinks.length > 0 && { standbyLinks }),
      peers: upOfTotal(links),
      forwarding: describeForwarding({
        links,
        findings: plan.findings,
        measured: input.forwarding,
        previous: previous?.status?.forwarding,
        nowMs: input.nowMs,
      }),
      conditions: describeConditions(links, input),
    },
  };
}

/** Tunnels that no path leads to. */
function describeStandbys({ plan, tunnels }: ReportInput): StandbyLink[] {
  const planned = plan.tunnels?.tunnels ?? [];
  return planned
    .filter(({ peer }) => !plan.paths.some((path) => path.peer === peer))
    .map(({ peer, gateway }) => {
      const tunnel = tunnels.find((each) => each.peer === peer);
      const state = STATES[tunnel?.state ?? 'connecting'];
      return {
        peer,
        gateway,
        state,
        ...(tunnel?.remote !== undefined && { observed: formatIpPort(tunnel.remote.ip, tunnel.remote.port) }),
        ...(state !== 'Up' && tunnel?.message !== undefined && { message: tunnel.message }),
      };
    });
}

/** Of a machine that cannot even say what it has (RFC 894). */
const USUAL_MTU_BYTES = 1500;

/** It carries nothing, and its region should see why. */
function isUnfit({ findings }: NodePlan): boolean {
  return findings.some(({ reason }) => reason === HOST_UNFIT);
}

/**
 * One address of the load balancer, the same as long as it has it: another order, or one more, moves no tunnel. A host name that cannot be resolved
 * now keeps the address that it had.
 */
function exposedAddress({ exposed, privateIp }: GatewayNode, { resolved, previous }: ReportInput): TunnelAddress[] {
  if (exposed === undefined) return [];
  const { hosts, port } = exposed;
  const all = hosts.flatMap((host) => parseIp(host) ?? resolved.get(host) ?? []);
  // A load balancer may have addresses of a family that it cannot pass on to the node.
  const fitting = all.filter((ip) => privateIp !== undefined && familyOf(ip) === familyOf(privateIp));
  const known = fitting.length > 0 ? fitting : all;
  const before = previous?.spec.addresses.find(({ type }) => type === 'LoadBalancer')?.ip;
  const isKept = known.some((ip) => ip === before) || (known.length === 0 && before !== undefined);
  const ip = isKept ? before : known[0];
  return ip === undefined ? [] : [{ type: 'LoadBalancer', ip, port }];
}

function addressesOf(ip: Ip | undefined, port: number): TunnelAddress[] {
  if (ip === undefined) return [];
  return [{ type: isGlobalIp(ip) ? 'Public' : 'Private', ip, port }];
}

const STATES = { up: 'Up', connecting: 'Connecting', down: 'Down' } as const;

function describeLink(plan: PathPlan, { tunnels, rtts, previous, nowMs }: ReportInput): TunnelLink {
  const { gateway, peer, via, encryption, carrier: sender, mtuBytes } = plan;
  const carrier = tunnels.find((tunnel) => tunnel.peer === (via ?? peer));
  const own = tunnels.find((tunnel) => tunnel.peer === peer);
  const state = plan.isPlain === true ? plainState(plan, rtts) : STATES[carrier?.state ?? 'connecting'];
  const before = previous?.status?.links.find((link) => link.peer === peer);
  const path = via === undefined ? 'direct' : 'relay';
  const unchanged = before?.state === state && before.path === path && before.via === via && before.encryption === encryption;
  const rttMs = state === 'Up' ? settle(before?.rttMs, rtts.get(peer)) : undefined;
  return {
    peer,
    gateway,
    state,
    path,
    ...(via !== undefined && { via }),
    ...(sender !== undefined && { carrier: sender }),
    ...(encryption !== undefined && { encryption }),
    ...(own?.remote !== undefined && { observed: formatIpPort(own.remote.ip, own.remote.port) }),
    ...(rttMs !== undefined && { rttMs }),
    ...(mtuBytes !== undefined && { mtu: mtuBytes }),
    since:
      unchanged && before.since !== undefined
        ? before.since
        : formatTime(via === undefined && carrier !== undefined && plan.isPlain !== true ? carrier.sinceMs : nowMs),
    ...(state !== 'Up' && { message: plan.isPlain === true ? noAnswer(plan) : (carrier?.message ?? noTunnel(plan)) }),
  };
}

/** Without a tunnel, only an answer tells that packets pass. A peer that answers no probes is believed. */
function plainState({ peer, overlayIp }: PathPlan, rtts: ReadonlyMap<string, number>): TunnelLink['state'] {
  return overlayIp === undefined || rtts.has(peer) ? 'Up' : 'Connecting';
}

function noAnswer({ peer, via }: PathPlan): string {
  return `no answer from ${peer} without a tunnel: does the network carry UDP ${VXLAN_PORT} to ${via ?? peer}?`;
}

function noTunnel({ peer, via }: PathPlan): string {
  return via === undefined ? `calling ${peer}` : `the tunnel to relay ${via} is not up`;
}

/** A published figure stays until the real one is a third away and by more than this: noise causes no writes. */
const RTT_STEP_MS = 0.5;
const RTT_RATIO = 1 / 3;

function settle(publishedMs: number | undefined, smoothedMs: number | undefined): number | undefined {
  if (smoothedMs === undefined) return publishedMs;
  const distance = Math.abs(smoothedMs - (publishedMs ?? Number.POSITIVE_INFINITY));
  if (publishedMs !== undefined && (distance <= RTT_STEP_MS || distance <= publishedMs * RTT_RATIO)) return publishedMs;
  return Math.round(smoothedMs * 10) / 10;
}

function describeConditions(links: readonly TunnelLink[], { plan, facts, dataPathReason, previous, nowMs }: ReportInput): Condition[] {
  const down = links.filter(({ state }) => state !== 'Up');
  const unfit = plan.findings.find(({ reason }) => reason === HOST_UNFIT);
  const ready = down.length === 0 && unfit === undefined;
  const conditions = [
    {
      type: 'Ready',
      status: ready ? 'True' : 'False',
      reason: ready ? 'AllLinksUp' : (unfit?.reason ?? 'LinksDown'),
      message: ready
        ? `${links.length} of ${links.length} links up`
        : (unfit?.message ?? down.map(({ peer, message }) => `${peer}: ${message ?? 'down'}`).join('; ')),
    },
    { type: 'KernelDataPath', status: facts.dataPath === 'kernel' ? 'True' : 'False', reason: 'Detected', message: dataPathReason },
    {
      type: 'PlanComplete',
      status: plan.findings.length === 0 ? 'True' : 'False',
      reason: plan.findings[0]?.reason ?? 'AllPlanned',
      message: plan.findings.map(({ message }) => message).join('; '),
    },
  ] as const;
  return conditions.map((each) => {
    const before = previous?.status?.conditions.find(({ type }) => type === each.type);
    const since = before?.status === each.status ? before.lastTransitionTime : undefined;
    return { ...each, lastTransitionTime: since ?? formatTime(nowMs) };
  });
}
