import { ANCHOR_ADDRESS, ROUTE_PROTOCOL } from '../api/names.ts';
import { compareText } from '../lib/compare.ts';
import {
  type KernelPlan,
  type KernelState,
  type LinkState,
  fdbText,
  linkStateOf,
  nexthopText,
  type Observed,
  routeKey,
  type RouteState,
  routeText,
  ruleText,
} from './kernel-state.ts';
import { diffNft } from './nft-text.ts';
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
  type Rule,
} from './node-plan.ts';

/** One write to the kernel. */
export interface Change {
  readonly tool: 'ip' | 'bridge' | 'nft' | 'sysctl';
  /** What stands behind the tool's name: a line of `ip -batch`, commands for `nft -f`, `key=value` for `sysctl -w`. */
  readonly text: string;
  /** For `ip -6`, where the text does not tell. */
  readonly family?: 6;
}

/** As an operator would type it in a shell. */
export function formatChange({ tool, text, family }: Change): string {
  if (tool === 'nft' && text.includes('\n')) return `nft -f - <<'EOF'\n${text}\nEOF`;
  if (tool === 'sysctl') return `sysctl -w ${text}`;
  return `${tool} ${family === undefined ? '' : '-6 '}${text}`;
}

/**
 * The writes that make the kernel equal to `plan`, in the order in which they must happen: devices, then what stands on them up
 * to the rules that send packets there, and removals the other way round. Empty when nothing differs.
 *
 * Pure. Knows what else vanishes with a device or a next hop, and puts it back in the same run. What needs a device that is not there
 * (the user-space VPN has not made it yet or is gone, or its name is taken by another type) is left out.
 */
export function diffKernel(observed: KernelState, fullPlan: KernelPlan): Change[] {
  const plan = withoutDevices(fullPlan, missingDevices(observed, fullPlan));
  const links = diffLinks(observed, plan);
  const standing = withoutDeviceObjects(observed, links);
  const replaced = replacedNexthops(standing, plan);
  const state = withoutNexthops(standing, replaced);
  const fdb = diffFdb(state, plan);
  const neighbours = diffNeighbours(state, plan);
  const nexthops = diffNexthops(state, plan);
  const routes = diffRoutes(state, plan);
  const rules = diffRules(state, plan);
  const nft = diffNft(state.nft, plan.nft).map((text): Change => ({ tool: 'nft', text }));
  return [
    ...links.add,
    ...diffSysctls(state, plan),
    ...fdb.add,
    ...neighbours.add,
    ...[...replaced].map((id) => ip(`nexthop del id ${id}`)),
    ...nexthops.add,
    ...routes.add,
    ...(plan.nft === undefined ? [] : nft),
    ...rules.add,
    ...rules.remove,
    ...(plan.nft === undefined ? nft : []),
    ...routes.remove,
    ...nexthops.remove,
    ...neighbours.remove,
    ...fdb.remove,
    ...links.remove,
  ];
}

interface Changes {
  readonly add: readonly Change[];
  readonly remove: readonly Change[];
}

function ip(text: string, family: 4 | 6 = 4): Change {
  return { tool: 'ip', text, ...(family === 6 && { family }) };
}

function missingDevices({ links, foreignLinks }: KernelState, plan: KernelPlan): ReadonlySet<string> {
  const present = new Set(links.filter(({ type, noCarrier }) => type !== 'tun' || noCarrier !== true).map(({ name }) => name));
  const notMadeYet = plan.links.filter(({ type, name }) => type === 'tun' && !present.has(name)).map(({ name }) => name);
  return new Set([...foreignLinks, ...notMadeYet]);
}

function withoutDevices(plan: KernelPlan, devices: ReadonlySet<string>): KernelPlan {
  if (devices.size === 0) return plan;
  const nexthops = plan.nexthops.filter(({ dev }) => !devices.has(dev));
  const ids = new Set(plan.nexthops.filter(({ dev }) => devices.has(dev)).map(({ id }) => id));
  const on = ({ dev }: { readonly dev?: string }): boolean => dev !== undefined && devices.has(dev);
  return {
    ...plan,
    links: plan.links.filter(({ name }) => !devices.has(name)),
    fdb: plan.fdb.filter((entry) => !on(entry)),
    neighbours: plan.neighbours.filter((entry) => !on(entry)),
    nexthops,
    routes: plan.routes.filter((route) => !on(route) && !(route.nexthopId !== undefined && ids.has(route.nexthopId))),
    sysctls: plan.sysctls.filter(({ key }) => !devices.has(key.split('/').at(-2) ?? '')),
  };
}

interface LinkChanges extends Changes {
  /** Deleted to be made anew: all that stood on them is gone. */
  readonly gone: ReadonlySet<string>;
  /** Got another MAC: the kernel drops their neighbours, also permanent ones. */
  readonly flushed: ReadonlySet<string>;
}

function diffLinks({ links, ipv6 }: KernelState, plan: KernelPlan): LinkChanges {
  const current = new Map(links.map((link) => [link.name, link]));
  const wanted = new Set(plan.links.map(({ name }) => name));
  const gone = new Set<string>();
  const flushed = new Set<string>();
  const add: Change[] = [];
  for (const link of plan.links) {
    const have = current.get(link.name);
    const want = linkStateOf(link);
    if (have !== undefined && have.type === want.type && (want.type === 'tun' || have.fixed === want.fixed)) {
      add.push(...changeLink(have, want, ipv6));
      if (want.mac !== undefined && have.mac !== want.mac) flushed.add(link.name);
      continue;
    }
    if (have !== undefined) {
      gone.add(link.name);
      add.push(ip(`link del dev ${link.name}`));
    }
    add.push(...addLink(link, ipv6));
  }
  // The TUN device belongs to charon or wireguard-go, which takes it along when it ends.
  const surplus = links.filter(({ name, type }) => type !== 'tun' && !wanted.has(name));
  return { add, remove: surplus.map(({ name }) => ip(`link del dev ${name}`)), gone, flushed };
}

function addLink(link: LinkPlan, ipv6: boolean): Change[] {
  const quiet = ipv6 ? [ip(`link set dev ${link.name} addrgenmode none`)] : [];
  return [
    ip(`link add ${formatLink(link)}`),
    ...quiet,
    anchor(link.name),
    ...changeProbeIps([], linkStateOf(link)),
    ip(`link set dev ${link.name} up`),
  ];
}

function anchor(name: string): Change {
  return ip(`address replace ${ANCHOR_ADDRESS}/32 dev ${name} scope host`);
}

/** Of a scope that is no source for packets of others. */
function changeProbeIps(have: readonly string[], { name, probeIps }: LinkState): Change[] {
  return [
    ...have.filter((each) => !probeIps.includes(each)).map((each) => ip(`address del ${each}/32 dev ${name}`)),
    ...probeIps.filter((each) => !have.includes(each)).map((each) => ip(`address replace ${each}/32 dev ${name} scope host`)),
  ];
}

function changeLink(have: LinkState, want: LinkState, ipv6: boolean): Change[] {
  const words = [
    have.mtuBytes === want.mtuBytes ? '' : ` mtu ${want.mtuBytes}`,
    want.mac === undefined || have.mac === want.mac ? '' : ` address ${want.mac}`,
    have.group === want.group ? '' : ` group ${want.group}`,
    have.up ? '' : ' up',
  ].join('');
  // Before `up`: that is when the address is made.
  const quiet = ipv6 && !have.quiet && want.type !== 'tun' ? [ip(`link set dev ${want.name} addrgenmode none`)] : [];
  const prepared = [...quiet, ...(have.anchored ? [] : [anchor(want.name)]), ...changeProbeIps(have.probeIps, want)];
  return words === '' ? prepared : [...prepared, ip(`link set dev ${want.name}${words}`)];
}

function withoutDeviceObjects(state: KernelState, { gone, flushed }: LinkChanges): KernelState {
  if (gone.size === 0 && flushed.size === 0) return state;
  const lost = new Set(state.nexthops.filter(({ dev }) => gone.has(dev)).map(({ id }) => id));
  return {
    ...withoutNexthops(state, lost),
    fdb: state.fdb.filter(({ dev }) => !gone.has(dev)),
    neighbours: state.neighbours.filter(({ dev }) => !gone.has(dev) && !flushed.has(dev)),
    routes: state.routes.filter(
      ({ dev, nexthopId }) => !(dev !== undefined && gone.has(dev)) && !(nexthopId !== undefined && lost.has(nexthopId)),
    ),
    sysctls: new Map([...state.sysctls].filter(([key]) => !gone.has(key.split('/').at(-2) ?? ''))),
  };
}

/** Ids whose next hop cannot turn into the planned one in place: a group, a blackhole, or one of the other family. */
function replacedNexthops({ nexthops }: KernelState, plan: KernelPlan): ReadonlySet<number> {
  const wanted = new Map(plan.nexthops.map(({ id, family }) => [id, family]));
  return new Set(
    nexthops.filter(({ id, family, extra }) => wanted.has(id) && (extra !== undefined || wanted.get(id) !== family)).map(({ id }) => id),
  );
}

/** A next hop takes its routes along. */
function withoutNexthops(state: KernelState, ids: ReadonlySet<number>): KernelState {
  if (ids.size === 0) return state;
  return {
    ...state,
    nexthops: state.nexthops.filter(({ id }) => !ids.has(id)),
    routes: state.routes.filter(({ nexthopId }) => nexthopId === undefined || !ids.has(nexthopId)),
  };
}

function diffSysctls({ sysctls }: KernelState, plan: KernelPlan): Change[] {
  return plan.sysctls
    .filter(({ key, value }) => sysctls.get(key) !== value)
    .map(({ key, value }) => ({ tool: 'sysctl', text: `${key}=${value}` }));
}

/** A VXLAN device keeps one destination for a unicast MAC, so `replace` moves it. */
function diffFdb(state: KernelState, plan: KernelPlan): Changes {
  const current = new Set(state.fdb.map(fdbText));
  const wanted = new Set(plan.fdb.map(({ mac }) => mac));
  const surplus = ({ mac, extra }: Observed<FdbEntry>): boolean => extra !== undefined || !wanted.has(mac);
  return {
    add: plan.fdb
      .filter((entry) => !current.has(formatFdb(entry)))
      .map((entry) => ({ tool: 'bridge', text: `fdb replace ${formatFdb(entry)}` })),
    remove: state.fdb.filter(surplus).map((entry) => ({ tool: 'bridge', text: `fdb del ${fdbText(entry)}` })),
  };
}

function diffNeighbours(state: KernelState, plan: KernelPlan): Changes {
  const place = ({ ip: address, dev }: Neighbour): string => `${address} dev ${dev}`;
  const current = new Set(state.neighbours.map(formatNeighbour));
  const wanted = new Set(plan.neighbours.map(place));
  return {
    add: plan.neighbours
      .filter((entry) => !current.has(formatNeighbour(entry)))
      .map((entry) => ip(`neigh replace ${formatNeighbour(entry)}`)),
    remove: state.neighbours.filter((entry) => !wanted.has(place(entry))).map((entry) => ip(`neigh del ${place(entry)}`)),
  };
}

function diffNexthops(state: KernelState, plan: KernelPlan): Changes {
  const current = new Set(state.nexthops.map(nexthopText));
  const wanted = new Set(plan.nexthops.map(({ id }) => id));
  const missing = plan.nexthops.filter((nexthop) => !current.has(nexthopText(nexthop)));
  return {
    add: missing.map((nexthop) => ip(`nexthop replace ${formatNexthop(nexthop)} proto ${ROUTE_PROTOCOL}`, familyWord(nexthop))),
    remove: state.nexthops.filter(({ id }) => !wanted.has(id)).map(({ id }) => ip(`nexthop del id ${id}`)),
  };
}

/** A gateway's address tells the family; without one the command line must. */
function familyWord({ via, family }: Nexthop): 4 | 6 {
  return via === undefined ? family : 4;
}

function diffRoutes(state: KernelState, plan: KernelPlan): Changes {
  const current = new Map(state.routes.map((route) => [routeText(route), route]));
  const wanted = new Map(plan.routes.map((route) => [routeText(route), route]));
  const missing = [...wanted].filter(([text]) => !current.has(text)).map(([, route]) => route);
  const unwanted = [...current].filter(([text]) => !wanted.has(text)).map(([, route]) => route);
  if (missing.length === 0 && unwanted.length === 0) return { add: [], remove: [] };
  // `replace` overwrites a wrong route; it must go by itself only where nothing replaces it.
  const replaced = new Set(missing.map(routeKey));
  return {
    add: missing.map((route) => ip(`route replace ${formatRoute(route)} proto ${ROUTE_PROTOCOL}`)),
    remove: unwanted
      .filter((route) => !replaced.has(routeKey(route)))
      .map((route) => ip(`route del ${placeOf(route)} proto ${ROUTE_PROTOCOL}`)),
  };
}

/** A route in words that `ip route del` understands. */
function placeOf(route: RouteState): string {
  return route.key === undefined ? formatRoute(route) : `${formatRoute(route)} ${route.key}`;
}

function diffRules(state: KernelState, plan: KernelPlan): Changes {
  const wanted = new Set(plan.rules.map(ruleText));
  const current = new Set(state.rules.map(ruleText));
  const stamp = `protocol ${ROUTE_PROTOCOL}`;
  const sorted = (rules: readonly Observed<Rule>[]): Observed<Rule>[] => rules.toSorted((a, b) => compareText(ruleText(a), ruleText(b)));
  return {
    add: plan.rules.filter((rule) => !current.has(ruleText(rule))).map((rule) => ip(`rule add ${formatRule(rule)} ${stamp}`, rule.family)),
    remove: sorted(state.rules.filter((rule) => !wanted.has(ruleText(rule)))).map((rule) =>
      ip(`rule del ${[rule.extra ?? '', formatRule(rule), stamp].join(' ').trim()}`, rule.family),
    ),
  };
}
