import { describe, expect, it } from 'vitest';
import { gatewaySchema } from '../api/gateway.ts';
import { tunnelEndpointSchema } from '../api/tunnel-endpoint.ts';
import { type Cidr, hostCidr } from '../net/cidr.ts';
import type { Ip } from '../net/ip.ts';
import { probeAddress } from '../net/probe-address.ts';
import type { LocalFacts } from './facts.ts';
import { liveEndpoints } from './live-endpoints.ts';
import { formatNexthop, formatRoute, type NodePlan } from './node-plan.ts';
import { plan } from './plan.ts';
import type { Choices } from './reroute-state.ts';
import { planWatch } from './reroute-view.ts';
import { buildSnapshot } from './snapshot.ts';
import { type GatewayInput, testGateway } from './test-objects.ts';

/** Region a: a1 (public) and a2; region b behind a NAT: b1, the standby b3, and b2. The third byte of pod addresses is the node's number. */

const SUBNETS: Readonly<Record<string, string>> = {
  a1: '10.244.1.0/24',
  a2: '10.244.2.0/24',
  b1: '10.244.3.0/24',
  b2: '10.244.4.0/24',
  b3: '10.244.5.0/24',
};

function region(
  name: string,
  nodes: Readonly<Record<string, string>>,
  endpoints: readonly { nodeName: string; publicIP?: string }[],
  active: readonly string[],
) {
  const full = endpoints.map((each) => ({ type: 'tunnel', port: 4500, underNAT: each.publicIP === undefined, ...each }));
  return gatewaySchema.parse({
    apiVersion: 'raven.openyurt.io/v1beta1',
    kind: 'Gateway',
    metadata: { name },
    spec: { endpoints: full },
    status: {
      nodes: Object.entries(nodes).map(([nodeName, privateIP]) => ({ nodeName, privateIP, subnets: [SUBNETS[nodeName]] })),
      activeEndpoints: full.filter(({ nodeName }) => active.includes(nodeName)),
    },
  });
}

const B_NODES = { b1: '192.168.1.10', b2: '192.168.1.11', b3: '192.168.1.12' };
const gateways = (active: readonly string[] = ['b1']) => [
  region('a', { a1: '203.0.113.1', a2: '203.0.113.2' }, [{ nodeName: 'a1', publicIP: '203.0.113.1' }], ['a1']),
  region('b', B_NODES, [{ nodeName: 'b1' }, { nodeName: 'b3' }], active),
];

const KEYS: Readonly<Record<string, string>> = { a1: 'A', b1: 'B', b3: 'C' };
const reportOf = (node: string, driver: string) =>
  tunnelEndpointSchema.parse({
    apiVersion: 'raven.openyurt.io/v1beta1',
    kind: 'TunnelEndpoint',
    metadata: { name: node },
    spec: {
      gateway: node.slice(0, 1),
      nodeName: node,
      driver,
      dataPath: 'kernel',
      publicKey: `${(KEYS[node] ?? '').repeat(42)}A=`,
      port: 4500,
      underlayMtu: 1500,
      overlayIP: SUBNETS[node]?.replace('0/24', '1'),
    },
  });

function planOf(
  node: string,
  { driver = 'ipsec', dataPath = 'kernel' }: Partial<LocalFacts> = {},
  choices?: Choices,
  active?: readonly string[],
): NodePlan {
  const snapshot = buildSnapshot(
    gateways(active),
    ['a1', 'b1', 'b3'].map((each) => reportOf(each, driver)),
  );
  const facts: LocalFacts = {
    underlay: { dev: 'eth0', mtuBytes: 1500, prefixes: [] },
    hostSources: { 4: SUBNETS[node]?.replace('0/24', '1') as Ip },
    ipv6Forwarding: undefined,
    driver,
    dataPath,
  };
  return plan({ node, snapshot, facts, health: new Map(), ...(choices && { choices }) });
}

const nexthops = ({ nexthops: all }: NodePlan): string[] => all.map((each) => formatNexthop(each).replace(/^id \d+ /, ''));
const toRegions = ({ routes }: NodePlan): string[] =>
  routes
    .filter(({ table }) => table === 9027)
    .map((each) =>
      formatRoute(each)
        .replace(/nhid \d+/, 'nhid N')
        .replace(/ src .*/, ''),
    );
const probeRoutes = ({ routes }: NodePlan): string[] => routes.filter(({ table }) => table === 9030).map(formatRoute);
const selectors = ({ tunnels }: NodePlan): string[] =>
  (tunnels?.tunnels ?? []).map((each) =>
    'allowedIps' in each ? `${each.peer}: ${each.allowedIps.join()}` : `${each.peer}: ${each.localTs.join()} = ${each.remoteTs.join()}`,
  );

/** Prefixes of the addresses for probes. */
const P = Object.fromEntries(['a1', 'b1', 'b3'].map((name) => [name, hostCidr(probeAddress(name))])) as Record<'a1' | 'b1' | 'b3', Cidr>;
const viaB3: Choices = { exits: ['b3'], entry: new Map() };
const entryB3: Choices = { exits: [], entry: new Map([['b', 'b3']]) };

describe('live endpoints', () => {
  type Against = Readonly<Record<string, { readonly expected?: boolean }>>;
  const names = (name: string, { impaired = {}, ...input }: GatewayInput & { readonly impaired?: Against }): string[] => {
    const gateway = testGateway(name, input);
    const against = Object.entries(impaired).map(([nodeName, each]) => ({
      nodeName,
      state: 'NodeNotReady',
      message: '',
      since: '',
      ...each,
    }));
    const nodes = gateway.spec.endpoints.map(({ nodeName }) => ({ nodeName, privateIP: '192.0.2.1', subnets: [] as Cidr[] }));
    return liveEndpoints({
      ...gateway,
      status: { ...gateway.status, nodes: nodes.filter(({ nodeName }) => nodeName !== 'gone'), impaired: against } as typeof gateway.status,
    }).map(({ nodeName }) => nodeName);
  };
  it.each([
    ['the active one, then the next of the spec', { endpoints: ['b1', 'b3', 'b4'], active: ['b3'] }, ['b3', 'b1']],
    [
      'none of type proxy, none that is no node of the region',
      { endpoints: ['b1', 'b2 proxy', 'gone', 'b4'], active: ['b1'] },
      ['b1', 'b4'],
    ],
    ['no standby beside two active ones', { endpoints: ['b1', 'b3', 'b4'], active: ['b3', 'b4'] }, ['b3', 'b4']],
    ['none while the controller chose none', { endpoints: ['b1', 'b3'], active: [] }, []],
    ['one that is fit rather than one that is not', { endpoints: ['b1', 'b3', 'b4'], active: ['b1'], impaired: { b3: {} } }, ['b1', 'b4']],
    [
      'not the first to report again of a region that was cut off',
      { endpoints: ['b1', 'b3', 'b4'], active: ['b1'], impaired: { b1: { expected: true }, b3: { expected: true } } },
      ['b1', 'b3'],
    ],
  ])('are %s', (_, input, expected) => {
    expect(names('b', input)).toEqual(expected);
  });
});

describe('a region with a standby', () => {
  it.each(['kernel', 'user'] as const)('sends everything through the active endpoint, the standby too, with IPsec (%s)', (dataPath) => {
    for (const node of ['b2', 'b3']) expect(nexthops(planOf(node, { dataPath }))).toEqual(['via 192.168.1.10 dev raven0 onlink']);
    expect(nexthops(planOf('b1', { dataPath }))).toEqual([`dev ${dataPath === 'user' ? 'rvn-ipsec' : 'rvn-a1'}`]);
  });

  it('keeps the tunnels of the standby ready, and its probes in them', () => {
    expect(planOf('b3').tunnels?.tunnels.map(({ peer }) => peer)).toEqual(['a1']);
    expect(toRegions(planOf('b3'))).toEqual(['10.244.1.0/24 nhid N table 9027', '10.244.2.0/24 nhid N table 9027']);
    expect(probeRoutes(planOf('b3'))).toEqual([`${P.a1} dev rvn-a1 table 9030`]);
    expect(planOf('b3').links).toContainEqual(expect.objectContaining({ name: 'raven0', probeIp: probeAddress('b3') }));
    expect(planOf('b2').links).not.toContainEqual(expect.objectContaining({ probeIp: expect.anything() }));
    // Or a masquerade of the host would give them another source.
    const bound = ['b3', 'b2'].map((node) => JSON.stringify(planOf(node).nft).includes('ip saddr 240.0.0.0/5 snat ip to ip saddr'));
    expect(bound).toEqual([true, false]);
    expect(planOf('a1').tunnels?.tunnels.map(({ peer }) => peer)).toEqual(['b1', 'b3']);
    const mtuProbe = '10.244.3.1/32 dev rvn-b1 table 9030 mtu 1438';
    expect(probeRoutes(planOf('a1')).toSorted()).toEqual(
      [mtuProbe, `${P.b1} dev rvn-b1 table 9030`, `${P.b3} dev rvn-b3 table 9030`].toSorted(),
    );
  });

  it('moves by one next hop where a node chose the other endpoint, and the controller is not asked', () => {
    for (const node of ['b1', 'b2']) expect(nexthops(planOf(node, {}, viaB3))).toEqual(['via 192.168.1.12 dev raven0 onlink']);
    expect(nexthops(planOf('b3', {}, viaB3))).toEqual(['dev rvn-a1']);
    expect(nexthops(planOf('a1', {}, entryB3))).toEqual(['dev rvn-b3']);
    const [before, after] = [planOf('b2'), planOf('b2', {}, viaB3)];
    expect({ ...after, nexthops: [] }).toEqual({ ...before, nexthops: [] });
  });

  it('hands its prefixes to one WireGuard peer, and to each the address for probes, which nothing else is sent to', () => {
    const facts = { driver: 'wireguard' } as const;
    expect(selectors(planOf('a1', facts))).toEqual([`b1: 10.244.3.0/24,10.244.4.0/23,${P.b1}`, `b3: ${P.b3}`]);
    expect(selectors(planOf('a1', facts, entryB3))).toEqual([`b1: ${P.b1}`, `b3: 10.244.3.0/24,10.244.4.0/23,${P.b3}`]);
  });

  it('gives its selectors to one tunnel of user-space IPsec, seen from both ends', () => {
    const facts = { dataPath: 'user' } as const;
    const ready = [`b1: 0.0.0.0/0,::/0 = 10.244.3.0/24,10.244.4.0/23,${P.b1}`, `b3: ${P.a1} = ${P.b3}`];
    expect(selectors(planOf('a1', facts))).toEqual(ready);
    expect(selectors(planOf('b3', facts))).toEqual([`a1: ${P.b3} = ${P.a1}`]);
    expect(selectors(planOf('b3', facts, viaB3))).toEqual([`a1: 10.244.3.0/24,10.244.4.0/23,${P.b3} = 0.0.0.0/0,::/0`]);
    expect(selectors(planOf('b1', facts, viaB3))).toEqual([`a1: ${P.b1} = ${P.a1}`]);
  });

  it('ignores a choice that is no live endpoint any more', () => {
    expect(nexthops(planOf('b2', {}, { exits: ['b9'], entry: new Map() }))).toEqual(['via 192.168.1.10 dev raven0 onlink']);
    expect(nexthops(planOf('a1', {}, { exits: [], entry: new Map([['b', 'b9']]) }))).toEqual(['dev rvn-b1']);
  });
});

describe('what a node watches', () => {
  const watchOf = (node: string) =>
    planWatch(
      buildSnapshot(
        gateways(),
        ['a1', 'b1', 'b3'].map((each) => reportOf(each, 'ipsec')),
      ),
      node,
      planOf(node),
    );

  it('is its exit and standby, and far ends across the exit; for endpoints their peers', () => {
    expect(watchOf('b2')).toMatchObject({
      lan: new Map(Object.entries({ b1: '192.168.1.10', b3: '192.168.1.12' })),
      tunnel: new Map(),
      through: new Map([['a1', '10.244.1.1']]),
    });
    expect(watchOf('b3')).toMatchObject({
      lan: new Map([['b1', '192.168.1.10']]),
      tunnel: new Map([['a1', probeAddress('a1')]]),
      probeIp: probeAddress('b3'),
      through: new Map(),
    });
    expect(watchOf('a1')).toMatchObject({
      address: undefined,
      lan: new Map(),
      tunnel: new Map(['b1', 'b3'].map((name) => [name, probeAddress(name)])),
    });
  });

  it('is nothing where there is nothing to choose', () => {
    expect(watchOf('a2')).toBeUndefined();
  });
});
