import { readdir, readFile } from 'node:fs/promises';
import { z } from 'zod';
import { CHARON_RULE_PREF, CHARON_TABLE, STAND_IN_PREFIX_LENGTH_6, USER_TUNNEL_DEVICE } from '../../api/names.ts';
import { addressAt, type Cidr, cidrContains, cidrContainsIp, networkAddress, parseCidr, prefixLength } from '../../net/cidr.ts';
import { familyOf, formatIp, type Ip, ipValue, parseIp } from '../../net/ip.ts';
import type { Exec } from '../exec/exec.ts';
import { poll } from '../tunnel/process.ts';

/**
 * The TUN device of user-space charon, under our name.
 *
 * kernel-libipsec wants to install a route for each policy and refuses the tunnel when that fails: when its device has another name than it
 * gave it, and when this machine has no address inside the local selector (a gateway has none in the pod CIDRs of its region's other nodes).
 * Both are satisfied by a stand-in: a TUN device of the name that charon remembers, with an address for each local selector that lacks one.
 * The addresses are local only in a table that nobody consults, where charon's routes go too: no packet ever meets them.
 */
export interface UserDevice {
  /**
   * Renames charon's device, puts the stand-in in its place and gives that an address for each selector that needs one. Idempotent, writes
   * nothing when all is there.
   *
   * @param pid charon's; undefined when it runs elsewhere and its files cannot be looked at
   * @param tun name under which charon knows its device, if noted earlier
   * @returns that name; undefined when the device is gone, so that charon must be started anew
   */
  keep(pid: number | undefined, tun: string | undefined, localTs: readonly Cidr[]): Promise<string | undefined>;
  /** Removes stand-in, routes and rules; the device itself goes with charon. */
  remove(): Promise<void>;
}

/** Marks the stand-in (`ip-link(8)`, alias), which cannot be told by its name. */
const STAND_IN_ALIAS = 'raven stand-in';
/**
 * Of the stand-in's addresses, so that neither source selection nor we ourselves take one for an address of the node (`rt_scopes`: site).
 * In IPv6 the kernel takes the scope from the address alone; there the prefix length does it, `STAND_IN_PREFIX_LENGTH_6`.
 */
const SCOPE = 'site';
/** What strongSwan calls it unless that name is taken. */
const DEFAULT_TUN = 'ipsec0';

const routesJson = z.array(z.looseObject({ dst: z.string() }));

/** Far longer than the kernel's work queue takes. */
const LOCAL_ROUTE_MS = 2_000;

const devicesJson = z.array(
  z.looseObject({
    ifname: z.string().default(''),
    ifalias: z.string().optional(),
    addr_info: z.array(z.looseObject({ local: z.string().optional(), scope: z.string().optional() })).default([]),
  }),
);
type Devices = z.infer<typeof devicesJson>;

/** @param sysctlDir as `exec` sees it */
export function createUserDevice(exec: Exec, countWrites: (lines: number) => void, sysctlDir = '/proc/sys'): UserDevice {
  async function keep(pid: number | undefined, tun: string | undefined, localTs: readonly Cidr[]): Promise<string | undefined> {
    const devices = await listDevices();
    const current = pid === undefined ? findByName(devices, tun) : await findTun(pid);
    if (current === undefined) return undefined;
    const isRenamed = current === USER_TUNNEL_DEVICE;
    const original = isRenamed ? (tun ?? DEFAULT_TUN) : current;
    const standsIn = devices.some(({ ifname, ifalias }) => ifname === original && ifalias === STAND_IN_ALIAS);
    const { add, keep: kept, remove: surplus } = diffAddresses(devices, original, localTs);
    await write([...(isRenamed ? [] : renameLines(current)), ...(isRenamed && standsIn ? [] : standInLines(original))]);
    if (add.some((ip) => familyOf(ip) === 6)) await allowIpv6(original);
    await write([...add.flatMap((ip) => addLines(original, ip)), ...surplus.flatMap((ip) => removeLines(original, ip))]);
    if (!isRenamed) await removeRules();
    await makeForeign(original, kept, add);
    return original;
  }

  /**
   * The kernel makes IPv6 addresses local to this machine as well, a moment after they were added (`addrconf_dad_work`); that is taken back. charon's
   * routes do not need it.
   */
  async function makeForeign(tun: string, kept: readonly Ip[], added: readonly Ip[]): Promise<void> {
    if (![...kept, ...added].some((ip) => familyOf(ip) === 6)) return;
    const fresh = added.filter((ip) => familyOf(ip) === 6);
    let locals: readonly Ip[] = [];
    await poll(async () => {
      locals = await localAddresses(tun);
      return fresh.every((ip) => locals.includes(ip)) ? true : undefined;
    }, LOCAL_ROUTE_MS);
    await write(locals.map((ip) => `route del local ${ip} dev ${tun} table local`));
  }

  async function localAddresses(tun: string): Promise<Ip[]> {
    const text = await exec(['ip', '-6', '-j', 'route', 'show', 'table', 'local', 'type', 'local', 'dev', tun]);
    return routesJson.parse(JSON.parse(text || '[]')).flatMap(({ dst }) => parseIp(dst) ?? []);
  }

  /** Where the host has IPv6 off for new devices the kernel takes no address. */
  async function allowIpv6(tun: string): Promise<void> {
    await exec(['tee', `${sysctlDir}/net/ipv6/conf/${tun}/disable_ipv6`], { stdin: '0\n' });
  }

  /** `-d`, or iproute2 keeps the alias to itself. */
  async function listDevices(): Promise<Devices> {
    return devicesJson.parse(JSON.parse((await exec(['ip', '-j', '-d', 'address', 'show'])) || '[]'));
  }

  async function remove(): Promise<void> {
    const standIns = (await listDevices()).filter(({ ifalias }) => ifalias === STAND_IN_ALIAS);
    await write(standIns.map(({ ifname }) => `link del dev ${ifname}`));
    for (const family of ['-4', '-6']) await quietly(['ip', family, 'route', 'flush', 'table', String(CHARON_TABLE)]);
    await removeRules();
  }

  /** charon's own rule would send packets to the stand-in. */
  async function removeRules(): Promise<void> {
    for (const family of ['-4', '-6']) {
      await quietly(['ip', family, 'rule', 'del', 'pref', String(CHARON_RULE_PREF), 'lookup', String(CHARON_TABLE)]);
    }
  }

  /** For what fails when there is nothing to remove. */
  async function quietly(argv: readonly [string, ...string[]]): Promise<void> {
    try {
      await exec(argv);
    } catch {
      // Nothing there: as wanted.
    }
  }

  async function write(lines: readonly string[]): Promise<void> {
    if (lines.length === 0) return;
    countWrites(lines.length);
    await exec(['ip', '-batch', '-'], { stdin: `${lines.join('\n')}\n` });
  }

  return { keep, remove };
}

const CHARON_IGNORES: ReadonlySet<string> = new Set(['link', 'host']);

/** Which addresses the stand-in should get, still has and should lose. */
export function diffAddresses(devices: Devices, tun: string, localTs: readonly Cidr[]): { add: Ip[]; keep: Ip[]; remove: Ip[] } {
  const all = devices.flatMap(({ ifname, addr_info }) =>
    addr_info.flatMap(({ local = '', scope = '' }) => {
      const ip = parseIp(local);
      return ip === undefined ? [] : [{ ifname, ip, scope }];
    }),
  );
  // charon looks at all addresses but those of scope link or host (strongSwan, kernel_netlink_net.c).
  const real = all.filter(({ ifname, scope }) => ifname !== tun && !CHARON_IGNORES.has(scope)).map(({ ip }) => ip);
  const isOurs = ({ ip, scope }: { ip: Ip; scope: string }): boolean => (familyOf(ip) === 4 ? scope === SCOPE : scope !== 'link');
  const present = all.filter((each) => each.ifname === tun && isOurs(each)).map(({ ip }) => ip);
  const wanted = new Set(localTs.filter((cidr) => needsAddress(cidr, real)).map(lastAddress));
  return {
    add: [...wanted].filter((ip) => !present.includes(ip)),
    keep: present.filter((ip) => wanted.has(ip)),
    remove: present.filter((ip) => !wanted.has(ip)),
  };
}

/** A selector with a loopback address in it stands for any address to charon (strongSwan, kernel_interface.c, get_address_by_ts). */
function needsAddress(cidr: Cidr, real: readonly Ip[]): boolean {
  const loopback = ['127.0.0.1/32', '::1/128'].flatMap((text) => parseCidr(text) ?? []);
  return !loopback.some((each) => cidrContains(cidr, each)) && !real.some((ip) => cidrContainsIp(cidr, ip));
}

/** No pod has it: in IPv4 it is the broadcast address. */
function lastAddress(cidr: Cidr): Ip {
  const hostBits = BigInt((familyOf(cidr) === 4 ? 32 : 128) - prefixLength(cidr));
  const { family, value } = ipValue(networkAddress(cidr));
  return hostBits === 0n ? addressAt(cidr, 0) : formatIp({ family, value: value | ((1n << hostBits) - 1n) });
}

/** Not persistent, the device goes with its charon: what carries one of its names is that of the charon that runs. */
function findByName(devices: Devices, tun: string | undefined): string | undefined {
  const names = devices.filter(({ ifalias }) => ifalias !== STAND_IN_ALIAS).map(({ ifname }) => ifname);
  return [USER_TUNNEL_DEVICE, tun].find((name) => name !== undefined && names.includes(name));
}

function renameLines(current: string): string[] {
  return [
    `link set dev ${current} down`,
    `link set dev ${current} name ${USER_TUNNEL_DEVICE}`,
    // No router solicitations into the tunnel.
    `link set dev ${USER_TUNNEL_DEVICE} addrgenmode none`,
    `link set dev ${USER_TUNNEL_DEVICE} up`,
  ];
}

function standInLines(name: string): string[] {
  return [
    `tuntap add dev ${name} mode tun`,
    `link set dev ${name} addrgenmode none`,
    `link set dev ${name} alias "${STAND_IN_ALIAS}"`,
    `link set dev ${name} up`,
  ];
}

/** The kernel makes each address local to this machine; that is taken back, and told only to the table in which charon puts its routes. */
function addLines(tun: string, ip: Ip): string[] {
  if (familyOf(ip) === 6) return [`address add ${ip}/${STAND_IN_PREFIX_LENGTH_6} dev ${tun} nodad noprefixroute`];
  return [
    `address add ${ip}/32 dev ${tun} scope ${SCOPE}`,
    `route del local ${ip} dev ${tun} table local`,
    `route add local ${ip} dev ${tun} table ${CHARON_TABLE}`,
  ];
}

function removeLines(tun: string, ip: Ip): string[] {
  if (familyOf(ip) === 6) return [`address del ${ip}/${STAND_IN_PREFIX_LENGTH_6} dev ${tun}`];
  return [`route del local ${ip} dev ${tun} table ${CHARON_TABLE}`, `address del ${ip}/32 dev ${tun}`];
}

/** The network device of the process's TUN file (`iff:` in /proc/PID/fdinfo, drivers/net/tun.c); undefined when there is none (any more). */
export async function findTun(pid: number): Promise<string | undefined> {
  const dir = `/proc/${pid}/fdinfo`;
  for (const fd of await listOr(dir)) {
    const name = /^iff:\s*(\S+)/m.exec(await textOr(`${dir}/${fd}`))?.[1];
    if (name !== undefined) return name;
  }
  return undefined;
}

async function listOr(dir: string): Promise<readonly string[]> {
  try {
    return await readdir(dir);
  } catch {
    return [];
  }
}

async function textOr(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return '';
  }
}
