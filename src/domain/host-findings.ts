import { FROM_TUNNEL_MARK, PROBE_PORT, TUNNEL_DEVICE_PREFIX, TUNNEL_GROUP, VXLAN_DEVICE, WIREGUARD_DEVICE } from '../api/names.ts';
import { type Cidr, hostCidr } from '../net/cidr.ts';
import { familyOf } from '../net/ip.ts';
import { type BaseChain, type FirewallTable, type Packet, possibleOutcomes } from './firewall.ts';
import type { Finding, NodePlan } from './node-plan.ts';

/**
 * What firewalls of others on this host do to the packets that `plan` needs, with the commands that let these pass. Pure.
 *
 * Each base chain decides for itself: an accept elsewhere, also in our table, takes back no drop (`nft(8)`, verdicts). Only what is dropped for
 * certain is told; where it hangs on something that cannot be known here, nothing is said.
 */
export function hostFindings(plan: NodePlan, tables: readonly FirewallTable[]): Finding[] {
  const needs = [...forwardNeeds(plan), ...inputNeeds(plan)];
  return tables.flatMap((table) => table.bases.flatMap((base) => judgeBase(table, base, needs)));
}

/** Whether one of these is among a plan's findings. */
export function hasClosedFirewall({ findings }: NodePlan): boolean {
  return findings.some(({ reason }) => reason === FORWARD_DROPPED || reason === INPUT_DROPPED);
}

export const FORWARD_DROPPED = 'ForwardDropped';
const INPUT_DROPPED = 'InputDropped';

/** Packets that must pass, and the rule that lets them. */
interface Need {
  readonly packet: Packet;
  /** What is closed, in words. */
  readonly what: string;
  /** Matches of the accepting rule, in the words of both tools. */
  readonly iptables: string;
  readonly nft: string;
}

function judgeBase(table: FirewallTable, base: BaseChain, needs: readonly Need[]): Finding[] {
  const judged = needs
    .filter(({ packet }) => packet.hook === base.hook)
    .map((need) => ({ need, outcomes: possibleOutcomes(table, base, need.packet) }));
  const dropped = judged.filter(({ outcomes }) => !outcomes.has('accept'));
  if (dropped.length === 0) return [];
  // What may be dropped is opened with the rest: once is enough for whoever types it.
  const open = new Set(judged.filter(({ outcomes }) => outcomes.has('drop')).map(({ need }) => openingOf(table, base, need)));
  const what = [...new Set(dropped.map(({ need }) => need.what))].join(', ');
  const where = `${table.backend} table ${table.name}, chain ${base.name} (policy ${base.policy})`;
  return [
    {
      reason: base.hook === 'forward' ? FORWARD_DROPPED : INPUT_DROPPED,
      message: `a firewall of this host drops ${what}: ${where}; to open it: ${[...open].join('; ')}`,
    },
  ];
}

/** A command for a shell. */
function openingOf({ backend, name }: FirewallTable, base: BaseChain, { iptables, nft }: Need): string {
  if (backend === 'nft') return `nft insert rule ${name} ${base.name} '${nft} accept'`;
  return `${backend} -I ${base.name} ${iptables} -j ACCEPT`;
}

function forwardNeeds(plan: NodePlan): Need[] {
  const own = elementsOf(plan, 'own4');
  const remote = elementsOf(plan, 'remote4');
  if (plan.role === 'none' || remote.length === 0) return [];
  if (plan.role === 'ordinary') {
    return own.length === 0 ? [] : both(VXLAN_DEVICE, VXLAN_DEVICE, { own, remote, other: undefined, passing: 'new' });
  }
  const tunnel = plan.links.find((link) => link.type !== 'vxlan' && link.group === TUNNEL_GROUP)?.name;
  if (tunnel === undefined) return [];
  const wildcard = tunnel === WIREGUARD_DEVICE ? tunnel : `${TUNNEL_DEVICE_PREFIX}*`;
  const region = plan.routes.flatMap(({ dst, dev }) => (dev === VXLAN_DEVICE && familyOf(dst) === 4 ? [dst] : []));
  return [
    ...(own.length === 0 ? [] : both(tunnel, wildcard, { own, remote, other: undefined, passing: 'new' })),
    // What a gateway only passes on is not tracked (nft-rules.ts).
    ...(region.length === 0 ? [] : both(tunnel, wildcard, { own: region, remote, other: VXLAN_DEVICE, passing: 'untracked' })),
  ];
}

interface Flow {
  readonly own: readonly Cidr[];
  readonly remote: readonly Cidr[];
  /** Device at the other side of this host; undefined: a pod's. */
  readonly other: string | undefined;
  readonly passing: 'new' | 'untracked';
}

/** Packets in through `device`, and out. */
function both(device: string, pattern: string, { own, remote, other, passing }: Flow): [Need, Need] {
  const iptables = pattern.replace(/\*$/, '+');
  const what = 'forwarded packets of other regions';
  // A tunnel's packets carry our mark by now, but those for other nodes not any more (nft-rules.ts).
  const mark = device === VXLAN_DEVICE || other === VXLAN_DEVICE ? 0 : FROM_TUNNEL_MARK;
  return [
    {
      packet: { hook: 'forward', iif: device, oif: other, saddr: remote, daddr: own, state: passing, mark },
      what,
      iptables: `-i ${iptables}`,
      nft: `iifname "${pattern}"`,
    },
    {
      packet: { hook: 'forward', iif: other, oif: device, saddr: own, daddr: remote, state: passing, mark: 0 },
      what,
      iptables: `-o ${iptables}`,
      nft: `oifname "${pattern}"`,
    },
  ];
}

/** UDP ports that must be open on the host: of the tunnels, of the VXLAN device, and of the probes inside the tunnels. */
function inputNeeds(plan: NodePlan): Need[] {
  const vxlan = plan.links.find((link) => link.type === 'vxlan');
  const { tunnels } = plan;
  const tunnel = plan.links.find((link) => link.type !== 'vxlan')?.name;
  // Whom we call ourselves answers; only a call that we wait for is new.
  const waits =
    tunnels?.driver === 'ipsec'
      ? tunnels.tunnels.some(({ initiate }) => !initiate)
      : tunnels?.tunnels.some(({ remote }) => remote === undefined) === true;
  return [
    ...(vxlan === undefined || plan.fdb.length === 0
      ? []
      : [
          udp('from nodes of the own region', {
            iif: vxlan.dev,
            dport: vxlan.port,
            state: 'new',
            saddr: plan.fdb.map(({ dst }) => hostCidr(dst)),
          }),
        ]),
    ...(tunnels === undefined || vxlan === undefined
      ? []
      : [udp('tunnels', { iif: vxlan.dev, dport: tunnels.localPort, state: waits ? 'new' : 'established' })]),
    ...(tunnel === undefined ? [] : [udp('measurements by other gateways', { iif: tunnel, dport: PROBE_PORT, state: 'new' })]),
  ];
}

function udp(what: string, packet: Pick<Packet, 'iif' | 'saddr' | 'state'> & { readonly dport: number }): Need {
  const { iif = '', dport } = packet;
  return {
    packet: { ...packet, hook: 'input', protocol: 'udp', mark: isTunnelDevice(iif) ? FROM_TUNNEL_MARK : 0 },
    what: `UDP port ${dport} (${what})`,
    iptables: `-p udp --dport ${dport}`,
    nft: `udp dport ${dport}`,
  };
}

function isTunnelDevice(name: string): boolean {
  return name === WIREGUARD_DEVICE || name.startsWith(TUNNEL_DEVICE_PREFIX);
}

function elementsOf({ nft }: NodePlan, set: string): readonly Cidr[] {
  return nft?.sets.find(({ name }) => name === set)?.elements ?? [];
}
