import { z } from 'zod';
import { STAND_IN_PREFIX_LENGTH_6, TUNNEL_DEVICE_PREFIX, VXLAN_DEVICE, WIREGUARD_DEVICE } from '../../api/names.ts';
import type { MachineFacts } from '../../domain/facts.ts';
import { type Cidr, cidrContainsIp, parseCidr, prefixLength } from '../../net/cidr.ts';
import { type Family, FAMILIES, familyOf, type Ip, parseIp } from '../../net/ip.ts';
import type { Exec } from '../exec/exec.ts';

const ipAddrJson = z.array(
  z.looseObject({
    ifname: z.string().default(''),
    mtu: z.int().default(0),
    addr_info: z
      .array(
        z.looseObject({
          family: z.string().optional(),
          local: z.string().optional(),
          prefixlen: z.int().optional(),
          scope: z.string().optional(),
          /** Of privacy extensions (RFC 8981): another one tomorrow. */
          temporary: z.boolean().optional(),
          deprecated: z.boolean().optional(),
        }),
      )
      .default([]),
  }),
);

const netconfJson = z.array(z.looseObject({ interface: z.string().optional(), forwarding: z.boolean().optional() }));

export interface FactsQuery {
  /** The node's own address, as the cluster knows it. */
  readonly nodeIp: Ip | undefined;
  /** The node's own pod CIDRs. */
  readonly subnets: readonly Cidr[];
  /** Whether any region has IPv6 pods; where none has, nobody asks for settings of IPv6. */
  readonly ipv6: boolean;
}

/** Looks at the machine: which device carries the node's address, and which address stands for the host in its pod CIDRs. Reads only. */
export async function observeFacts(exec: Exec, { nodeIp, subnets, ipv6 }: FactsQuery): Promise<MachineFacts> {
  const parsed = ipAddrJson.parse(JSON.parse((await exec(['ip', '-j', 'address', 'show'])) || '[]'));
  const devices = parsed.map(({ ifname, mtu, addr_info }) => ({
    name: ifname,
    mtuBytes: mtu,
    addresses: addr_info.flatMap(({ local = '', prefixlen = 0, scope, temporary, deprecated }) => {
      const ip = parseIp(local);
      const prefix = parseCidr(`${local}/${prefixlen}`);
      // Narrower scopes stand for nobody on the network; some of them are our own stand-ins (drivers/ipsec/user-device.ts).
      return ip === undefined || prefix === undefined || scope !== 'global'
        ? []
        : [{ ip, prefix, isLasting: temporary !== true && deprecated !== true }];
    }),
  }));
  const foreign = devices.filter(
    ({ name }) => name !== VXLAN_DEVICE && name !== WIREGUARD_DEVICE && !name.startsWith(TUNNEL_DEVICE_PREFIX),
  );
  const underlay = foreign.find(({ addresses }) => addresses.some(({ ip }) => ip === nodeIp));
  const inside = foreign
    .flatMap(({ addresses }) => addresses.filter(({ prefix }) => !isStandIn(prefix)).map(({ ip }) => ip))
    .filter((ip) => subnets.some((subnet) => cidrContainsIp(subnet, ip)));
  return {
    underlay: underlay && underlayOf(underlay, nodeIp),
    hostSources: Object.fromEntries(
      FAMILIES.flatMap((family) => inside.filter((ip) => familyOf(ip) === family).slice(0, 1)).map((ip) => [familyOf(ip), ip]),
    ) as MachineFacts['hostSources'],
    ipv6Forwarding: ipv6 ? await ipv6Forwarding(exec) : undefined,
  };
}

/** See `drivers/ipsec/user-device.ts`. */
function isStandIn(prefix: Cidr): boolean {
  return familyOf(prefix) === 6 && prefixLength(prefix) === STAND_IN_PREFIX_LENGTH_6;
}

interface Device {
  readonly name: string;
  readonly mtuBytes: number;
  readonly addresses: readonly Address[];
}

interface Address {
  readonly ip: Ip;
  readonly prefix: Cidr;
  readonly isLasting: boolean;
}

function underlayOf({ name, mtuBytes, addresses }: Device, nodeIp: Ip | undefined): MachineFacts['underlay'] {
  const family: Family = nodeIp !== undefined && familyOf(nodeIp) === 6 ? 4 : 6;
  const second = addresses.find(({ ip, isLasting }) => isLasting && familyOf(ip) === family)?.ip;
  return { dev: name, mtuBytes, prefixes: addresses.map(({ prefix }) => prefix), ...(second !== undefined && { secondIp: second }) };
}

/** @returns undefined when the kernel has no IPv6 */
async function ipv6Forwarding(exec: Exec): Promise<boolean | undefined> {
  const rows = netconfJson.parse(JSON.parse((await exec(['ip', '-6', '-j', 'netconf', 'show'])) || '[]'));
  return rows.find((row) => row.interface === 'all')?.forwarding;
}
