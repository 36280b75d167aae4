import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { espMtu, vxlanMtu } from '../net/mtu.ts';
import type { Path } from './paths.ts';
import { type PathMtuView, planPathMtus, probeSizes, searchPathMtu } from './path-mtu.ts';
import type { GatewayNode, Region } from './snapshot.ts';

function gatewayNode(name: string, links: Record<string, number> = {}): GatewayNode {
  return {
    name,
    region: name.slice(0, -1),
    port: 4500,
    publicAddress: undefined,
    publicAddresses: [],
    underlayFamilies: [4],
    driver: undefined,
    publicKey: undefined,
    privateIp: undefined,
    isDrained: false,
    exposed: undefined,
    observedIp: undefined,
    seenAt: [],
    underlayMtuBytes: 1500,
    overlayIp: '10.244.1.1' as GatewayNode['overlayIp'],
    links: new Map(Object.entries(links).map(([peer, mtuBytes]) => [peer, { isPlain: false, mtuBytes }])),
  };
}

const path = (peer: GatewayNode, via?: GatewayNode, isPlain = false): Path => ({
  region: { name: peer.region, live: [gatewayNode('a0'), peer] as readonly GatewayNode[] } as Region,
  peer,
  via,
  isPlain,
  isEncrypted: !isPlain,
});

const esp4Mtu = (bytes: number): number => espMtu(bytes, 4);

const KERNEL: PathMtuView['tunnels'] = {
  links: [{ type: 'xfrm', name: 'rvn-a1', ifId: 1, dev: 'eth0', mtuBytes: 1438, group: 1 }],
  ways: new Map(['a', 'c'].map((region) => [region, { dev: 'rvn-a1' }])),
  mtuOver: esp4Mtu,
};
const USER: PathMtuView['tunnels'] = {
  links: [{ type: 'tun', name: 'rvn-ipsec', mtuBytes: 1400, group: 1 }],
  ways: new Map(['a', 'c'].map((region) => [region, { dev: 'rvn-ipsec', mtuBytes: 1400 }])),
  mtuOver: (bytes) => Math.min(1400, esp4Mtu(bytes)),
};

function limitsOf(
  paths: readonly Path[],
  { tunnels = KERNEL, found = {} }: { tunnels?: PathMtuView['tunnels']; found?: Record<string, number> } = {},
) {
  const plain = new Map([['d', { dev: 'raven0' }]]);
  const limits = planPathMtus(paths, { found: new Map(Object.entries(found)), tunnels, plain, overlayMtuBytes: 1450, underlay: 4 });
  return [...limits].map(([region, { mtuBytes, onRoute, probe }]) => [region, mtuBytes, onRoute.mtuBytes, probe?.ceilingBytes]);
}

describe('the MTU of a path', () => {
  const a1 = gatewayNode('a1');
  const relay = gatewayNode('a1', { c1: 1218 });
  const c1 = gatewayNode('c1');

  it('is what the links at both ends allow, until probes found less', () => {
    expect(limitsOf([path(a1)])).toEqual([['a', 1438, undefined, 1438]]);
    expect(limitsOf([path(a1)], { found: { a1: 1338 } })).toEqual([['a', 1338, 1338, 1438]]);
    expect(limitsOf([path(a1)], { tunnels: USER })).toEqual([['a', 1400, 1400, 1400]]);
    expect(limitsOf([path(a1)], { tunnels: USER, found: { a1: 1218 } })).toEqual([['a', 1218, 1218, 1400]]);
    // Found when the links were larger than now.
    expect(limitsOf([path(a1)], { found: { a1: 8938 } })).toEqual([['a', 1438, undefined, 1438]]);
  });

  it('is what was found on the way to another endpoint of that region, until its own way was searched', () => {
    expect(limitsOf([path(a1)], { found: { a0: 1238 } })).toEqual([['a', 1238, 1238, 1438]]);
    expect(limitsOf([path(a1)], { found: { a0: 1238, a1: 1338 } })).toEqual([['a', 1338, 1338, 1438]]);
  });

  it('is the smaller of both legs when it is relayed, and is left to the relay to probe', () => {
    expect(limitsOf([path(c1, relay)])).toEqual([['c', 1218, 1218, undefined]]);
    expect(limitsOf([path(c1, relay)], { found: { a1: 1138 } })).toEqual([['c', 1138, 1138, undefined]]);
    expect(limitsOf([path(c1, gatewayNode('a1'))])).toEqual([['c', 1438, undefined, undefined]]);
  });

  it('is that of raven0 between routable regions', () => {
    expect(limitsOf([path(gatewayNode('d1'), undefined, true)])).toEqual([['d', 1450, undefined, 1450]]);
    expect(limitsOf([path(gatewayNode('d1'), undefined, true)], { found: { d1: 1350 } })).toEqual([['d', 1350, 1350, 1450]]);
  });
});

describe('a search for it', () => {
  const pathOf = (limit: number) => {
    const asked: number[] = [];
    const passes = (bytes: number) => {
      asked.push(bytes);
      return Promise.resolve(bytes <= limit);
    };
    return { asked, passes };
  };

  it.each([
    [1500, 1438, 1],
    [1499, 1430, 6],
    [1400, 1338, 6],
    [1399, 1318, 6],
    [1280, 1218, 6],
    [100, 514, 6],
  ])('over an underlay of %i ends at %i after at most %i sizes', async (underlay, wanted, steps) => {
    const { asked, passes } = pathOf(esp4Mtu(underlay));
    expect(await searchPathMtu(probeSizes(1438, esp4Mtu), passes)).toBe(wanted);
    expect(asked.length).toBeLessThanOrEqual(steps);
    expect(asked[0]).toBe(1438);
  });

  it('has no result when nothing arrives at all', async () => {
    expect(await searchPathMtu(probeSizes(1438, esp4Mtu), () => Promise.resolve(undefined))).toBeUndefined();
    const dies = async (bytes: number) => (bytes === 1438 ? false : undefined);
    expect(await searchPathMtu(probeSizes(1438, esp4Mtu), dies)).toBeUndefined();
  });

  test.prop([fc.integer({ min: 600, max: 9000 }), fc.integer({ min: 300, max: 9000 })])(
    'finds the largest size that passes, and asks for few',
    async (ceiling, limit) => {
      const sizes = probeSizes(ceiling, (bytes) => vxlanMtu(bytes, 4));
      const { asked, passes } = pathOf(limit);
      expect(await searchPathMtu(sizes, passes)).toBe(sizes.find((bytes) => bytes <= limit) ?? sizes.at(-1));
      expect(asked.length).toBeLessThanOrEqual(6);
      expect(sizes[0]).toBe(ceiling);
    },
  );
});
