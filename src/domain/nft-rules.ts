import { FROM_TUNNEL_MARK, NFT_TABLE, TUNNEL_GROUP, VXLAN_DEVICE } from '../api/names.ts';
import { type Cidr, mergeCidrs } from '../net/cidr.ts';
import { type Family, familyOf } from '../net/ip.ts';
import { PROBE_RANGE } from '../net/probe-address.ts';
import type { LocalFacts } from './facts.ts';
import type { NftChain, NftSet, NftTable, Role } from './node-plan.ts';

/** Hook priorities, `nft(8)` table "standard priority names". */
const RAW = -300;
const MANGLE = -150;
/** Before every `srcnat` (100) chain: the first binding of a flow wins, see `docs/architecture.md`. */
const BEFORE_SRCNAT = 90;

const SYN = 'tcp flags & (syn | rst) == syn';
const CLAMP = 'tcp option maxseg size set rt mtu';
const FROM_TUNNEL = `iifgroup ${TUNNEL_GROUP}`;
const TO_TUNNEL = `oifgroup ${TUNNEL_GROUP}`;
/**
 * `accept` ends a chain, not the packet's way through those of others. Every packet of the host passes each chain, and names are the dearest
 * comparison in them: each chain looks at one once, see `docs/throughput.md`.
 */
const NOT_FROM_OVERLAY = `iifname != "${VXLAN_DEVICE}" accept`;
const NOT_TO_OVERLAY = `oifname != "${VXLAN_DEVICE}" accept`;

export interface NftView {
  readonly role: Role;
  /** Those that this node carries, IPv4 first. */
  readonly families: readonly Family[];
  /** Pod CIDRs of this node. */
  readonly own: readonly Cidr[];
  /** All CIDRs of other regions. */
  readonly remote: readonly Cidr[];
  /** Addresses in `own` that stand for the host itself. */
  readonly hostSources: LocalFacts['hostSources'];
  /** Packets may leave by the tunnel device by which they came, as on a relay whose peers share it. */
  readonly turnsBack?: boolean;
  /** Tunnels are probed to and from this node, see `probe-address.ts`. */
  readonly isProbed: boolean;
}

/** How rules name a family (`nft(8)`), whose redirect message it is, and the type of its sets. */
const WORDS = {
  4: { ip: 'ip', redirect: 'icmp type redirect', set: 'ipv4_addr' },
  6: { ip: 'ip6', redirect: 'icmpv6 type nd-redirect', set: 'ipv6_addr' },
} as const;

/** The firewall half of a node's plan, for the families that it carries. */
export function planNft(view: NftView): NftTable {
  const { families, own, remote } = view;
  const gatewayChains =
    view.role === 'gateway' ? [untracked(families), fromTunnel(families), ...(view.turnsBack === true ? [output(families)] : [])] : [];
  const set = (name: string, family: Family, cidrs: readonly Cidr[]): NftSet => ({
    name: `${name}${family}`,
    type: WORDS[family].set,
    elements: mergeCidrs(cidrs.filter((cidr) => familyOf(cidr) === family)),
  });
  return {
    name: NFT_TABLE,
    sets: families.flatMap((family) => [set('own', family, own), set('remote', family, remote)]),
    chains: [...gatewayChains, forward(view.role), postrouting(view)],
  };
}

/** What a gateway only passes on is not tracked: no masquerade, no cost, no `invalid` when the ways there and back differ. */
function untracked(families: readonly Family[]): NftChain {
  const passedOn = (family: Family): string => `${WORDS[family].ip} daddr != @own${family} fib daddr type != local notrack`;
  return {
    name: 'untracked',
    type: 'filter',
    hook: 'prerouting',
    priority: RAW,
    rules: [
      ...families.map((family) => `${FROM_TUNNEL} ${passedOn(family)}`),
      NOT_FROM_OVERLAY,
      ...families.flatMap((family) => [
        `${WORDS[family].ip} daddr @remote${family} notrack accept`,
        `${fromPlain(family)} ${passedOn(family)}`,
      ]),
    ],
  };
}

/** By `raven0` from a routable region, see `routable.ts`. Always taken: the other side may send so before this one knows that it should. */
function fromPlain(family: Family): string {
  return `${WORDS[family].ip} saddr @remote${family}`;
}

/** Only our bit is set; whoever uses the others keeps them. */
function fromTunnel(families: readonly Family[]): NftChain {
  const set = `meta mark set meta mark | ${hex(FROM_TUNNEL_MARK)}`;
  return {
    name: 'from_tunnel',
    type: 'filter',
    hook: 'prerouting',
    priority: MANGLE,
    rules: [`${FROM_TUNNEL} ${set} accept`, NOT_FROM_OVERLAY, ...families.map((family) => `${fromPlain(family)} ${set}`)],
  };
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

/** ICMP redirects about packets that turn back would only mislead. */
function output(families: readonly Family[]): NftChain {
  const rules = families.map((family) => `${TO_TUNNEL} ${WORDS[family].redirect} drop`);
  return { name: 'output', type: 'filter', hook: 'output', priority: MANGLE, rules };
}

/**
 * Each SYN is clamped on its way out, so both directions are (RFC 9293 §3.7.1); `rt mtu` is the smaller of both routes.
 *
 * A gateway takes our bit off what it sends to its nodes, as the route is chosen by now. A VXLAN packet inherits the mark of what it carries (kernel,
 * `vxlan_get_route`): with ours, the device asks all rules for the outer route of every packet instead of using the one that it keeps (`ip_tunnel_dst_cache_usable`),
 * and a packet to a node's own address would be sent by table 9028 into `raven0` again, and be dropped as a loop.
 */
function forward(role: Role): NftChain {
  const others = ~FROM_TUNNEL_MARK >>> 0;
  const gateway = [`${TO_TUNNEL} ${SYN} ${CLAMP}`, NOT_TO_OVERLAY, `meta mark set meta mark & ${hex(others)}`, `${SYN} ${CLAMP}`];
  const ordinary = [`oifname "${VXLAN_DEVICE}" ${SYN} ${CLAMP}`, `${TO_TUNNEL} ${SYN} ${CLAMP}`];
  return { name: 'forward', type: 'filter', hook: 'forward', priority: MANGLE, rules: role === 'gateway' ? gateway : ordinary };
}

/**
 * Binds cross-region flows to their own source, both where they leave and where they arrive, so that no later masquerade applies.
 * So are probes of tunnels, whose addresses are in no pod CIDR. Flows whose answers must come back to this host (its own, and those that kube-proxy sent on from elsewhere) get an address that remote regions route here.
 */
function postrouting({ families, hostSources, isProbed }: NftView): NftChain {
  const probes = isProbed ? [`ip saddr ${PROBE_RANGE} snat ip to ip saddr`] : [];
  const rules = families.flatMap((family) => {
    const { ip } = WORDS[family];
    const [own, remote] = [`@own${family}`, `@remote${family}`];
    const source = hostSources[family];
    const bind = [
      `${ip} saddr ${own} ${ip} daddr ${remote} snat ${ip} to ${ip} saddr`,
      `${ip} saddr ${remote} ${ip} daddr ${own} snat ${ip} to ${ip} saddr`,
    ];
    if (source === undefined) return bind;
    return [
      ...bind,
      `${ip} daddr ${remote} ct status dnat snat ${ip} to ${source}`,
      `${ip} daddr ${remote} fib saddr type local snat ${ip} to ${source}`,
    ];
  });
  return {
    name: 'postrouting',
    type: 'nat',
    hook: 'postrouting',
    priority: BEFORE_SRCNAT,
    rules: [...rules, ...probes],
  };
}
