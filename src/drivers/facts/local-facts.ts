import { z } from 'zod';
import { TUNNEL_DEVICE_PREFIX, VXLAN_DEVICE } from '../../api/names.ts';
import type { LocalFacts } from '../../domain/facts.ts';
import { type Cidr, cidrContainsIp, parseCidr } from '../../net/cidr.ts';
import { type Ip, parseIp } from '../../net/ip.ts';
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
        }),
      )
      .default([]),
  }),
);

export interface FactsQuery {
  /** The node's own address, as the cluster knows it. */
  readonly nodeIp: Ip | undefined;
  /** The node's own pod CIDRs. */
  readonly subnets: readonly Cidr[];
}

/** Looks at the machine: which device carries the node's address, and which address stands for the host in its pod CIDRs. Reads only. */
export async function observeFacts(exec: Exec, { nodeIp, subnets }: FactsQuery): Promise<Omit<LocalFacts, 'dataPath'>> {
  const parsed = ipAddrJson.parse(JSON.parse((await exec(['ip', '-j', 'address', 'show'])) || '[]'));
  const devices = parsed.map(({ ifname, mtu, addr_info }) => ({
    name: ifname,
    mtuBytes: mtu,
    addresses: addr_info.flatMap(({ local = '', prefixlen = 0, scope }) => {
      const ip = parseIp(local);
      const prefix = parseCidr(`${local}/${prefixlen}`);
      // Narrower scopes stand for nobody on the network; some of them are our own stand-ins (drivers/ipsec/user-device.ts).
      return ip === undefined || prefix === undefined || scope !== 'global' ? [] : [{ ip, prefix }];
    }),
  }));
  const foreign = devices.filter(({ name }) => name !== VXLAN_DEVICE && !name.startsWith(TUNNEL_DEVICE_PREFIX));
  const underlay = foreign.find(({ addresses }) => addresses.some(({ ip }) => ip === nodeIp));
  const hostSource = foreign
    .flatMap(({ addresses }) => addresses)
    .find(({ ip }) => subnets.some((subnet) => cidrContainsIp(subnet, ip)))?.ip;
  return {
    underlay: underlay && { dev: underlay.name, mtuBytes: underlay.mtuBytes, prefixes: underlay.addresses.map(({ prefix }) => prefix) },
    hostSource,
  };
}
