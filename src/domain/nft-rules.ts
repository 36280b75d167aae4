import { FROM_TUNNEL_MARK, NFT_TABLE, TUNNEL_GROUP, VXLAN_DEVICE } from '../api/names.ts';
import { type Cidr, mergeCidrs } from '../net/cidr.ts';
import type { Ip } from '../net/ip.ts';
import type { NftChain, NftTable, Role } from './node-plan.ts';

/** Hook priorities, `nft(8)` table "standard priority names". */
const RAW = -300;
const MANGLE = -150;
/** Before every `srcnat` (100) chain: the first binding of a flow wins, see `docs/architecture.md`. */
const BEFORE_SRCNAT = 90;

const SYN = 'tcp flags & (syn | rst) == syn';
const CLAMP = 'tcp option maxseg size set rt mtu';
const FROM_TUNNEL = `iifgroup ${TUNNEL_GROUP}`;
const TO_TUNNEL = `oifgroup ${TUNNEL_GROUP}`;

export interface NftView {
  readonly role: Role;
  /** Pod CIDRs of this node. */
  readonly own: readonly Cidr[];
  /** All CIDRs of other regions. */
  readonly remote: readonly Cidr[];
  /** Address in `own` that stands for the host itself. */
  readonly hostSource: Ip | undefined;
}

/** The firewall half of a node's plan. IPv4. */
export function planNft(view: NftView): NftTable {
  const gatewayChains = view.role === 'gateway' ? [untracked(), fromTunnel(), output()] : [];
  return {
    name: NFT_TABLE,
    sets: [
      { name: 'own4', type: 'ipv4_addr', elements: mergeCidrs(view.own) },
      { name: 'remote4', type: 'ipv4_addr', elements: mergeCidrs(view.remote) },
    ],
    chains: [...gatewayChains, forward(), postrouting(view.hostSource)],
  };
}

/** What a gateway only passes on is not tracked: no masquerade, no cost, no `invalid` when the ways there and back differ. */
function untracked(): NftChain {
  return {
    name: 'untracked',
    type: 'filter',
    hook: 'prerouting',
    priority: RAW,
    rules: [`iifname "${VXLAN_DEVICE}" ip daddr @remote4 notrack`, `${FROM_TUNNEL} ip daddr != @own4 fib daddr type != local notrack`],
  };
}

/** Only our bit is set; whoever uses the others keeps them. */
function fromTunnel(): NftChain {
  const mark = `0x${FROM_TUNNEL_MARK.toString(16)}`;
  return {
    name: 'from_tunnel',
    type: 'filter',
    hook: 'prerouting',
    priority: MANGLE,
    rules: [`${FROM_TUNNEL} meta mark set meta mark | ${mark}`],
  };
}

/** A relay sends packets back out of the user-space device they came from; ICMP redirects about that would only mislead. */
function output(): NftChain {
  return { name: 'output', type: 'filter', hook: 'output', priority: MANGLE, rules: [`${TO_TUNNEL} icmp type redirect drop`] };
}

/** Each SYN is clamped on its way out, so both directions are (RFC 9293 §3.7.1); `rt mtu` is the smaller of both routes. */
function forward(): NftChain {
  return {
    name: 'forward',
    type: 'filter',
    hook: 'forward',
    priority: MANGLE,
    rules: [`oifname "${VXLAN_DEVICE}" ${SYN} ${CLAMP}`, `${TO_TUNNEL} ${SYN} ${CLAMP}`],
  };
}

/**
 * Binds cross-region flows to their own source, both where they leave and where they arrive, so that no later masquerade applies.
 * Flows whose answers must come back to this host (its own, and those that kube-proxy sent on from elsewhere) get an address that remote regions route here.
 */
function postrouting(hostSource: Ip | undefined): NftChain {
  const hosts =
    hostSource === undefined
      ? []
      : [`ip daddr @remote4 ct status dnat snat ip to ${hostSource}`, `ip daddr @remote4 fib saddr type local snat ip to ${hostSource}`];
  return {
    name: 'postrouting',
    type: 'nat',
    hook: 'postrouting',
    priority: BEFORE_SRCNAT,
    rules: ['ip saddr @own4 ip daddr @remote4 snat ip to ip saddr', 'ip saddr @remote4 ip daddr @own4 snat ip to ip saddr', ...hosts],
  };
}
