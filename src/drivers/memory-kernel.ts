import { ANCHOR_ADDRESS, VXLAN_DEVICE } from '../api/names.ts';
import { type Change, diffKernel, formatChange } from '../domain/kernel-diff.ts';
import {
  EMPTY_KERNEL_PLAN,
  type KernelState,
  type LinkState,
  managedSysctls,
  type Observed,
  routeKey,
  type RouteState,
  ruleText,
} from '../domain/kernel-state.ts';
import type { NftState } from '../domain/nft-text.ts';
import type { FdbEntry, Neighbour, Nexthop, Rule } from '../domain/node-plan.ts';
import { messageOf } from '../lib/errors.ts';
import { parseCidr } from '../net/cidr.ts';
import { familyOf, parseIp } from '../net/ip.ts';
import { IPV6_MIN_MTU_BYTES } from '../net/mtu.ts';
import type { Kernel } from './kernel.ts';
import { runNftScript } from './memory-nft.ts';

/** A kernel that lives in memory and understands the commands that we write, with what they do beside their own object. */
export interface MemoryKernel extends Kernel {
  /**
   * Carries out one command, as anybody might by hand.
   *
   * @throws in the kernel's words
   */
  run(command: string): void;
}

/** @param devices the machine's own, up */
export function createMemoryKernel(devices: readonly string[]): MemoryKernel {
  const links = new Map<string, LinkState>();
  const fdb = new Map<string, FdbEntry>();
  const neighbours = new Map<string, Neighbour>();
  const nexthops = new Map<number, Nexthop>();
  const routes = new Map<string, RouteState>();
  const rules = new Map<string, Observed<Rule>>();
  const sysctls = new Map<string, string>();
  let nft: NftState | undefined;

  function execute({ tool, text, family }: Change): void {
    const [object = '', verb = '', ...rest] = text.split(' ');
    if (tool === 'nft') nft = runNftScript(nft, text);
    else if (tool === 'sysctl') writeSysctl(text);
    else if (object === 'link') executeLink(verb, rest);
    else if (object === 'address') executeAddress(verb, rest);
    else if (object === 'fdb') executeFdb(verb, rest);
    else if (object === 'neigh') executeNeighbour(verb, rest);
    else if (object === 'nexthop') executeNexthop(verb, rest, family ?? 4);
    else if (object === 'route') executeRoute(verb, rest);
    else if (object === 'rule') executeRule(verb, rest, family ?? 4);
    else throw new Error(`unknown command: ${text}`);
  }

  function writeSysctl(text: string): void {
    const [key = '', value = ''] = text.split('=');
    if (!sysctls.has(key)) throw new Error(`ENOENT: ${key}`);
    sysctls.set(key, value);
    if (key.endsWith('/disable_ipv6') && value === '1') dropIpv6(key.split('/').at(-2) ?? '');
  }

  /** Routes by next-hop objects stay, and work again when IPv6 comes back. */
  function dropIpv6(dev: string): void {
    for (const [key, neighbour] of neighbours) if (neighbour.dev === dev && familyOf(neighbour.ip) === 6) neighbours.delete(key);
    for (const [key, route] of routes) if (route.dev === dev && familyOf(route.dst) === 6) routes.delete(key);
  }

  /** A device that is too narrow for IPv6 has none, and begins anew with the defaults when it is wide enough again. */
  function followMtu(name: string, before: number, after: number): void {
    const keys = managedSysctls(name).filter((key) => key.startsWith('net/ipv6/'));
    if (before >= IPV6_MIN_MTU_BYTES && after < IPV6_MIN_MTU_BYTES) {
      dropIpv6(name);
      for (const key of keys) sysctls.delete(key);
    } else if (before < IPV6_MIN_MTU_BYTES && after >= IPV6_MIN_MTU_BYTES) {
      for (const key of keys) sysctls.set(key, '0');
    }
  }

  function executeLink(verb: string, rest: readonly string[]): void {
    const [name = '', ...words] = rest[0] === 'dev' ? rest.slice(1) : rest;
    if (verb === 'add') return addLink(name, words);
    const link = found(links.get(name), `Cannot find device "${name}"`);
    if (verb === 'del') {
      links.delete(name);
      for (const [mac, entry] of fdb) if (entry.dev === name) fdb.delete(mac);
      for (const key of sysctls.keys()) if (key.includes(`/${name}/`)) sysctls.delete(key);
      return dropUsers(name);
    }
    const set = valuesOf(words, ['mtu', 'address', 'group', 'addrgenmode']);
    const numbers = numbersOf(set);
    followMtu(name, link.mtuBytes, numbers.mtuBytes ?? link.mtuBytes);
    links.set(name, {
      ...link,
      ...numbers,
      ...(set.has('address') && { mac: set.get('address') ?? '' }),
      quiet: set.has('addrgenmode') ? set.get('addrgenmode') === 'none' : link.quiet,
      up: words.includes('up') || (link.up && !words.includes('down')),
    });
    if (set.has('address')) dropNeighbours(name);
    if (words.includes('down')) dropUsers(name);
  }

  function addLink(name: string, words: readonly string[]): void {
    if (links.has(name) || devices.includes(name)) throw new Error('RTNETLINK answers: File exists');
    const at = words.indexOf('type');
    const [kind = '', ...data] = words.slice(at + 1);
    const under = valuesOf(data, ['dev']).get('dev');
    if (kind === 'vxlan' || kind === 'xfrm') requireDevice(under ?? '');
    const set = valuesOf(words.slice(0, at), ['mtu', 'address', 'group']);
    links.set(name, {
      type: kind as LinkState['type'],
      name,
      fixed: kind === 'tun' ? '' : words.slice(at + 1).join(' '),
      mtuBytes: 1500,
      group: 0,
      ...numbersOf(set),
      ...(kind === 'vxlan' && { mac: set.get('address') ?? '' }),
      up: false,
      anchored: false,
      probeIps: [],
      quiet: kind === 'tun',
    });
    for (const key of managedSysctls(name)) sysctls.set(key, '0');
  }

  function executeAddress(verb: string, [cidr = '', ...words]: readonly string[]): void {
    const name = valuesOf(words, ['dev']).get('dev') ?? '';
    const link = found(links.get(name), `Cannot find device "${name}"`);
    const address = cidr.split('/')[0] ?? '';
    const others = link.probeIps.filter((each) => each !== address);
    if (address === ANCHOR_ADDRESS) links.set(name, { ...link, anchored: verb !== 'del' });
    else links.set(name, { ...link, probeIps: verb === 'del' ? others : [...others, address] });
  }

  function executeFdb(verb: string, [mac = '', ...words]: readonly string[]): void {
    const set = valuesOf(words, ['dev', 'dst']);
    requireDevice(set.get('dev') ?? '');
    if (verb === 'replace') fdb.set(mac, { dev: VXLAN_DEVICE, mac, dst: addressOf(set.get('dst')) });
    else if (!fdb.delete(mac)) throw new Error('RTNETLINK answers: No such file or directory');
  }

  function executeNeighbour(verb: string, [ip = '', ...words]: readonly string[]): void {
    const set = valuesOf(words, ['dev', 'lladdr']);
    const dev = set.get('dev') ?? '';
    requireDevice(dev);
    if (verb === 'replace') neighbours.set(`${ip} ${dev}`, { dev, ip: addressOf(ip), mac: set.get('lladdr') ?? '' });
    else if (!neighbours.delete(`${ip} ${dev}`)) throw new Error('RTNETLINK answers: No such file or directory');
  }

  function executeNexthop(verb: string, words: readonly string[], family: 4 | 6): void {
    const set = valuesOf(words, ['id', 'via', 'dev']);
    const id = Number(set.get('id'));
    if (verb === 'del') {
      if (!nexthops.delete(id)) throw new Error('RTNETLINK answers: No such file or directory');
      for (const [key, route] of routes) if (route.nexthopId === id) routes.delete(key);
      return;
    }
    const dev = set.get('dev') ?? '';
    requireDevice(dev);
    if (links.get(dev)?.up === false) throw new Error('RTNETLINK answers: Network is down');
    const via = parseIp(set.get('via') ?? '');
    const nexthop: Nexthop = { id, dev, family: via === undefined ? family : familyOf(via), ...(via && { via }) };
    const isOff = links.has(dev) && sysctls.get(`net/ipv6/conf/${dev}/disable_ipv6`) !== '0';
    if (nexthop.family === 6 && isOff) throw new Error('IPv6 is disabled on nexthop device.');
    nexthops.set(id, nexthop);
  }

  function executeRoute(verb: string, words: readonly string[]): void {
    const type = words[0] === 'throw' ? { type: 'throw' as const } : undefined;
    const [dst = '', ...rest] = type === undefined ? words : words.slice(1);
    const set = valuesOf(rest, ['nhid', 'via', 'dev', 'table', 'src', 'mtu', 'metric']);
    const nexthopId = set.has('nhid') ? Number(set.get('nhid')) : undefined;
    const dev = set.get('dev');
    const via = parseIp(set.get('via') ?? '');
    const src = parseIp(set.get('src') ?? '');
    const route: RouteState = {
      table: Number(set.get('table')),
      dst: found(parseCidr(dst), `any valid prefix is expected rather than "${dst}"`),
      ...type,
      ...(nexthopId !== undefined && { nexthopId }),
      ...(via && { via }),
      ...(dev !== undefined && { dev }),
      ...(src && { src }),
      ...(set.has('mtu') && { mtuBytes: Number(set.get('mtu')) }),
      ...(set.has('metric') && { key: `metric ${set.get('metric')}` }),
    };
    if (verb === 'del') {
      if (!routes.delete(routeKey(route))) throw new Error('RTNETLINK answers: No such process');
      return;
    }
    if (nexthopId !== undefined) found(nexthops.get(nexthopId), 'Nexthop id does not exist.');
    if (dev !== undefined) requireDevice(dev);
    routes.set(routeKey(route), route);
  }

  function executeRule(verb: string, words: readonly string[], family: 4 | 6): void {
    const set = valuesOf(words, ['pref', 'fwmark', 'dport', 'lookup']);
    const [value, mask] = (set.get('fwmark') ?? '').split('/').map(Number);
    const mark = set.has('fwmark') && value !== undefined ? { value, mask: mask ?? 0xffffffff } : undefined;
    const rule: Rule = {
      pref: Number(set.get('pref')),
      family,
      table: Number(set.get('lookup')),
      ...(mark && { mark }),
      ...(set.has('dport') && { ownUdpPort: Number(set.get('dport')) }),
    };
    if (verb === 'del') {
      if (!rules.delete(ruleText(rule))) throw new Error('RTNETLINK answers: No such file or directory');
      return;
    }
    if (rules.has(ruleText(rule))) throw new Error('RTNETLINK answers: File exists');
    rules.set(ruleText(rule), rule);
  }

  function dropUsers(dev: string): void {
    dropNeighbours(dev);
    for (const [id, nexthop] of nexthops) if (nexthop.dev === dev) executeNexthop('del', ['id', String(id)], 4);
    for (const [key, route] of routes) if (route.dev === dev) routes.delete(key);
  }

  function dropNeighbours(dev: string): void {
    for (const [key, neighbour] of neighbours) if (neighbour.dev === dev) neighbours.delete(key);
  }

  function requireDevice(name: string): void {
    if (!links.has(name) && !devices.includes(name)) throw new Error(`Cannot find device "${name}"`);
  }

  function observe(): Promise<KernelState> {
    return Promise.resolve({
      links: [...links.values()],
      fdb: [...fdb.values()],
      neighbours: [...neighbours.values()],
      nexthops: [...nexthops.values()],
      routes: [...routes.values()],
      rules: [...rules.values()],
      nft,
      sysctls: new Map(sysctls),
      ipv6: true,
      foreignLinks: [],
      foreign: [],
    });
  }

  function apply(changes: readonly Change[]): ReturnType<Kernel['apply']> {
    const written: Change[] = [];
    const failed: { change: Change; error: string }[] = [];
    const script = changes.filter(({ tool }) => tool === 'nft');
    for (const change of changes) {
      try {
        // nft takes all its commands as one transaction.
        if (change.tool !== 'nft') execute(change);
        else if (change === script[0]) execute({ tool: 'nft', text: script.map(({ text }) => text).join('\n') });
        written.push(change);
      } catch (error) {
        failed.push({ change, error: messageOf(error) });
      }
    }
    return Promise.resolve({ written, failed });
  }

  async function cleanup(): Promise<string[]> {
    const tuns = [...links.values()]
      .filter(({ type }) => type === 'tun')
      .map(({ name }): Change => ({ tool: 'ip', text: `link del dev ${name}` }));
    return (await apply([...diffKernel(await observe(), EMPTY_KERNEL_PLAN), ...tuns])).written.map(formatChange);
  }

  return { observe, diff: diffKernel, apply, cleanup, run: (command) => execute(parseCommand(command)) };
}

function parseCommand(command: string): Change {
  const [tool = '', ...words] = command.split(' ');
  const six = words[0] === '-6';
  return { tool: tool as Change['tool'], text: words.slice(six ? 1 : 0).join(' '), ...(six && { family: 6 }) };
}

/** The words behind each of `keys`. */
function valuesOf(words: readonly string[], keys: readonly string[]): Map<string, string> {
  return new Map(keys.filter((key) => words.includes(key)).map((key) => [key, words[words.indexOf(key) + 1] ?? '']));
}

function numbersOf(set: ReadonlyMap<string, string>): { mtuBytes?: number; group?: number } {
  return { ...(set.has('mtu') && { mtuBytes: Number(set.get('mtu')) }), ...(set.has('group') && { group: Number(set.get('group')) }) };
}

function addressOf(text: string | undefined): FdbEntry['dst'] {
  return found(parseIp(text ?? ''), `any valid address is expected rather than "${text}"`);
}

function found<T>(value: T | undefined, message: string): T {
  if (value === undefined) throw new Error(message);
  return value;
}
