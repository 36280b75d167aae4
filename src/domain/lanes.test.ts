import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { gatewaySchema } from '../api/gateway.ts';
import { tunnelEndpointSchema } from '../api/tunnel-endpoint.ts';
import { type Cidr, cidrsOverlap, hostCidr } from '../net/cidr.ts';
import { type Ip, parseIp } from '../net/ip.ts';
import type { LocalFacts } from './facts.ts';
import { laneCount, laneOf } from './lanes.ts';
import type { NodePlan } from './node-plan.ts';
import { plan } from './plan.ts';
import { formatPlan } from './plan-text.ts';
import { relayBetween, meet } from './reach.ts';
import { buildSnapshot, type Region, type Snapshot } from './snapshot.ts';

/** Region `a` has nodes a1 and a3 (endpoints) and a2. Pod addresses are 10.<region>.<node>.0/24, nodes' 192.168.<region>.<node>. */

interface Shape {
  readonly isPublic: boolean;
  /** Active endpoints: 1 (a3 stands by) or 2. */
  readonly replicas: 1 | 2;
  /** The later, the younger. */
  readonly age: number;
}

const NAMES = ['a', 'b', 'c', 'd', 'e'];
const subnet = (node: string): string => `10.${NAMES.indexOf(node.slice(0, 1))}.${node.slice(1)}.0/24`;
const address = (node: string, last: number): Ip => parseIp(subnet(node).replace('0/24', String(last)))!;
const lanIp = (node: string): string => `192.168.${NAMES.indexOf(node.slice(0, 1))}.${node.slice(1)}`;

function gateway(name: string, { isPublic, replicas, age }: Shape, spec: { readonly only?: string } = {}) {
  const endpoints = ['1', '3'].map((node) => {
    const isCallable = isPublic && (spec.only === undefined || spec.only === `${name}${node}`);
    const reach = isCallable ? { publicIP: `203.0.113.${NAMES.indexOf(name) * 10 + Number(node)}` } : { underNAT: true };
    return { nodeName: `${name}${node}`, type: 'tunnel', port: 4500, ...reach };
  });
  const nodes = ['1', '2', '3'].map((node) => ({
    nodeName: `${name}${node}`,
    privateIP: lanIp(`${name}${node}`),
    subnets: [subnet(`${name}${node}`)],
  }));
  return gatewaySchema.parse({
    apiVersion: 'raven.openyurt.io/v1beta1',
    kind: 'Gateway',
    metadata: { name, creationTimestamp: new Date(Date.UTC(2026, 0, 1) + age * 1000).toISOString() },
    spec: { endpoints },
    status: { nodes, activeEndpoints: endpoints.slice(0, replicas) },
  });
}

const report = (node: string, driver: string) =>
  tunnelEndpointSchema.parse({
    apiVersion: 'raven.openyurt.io/v1beta1',
    kind: 'TunnelEndpoint',
    metadata: { name: node },
    spec: {
      gateway: node.slice(0, 1),
      nodeName: node,
      driver,
      dataPath: 'user',
      publicKey: `${Buffer.from(node.padEnd(31, '.')).toString('base64').slice(0, 42)}A=`,
      port: 4500,
      underlayMtu: 1500,
      overlayIP: address(node, 1),
    },
  });

function snapshotOf(shapes: readonly Shape[], driver = 'ipsec'): Snapshot {
  return buildSnapshot(
    shapes.map((shape, i) => gateway(NAMES[i]!, shape)),
    shapes.flatMap((_, i) => ['1', '3'].map((node) => report(`${NAMES[i]}${node}`, driver))),
  );
}

const regionIn = ({ regions }: Snapshot, name: string): Region => regions.find((each) => each.name === name)!;
const lanesOf = (snapshot: Snapshot, name: string): string =>
  snapshot.regions
    .filter((each) => each.name !== name)
    .map((other) => `${other.name}${laneOf(regionIn(snapshot, name), other, snapshot.regions)}`)
    .join(' ');

const open = (replicas: 1 | 2, age: number): Shape => ({ isPublic: true, replicas, age });
const closed = (replicas: 1 | 2, age: number): Shape => ({ isPublic: false, replicas, age });

describe('lanes', () => {
  it('are taken in turns by regions that need no relay, in order of age, so that a new one moves none', () => {
    const shapes = [open(2, 3), closed(1, 2), closed(2, 1), open(1, 4)];
    expect(lanesOf(snapshotOf(shapes), 'a')).toBe('b1 c0 d0');
    expect(lanesOf(snapshotOf([...shapes, closed(1, 9)]), 'a')).toBe('b1 c0 d0 e1');
  });

  it('are one and the same for a relay and the regions behind it', () => {
    const snapshot = snapshotOf([open(1, 1), closed(2, 2), closed(1, 3), closed(1, 4), open(1, 5)]);
    expect(lanesOf(snapshot, 'b')).toBe('a0 c0 d0 e1');
  });

  it('are one where one endpoint is active, and where one of two can be called by fewer', () => {
    expect(laneCount(regionIn(snapshotOf([open(1, 1)]), 'a'))).toBe(1);
    expect(laneCount(regionIn(snapshotOf([open(2, 1)]), 'a'))).toBe(2);
    expect(laneCount(buildSnapshot([gateway('a', open(2, 1), { only: 'a1' })], []).regions[0]!)).toBe(1);
  });
});

type Path = { readonly driver: LocalFacts['driver']; readonly dataPath: LocalFacts['dataPath'] };

/** All nodes' plans, where the nodes of each region agree on its carriers and the others on where to enter it. */
class World {
  readonly snapshot: Snapshot;
  readonly plans: ReadonlyMap<string, NodePlan>;
  readonly #carriers: ReadonlyMap<string, readonly string[]>;

  /** @param swaps whether the carrier of each lane is dead, and the other one carries; two for each region */
  constructor(shapes: readonly Shape[], swaps: readonly boolean[], { driver, dataPath }: Path) {
    this.snapshot = snapshotOf(shapes, driver);
    const { regions } = this.snapshot;
    this.#carriers = new Map(
      regions.map((region, i) => {
        const exits = Array.from(
          { length: laneCount(region) },
          (_, lane) => region.live[(lane + Number(swaps[2 * i + lane] ?? false)) % 2]!.name,
        );
        return [region.name, exits];
      }),
    );
    this.plans = new Map(
      regions.flatMap((own) =>
        own.nodes.map(({ name: node }): [string, NodePlan] => {
          // What is as the controller has it need not be chosen.
          const moved = regions.filter((far) => far !== own && this.carrier(far, own) !== far.live[laneOf(far, own, regions)]?.name);
          const entry = new Map(moved.map((far) => [far.name, this.carrier(far, own)]));
          const exits = this.#carriers.get(own.name)!.map((name, lane) => (name === own.live[lane]?.name ? undefined : name));
          const facts: LocalFacts = {
            underlay: { dev: 'eth0', mtuBytes: 1500, prefixes: [] },
            hostSources: { 4: address(node, 1) },
            ipv6Forwarding: undefined,
            driver,
            dataPath,
          };
          return [node, plan({ node, snapshot: this.snapshot, facts, health: new Map(), choices: { exits, entry } })];
        }),
      ),
    );
  }

  carrier(own: Region, other: Region): string {
    return this.#carriers.get(own.name)![laneOf(own, other, this.snapshot.regions)]!;
  }

  /** Nodes that a packet should pass; undefined: there is no way. */
  expected(from: string, to: string): string[] | undefined {
    const [a, b] = [from, to].map((node) => regionIn(this.snapshot, node.slice(0, 1)));
    const relay = meet(a!, b!) ? undefined : relayBetween(a!, b!, this.snapshot.regions);
    if (!meet(a!, b!) && relay === undefined) return undefined;
    const between = relay === undefined ? [] : [this.carrier(relay, a!), this.carrier(relay, b!)];
    return [from, this.carrier(a!, b!), ...between, this.carrier(b!, a!), to].filter((node, i, all) => node !== all[i - 1]);
  }

  /** Nodes that a packet from a pod to a pod does pass. @throws when it is dropped, or goes in a circle */
  walk(from: string, to: string): string[] {
    const [src, dst] = [address(from, 2), address(to, 2)].map((ip) => hostCidr(ip));
    const passed = [from];
    for (let node = from; node !== to; node = passed.at(-1)!) {
      if (passed.length > 8) throw new Error(`circle: ${passed.join(' ')}`);
      passed.push(this.#next(node, src!, dst!));
    }
    return passed;
  }

  #next(node: string, src: Cidr, dst: Cidr): string {
    const { routes, nexthops } = this.plans.get(node)!;
    const route = [9027, 9028].flatMap((table) => routes.filter((each) => each.table === table && cidrsOverlap(each.dst, dst)))[0];
    if (route === undefined) throw new Error(`${node} has no route to ${dst}`);
    const { dev, via } = nexthops.find(({ id }) => id === route.nexthopId) ?? route;
    if (dev === 'raven0') return regionIn(this.snapshot, node.slice(0, 1)).nodes.find(({ privateIp }) => privateIp === via)!.name;
    const peer = dev!.startsWith('rvn-') && dev !== 'rvn-ipsec' ? dev!.slice('rvn-'.length) : this.#owner(node, dst, src);
    if (peer === undefined || this.#owner(peer, src, dst, node) !== node) throw new Error(`${peer} drops what ${node} sends from ${src}`);
    return peer;
  }

  /** The peer whose tunnel has `far` at its other end. Open selectors have no owner: then it is whoever sends. */
  #owner(node: string, far: Cidr, near: Cidr, sender?: string): string | undefined {
    const { tunnels } = this.plans.get(node)!;
    const fits = (all: readonly Cidr[], one: Cidr): number =>
      Math.max(-1, ...all.filter((each) => cidrsOverlap(each, one)).map((each) => Number(each.split('/')[1])));
    const found = (tunnels?.tunnels ?? [])
      .map((each) => ({
        peer: each.peer,
        bits: 'allowedIps' in each ? fits(each.allowedIps, far) : fits(each.localTs, near) < 0 ? -1 : fits(each.remoteTs, far),
      }))
      .filter(({ bits, peer }) => bits >= 0 && (tunnels?.dataPath === 'user' || tunnels?.driver === 'wireguard' || peer === sender))
      .toSorted((x, y) => y.bits - x.bits);
    expect(found.filter(({ bits }) => bits === found[0]?.bits).length, `owners of ${far} at ${node}`).toBeLessThan(2);
    return found[0]?.peer;
  }
}

const shape = fc.record({ isPublic: fc.boolean(), replicas: fc.constantFrom(1 as const, 2 as const), age: fc.nat({ max: 5 }) });
const shapes = fc.array(shape, { minLength: 2, maxLength: NAMES.length });
const swaps = fc.array(fc.boolean(), { maxLength: 12 });

describe.each<Path>([
  { driver: 'ipsec', dataPath: 'kernel' },
  { driver: 'ipsec', dataPath: 'user' },
  { driver: 'wireguard', dataPath: 'user' },
])('a packet between two regions, with $driver ($dataPath)', (path) => {
  test.prop([shapes, swaps], { numRuns: 20 })('passes the carriers of the two and no other endpoint, whoever carries', (given, swapped) => {
    const world = new World(given, swapped, path);
    const nodes = [...world.plans.keys()];
    for (const from of nodes) {
      for (const to of nodes.filter((each) => each[0] !== from[0])) {
        const expected = world.expected(from, to);
        if (expected !== undefined) expect(world.walk(from, to)).toEqual(expected);
      }
    }
  });

  it('moves with the carrier of its own lane alone, by one next hop of an ordinary node', () => {
    const given = [open(1, 1), closed(2, 2), open(1, 3)];
    const [before, after] = [new World(given, [], path), new World(given, [false, false, true], path)];
    expect([before, after].map((world) => [world.walk('b2', 'a2'), world.walk('b2', 'c2')].map((passed) => passed.join(' ')))).toEqual([
      ['b2 b1 a1 a2', 'b2 b3 c1 c2'],
      ['b2 b3 a1 a2', 'b2 b3 c1 c2'],
    ]);
    const [was, is] = [before, after].map((world) => world.plans.get('b2')!);
    expect({ ...is, nexthops: [] }).toEqual({ ...was, nexthops: [] });
    expect(is!.nexthops.filter((each, i) => each.via !== was!.nexthops[i]?.via)).toHaveLength(1);
  });

  it('is told of: a plan says which endpoint carries what', () => {
    const { plans } = new World([open(1, 1), closed(2, 2), open(1, 3)], [], path);
    expect(plans.get('b1')!.paths.map(({ gateway: to, carrier }) => [to, carrier])).toEqual([
      ['a', undefined],
      ['c', 'b3'],
    ]);
    expect(formatPlan(plans.get('b1')!, [])).toContain('# c: c1 direct; carried by b3\n');
  });
});
