import { describe, expect, it } from 'vitest';
import { parseCidr } from '../../net/cidr.ts';
import { parseIp } from '../../net/ip.ts';
import type { Exec } from '../exec/exec.ts';
import { observeFacts } from './local-facts.ts';

const address = (local: string, prefixlen: number, more: object = {}) => ({
  family: local.includes(':') ? 'inet6' : 'inet',
  local,
  prefixlen,
  scope: 'global',
  ...more,
});

const DEVICES = [
  {
    ifname: 'eth0',
    mtu: 1500,
    addr_info: [
      address('192.168.1.10', 24),
      address('2001:db8:b::bad', 64, { temporary: true }),
      address('2001:db8:b::10', 64),
      address('fe80::1', 64, { scope: 'link' }),
    ],
  },
  { ifname: 'ipsec0', mtu: 1500, addr_info: [address('fd00:3::ffff:ffff:ffff:ffff', 1)] },
  { ifname: 'cni0', mtu: 1500, addr_info: [address('10.244.3.1', 24), address('fd00:3::1', 64)] },
];

function machine(netconf: object[]): { exec: Exec; asked: string[] } {
  const asked: string[] = [];
  const exec: Exec = (argv) => {
    asked.push(argv.join(' '));
    return Promise.resolve(JSON.stringify(argv.includes('netconf') ? netconf : DEVICES));
  };
  return { exec, asked };
}

const subnets = [parseCidr('10.244.3.0/24')!, parseCidr('fd00:3::/64')!];

describe('the facts of a machine', () => {
  it('have an address of the host in each family, and never one of the stand-in', async () => {
    const { exec } = machine([{ interface: 'all', forwarding: true }]);
    const facts = await observeFacts(exec, { nodeIp: parseIp('192.168.1.10'), subnets, ipv6: true });
    expect(facts.hostSources).toEqual({ 4: '10.244.3.1', 6: 'fd00:3::1' });
    expect(facts.ipv6Forwarding).toBe(true);
  });

  it("have the address of the other family on the node's device, which lasts", async () => {
    const { exec } = machine([]);
    const secondOf = async (ip: string) => (await observeFacts(exec, { nodeIp: parseIp(ip), subnets, ipv6: true })).underlay?.secondIp;
    expect(await secondOf('192.168.1.10')).toBe('2001:db8:b::10');
    expect(await secondOf('2001:db8:b::10')).toBe('192.168.1.10');
  });

  it('say that the kernel has no IPv6, and do not ask where no region has', async () => {
    const without = machine([]);
    expect((await observeFacts(without.exec, { nodeIp: undefined, subnets, ipv6: true })).ipv6Forwarding).toBeUndefined();
    const { exec, asked } = machine([{ interface: 'all', forwarding: true }]);
    await observeFacts(exec, { nodeIp: undefined, subnets: [], ipv6: false });
    expect(asked).toEqual(['ip -j address show']);
  });
});
