import { compareText } from '../lib/compare.ts';
import { formatNftState, type NftState, nftStateOf } from './nft-text.ts';
import {
  type FdbEntry,
  formatFdb,
  formatLink,
  formatNeighbour,
  formatNexthop,
  formatRoute,
  formatRule,
  type LinkPlan,
  type Neighbour,
  type Nexthop,
  type NodePlan,
  type Route,
  type Rule,
} from './node-plan.ts';

/** What the kernel holds of ours, and what of others stands in its way. */
export interface KernelState {
  readonly links: readonly LinkState[];
  readonly fdb: readonly Observed<FdbEntry>[];
  /** Permanent entries only: what ARP learned is the kernel's. */
  readonly neighbours: readonly Neighbour[];
  readonly nexthops: readonly Observed<Nexthop>[];
  readonly routes: readonly RouteState[];
  readonly rules: readonly Observed<Rule>[];
  readonly nft: NftState | undefined;
  /** Values by key, as far as they exist: those of `managedSysctls` of our devices. */
  readonly sysctls: ReadonlyMap<string, string>;
  /** Whether links have an IPv6 side at all. */
  readonly ipv6: boolean;
  /** Names of ours that a device of another type has. */
  readonly foreignLinks: readonly string[];
  /** Things of others in our names, tables and rules, in the owning tool's syntax: left alone, worth a word. */
  readonly foreign: readonly string[];
}

/** An object in the kernel, with the words in its tool's syntax that a plan never says. */
export type Observed<T> = T & { readonly extra?: string };

export interface LinkState {
  readonly type: LinkPlan['type'];
  readonly name: string;
  /** What stands behind `type` and cannot be changed in place; empty for a TUN device. */
  readonly fixed: string;
  readonly mtuBytes: number;
  readonly group: number;
  readonly mac?: string;
  readonly up: boolean;
  /** Has `ANCHOR_ADDRESS`. */
  readonly anchored: boolean;
  /** Those of its addresses that lie in `PROBE_RANGE`. */
  readonly probeIps: readonly string[];
  /** No link-local IPv6 address, and so no router solicitations (`addrgenmode none`). */
  readonly quiet: boolean;
  /** A TUN device that no process holds: the kernel takes no next hop there. */
  readonly noCarrier?: boolean;
}

export interface RouteState extends Route {
  /** Part of a route's identity, with table and destination: `metric 5`. */
  readonly key?: string;
  /** Other words that a plan never says: `advmss 1200`. */
  readonly extra?: string;
}

/** The sysctls of a device that a plan may set, and so the ones that are read. */
export function managedSysctls(device: string): string[] {
  return [
    ...['forwarding', 'rp_filter'].map((setting) => `net/ipv4/conf/${device}/${setting}`),
    ...['accept_ra', 'disable_ipv6', 'forwarding'].map((setting) => `net/ipv6/conf/${device}/${setting}`),
  ];
}

export const EMPTY_STATE: KernelState = {
  links: [],
  fdb: [],
  neighbours: [],
  nexthops: [],
  routes: [],
  rules: [],
  nft: undefined,
  sysctls: new Map(),
  ipv6: true,
  foreignLinks: [],
  foreign: [],
};

/** The part of a plan that the kernel carries, without its tunnels. */
export type KernelPlan = Pick<NodePlan, 'links' | 'fdb' | 'neighbours' | 'nexthops' | 'routes' | 'rules' | 'nft' | 'sysctls'>;

export const EMPTY_KERNEL_PLAN: KernelPlan = {
  links: [],
  fdb: [],
  neighbours: [],
  nexthops: [],
  routes: [],
  rules: [],
  nft: undefined,
  sysctls: [],
};

/** The state in which nothing is left to do for `plan`. */
export function stateOf(plan: KernelPlan): KernelState {
  return {
    ...EMPTY_STATE,
    links: plan.links.map(linkStateOf),
    fdb: plan.fdb,
    neighbours: plan.neighbours,
    nexthops: plan.nexthops,
    routes: plan.routes,
    rules: plan.rules,
    nft: plan.nft && nftStateOf(plan.nft),
    sysctls: new Map(plan.sysctls.map(({ key, value }) => [key, value])),
  };
}

export function linkStateOf(link: LinkPlan): LinkState {
  const { type, name, mtuBytes } = link;
  const fixed = formatLink(link).split(' type ')[1] ?? '';
  const group = type === 'vxlan' ? 0 : link.group;
  const probeIps = type === 'vxlan' && link.probeIp !== undefined ? [link.probeIp] : [];
  return {
    type,
    name,
    fixed,
    mtuBytes,
    group,
    ...(type === 'vxlan' && { mac: link.mac }),
    up: true,
    anchored: true,
    probeIps,
    quiet: true,
  };
}

/** One line for each of our objects, in a fixed order: equal states have equal lines. */
export function stateLines(state: KernelState): string[] {
  const { links, fdb, neighbours, nexthops, routes, rules, nft, sysctls } = state;
  return [
    ...links.map((link) => `link ${linkText(link)}`),
    ...fdb.map((entry) => `fdb ${fdbText(entry)}`),
    ...neighbours.map((entry) => `neigh ${formatNeighbour(entry)}`),
    ...nexthops.map((nexthop) => `nexthop ${nexthopText(nexthop)}`),
    ...routes.map((route) => `route ${routeText(route)}`),
    ...rules.map((rule) => `rule ${ruleText(rule)}`),
    ...(nft === undefined ? [] : [`nft ${formatNftState(nft)}`]),
    ...[...sysctls].map(([key, value]) => `sysctl ${key}=${value}`),
  ].toSorted(compareText);
}

export function linkText({ name, mtuBytes, group, mac, up, anchored, probeIps, quiet, fixed }: LinkState): string {
  return words(
    name,
    `mtu ${mtuBytes} group ${group}`,
    mac && `address ${mac}`,
    up ? 'up' : 'down',
    anchored && 'anchored',
    probeIps.join(' '),
    quiet && 'addrgenmode none',
    fixed && `type ${fixed}`,
  );
}

export function fdbText(entry: Observed<FdbEntry>): string {
  return words(formatFdb(entry), entry.extra);
}

/** With the family, which `ip nexthop` takes from the command line. */
export function nexthopText(nexthop: Observed<Nexthop>): string {
  return words(`inet${nexthop.family === 6 ? '6' : ''}`, formatNexthop(nexthop), nexthop.extra);
}

export function routeText(route: RouteState): string {
  return words(formatRoute(route), route.key, route.extra);
}

/** What `ip route replace` replaces: there is one such route at a time, except for appended ones. */
export function routeKey({ table, dst, key }: RouteState): string {
  return words(String(table), dst, key);
}

export function ruleText(rule: Observed<Rule>): string {
  return words(rule.family === 6 && '-6', formatRule(rule), rule.extra);
}

function words(...parts: readonly (string | false | undefined)[]): string {
  return parts.filter((part) => part !== undefined && part !== false && part !== '').join(' ');
}
