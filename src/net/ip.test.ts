import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { familiesOf, familyOf, formatIpPort, linkLocalIp, parseIp } from './ip.ts';
import { nodeMac } from './mac.ts';
import { espMtu, vxlanMtu } from './mtu.ts';

describe('addresses of both families', () => {
  it('have the link-local one that the kernel makes of a MAC', () => {
    expect(linkLocalIp('02:59:d4:19:22:f8')).toBe('fe80::59:d4ff:fe19:22f8');
    expect(linkLocalIp('00:00:5e:00:53:01')).toBe('fe80::200:5eff:fe00:5301');
  });

  test.prop([fc.string()])('have one for every node, in canonical form', (name) => {
    const ip = linkLocalIp(nodeMac(name));
    expect(parseIp(ip)).toBe(ip);
    expect(ip.startsWith('fe80::')).toBe(true);
  });

  it('stand before a port so that it can be told from them', () => {
    expect(formatIpPort('192.0.2.1', 4500)).toBe('192.0.2.1:4500');
    expect(formatIpPort('2001:db8::1', 4500)).toBe('[2001:db8::1]:4500');
  });

  it('name their families, IPv4 first', () => {
    expect(familiesOf(['fd00::/8', '10.0.0.0/8', 'fd01::1'])).toEqual([4, 6]);
    expect(familiesOf([])).toEqual([]);
    expect(familyOf('::')).toBe(6);
  });
});

describe('room in a packet', () => {
  it('is 20 bytes less below IPv6', () => {
    expect([vxlanMtu(1500, 4), vxlanMtu(1500, 6)]).toEqual([1450, 1430]);
    expect([espMtu(1500, 4), espMtu(1500, 6)]).toEqual([1438, 1418]);
  });

  it('is enough for IPv6 from 1364 bytes on, whatever is below', () => {
    expect([espMtu(1364, 6) >= 1280, espMtu(1363, 6) >= 1280, vxlanMtu(1364, 6) >= 1280]).toEqual([true, false, true]);
  });
});
