import { afterEach, describe, expect, it } from 'vitest';
import { type Gateway, gatewaySchema } from '../api/gateway.ts';
import type { VpnDriver } from '../domain/node-plan.ts';
import type { Exec } from '../drivers/exec/exec.ts';
import { createMemoryNetwork, memoryKey, type MemoryNetwork } from '../drivers/tunnel/memory-driver.ts';
import { createMemoryKernel, type MemoryKernel } from '../drivers/memory-kernel.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { ClusterStore } from '../store/cluster-store.ts';
import { createMemoryStore } from '../store/memory.ts';
import { type Agent, createAgent } from './loop.ts';
import { createNameResolver } from './name-resolver.ts';
import type { Prober } from './prober.ts';

/** Agents on twins of store, kernel and VPN: what they do, not how packets flow. */

const PATIENCE_MS = 20_000;

function gateway(name: string, { ip, podCIDR, publicIP }: { ip: string; podCIDR: string; publicIP?: string }): Gateway {
  const endpoint = { nodeName: `${name}1`, type: 'tunnel', port: 4500, ...(publicIP === undefined ? { underNAT: true } : { publicIP }) };
  return gatewaySchema.parse({
    apiVersion: 'raven.openyurt.io/v1beta1',
    kind: 'Gateway',
    metadata: { name, creationTimestamp: '2025-01-01T00:00:00Z' },
    spec: { endpoints: [endpoint] },
    status: { nodes: [{ nodeName: `${name}1`, privateIP: ip, subnets: [podCIDR] }], activeEndpoints: [endpoint] },
  });
}

const A = gateway('a', { ip: '203.0.113.1', podCIDR: '10.244.1.0/24', publicIP: '203.0.113.1' });
const B = gateway('b', { ip: '192.168.1.10', podCIDR: '10.244.2.0/24' });

/** A machine: what `ip address` says about it, and a count of how often it was asked. */
class Machine {
  readonly kernel: MemoryKernel = createMemoryKernel(['eth0', 'cni0']);
  looks = 0;
  nodeAddress: string | undefined;
  readonly podAddress: string;
  readonly node: string;

  constructor(node: string, nodeAddress: string, podAddress: string) {
    this.node = node;
    this.nodeAddress = nodeAddress;
    this.podAddress = podAddress;
  }

  exec: Exec = (argv) => {
    if (argv.includes('netconf')) return Promise.resolve(JSON.stringify([{ interface: 'all', forwarding: true }]));
    this.looks++;
    const device = (ifname: string, local: string | undefined) => ({
      ifname,
      mtu: 1500,
      addr_info: local === undefined ? [] : [{ local, prefixlen: 24, scope: 'global' }],
    });
    return Promise.resolve(JSON.stringify([device('eth0', this.nodeAddress), device('cni0', this.podAddress)]));
  };
}

const silentProber: Prober = {
  set: () => undefined,
  rtts: () => new Map(),
  measure: () => Promise.resolve(undefined),
  onChange: () => undefined,
  close: () => Promise.resolve(),
};
const noLog = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined } as unknown as Logger;

const running: Agent[] = [];
afterEach(async () => {
  for (const agent of running.splice(0)) await agent.stop();
});

function startAgent(
  machine: Machine,
  store: ClusterStore,
  network: MemoryNetwork,
  { hosts = {}, clock = systemClock, name = 'ipsec' }: { hosts?: Record<string, string[]>; clock?: Clock; name?: VpnDriver } = {},
) {
  const tunnels = network.driver({ node: machine.node, name, dataPath: 'kernel' });
  const agent = createAgent({
    node: machine.node,
    store,
    exec: machine.exec,
    kernel: machine.kernel,
    tunnels,
    dataPathReason: 'twin',
    prober: silentProber,
    names: createNameResolver({ lookup: async (name) => hosts[name] ?? [], clock: systemClock, log: noLog }),
    clock,
    log: noLog,
  });
  running.push(agent);
  agent.start();
  return { agent, tunnels };
}

const linkNames = async (machine: Machine) => (await machine.kernel.observe()).links.map(({ name }) => name).toSorted();
const soon = <T>(check: () => Promise<T>) => expect.poll(check, { timeout: PATIENCE_MS });

function site() {
  const store = createMemoryStore([A, B]);
  const network = createMemoryNetwork();
  return { store, network, a1: new Machine('a1', '203.0.113.1', '10.244.1.1'), b1: new Machine('b1', '192.168.1.10', '10.244.2.1') };
}

describe('an agent', () => {
  it('sets its node up and publishes its links, until both ends say that they are up', async () => {
    const { store, network, a1, b1 } = site();
    startAgent(a1, store, network);
    startAgent(b1, store, network);
    await soon(() => linkNames(b1)).toEqual(['raven0', 'rvn-a1']);
    await soon(async () =>
      (await store.get('TunnelEndpoint', 'b1'))?.status?.links.map(({ peer, state, path }) => `${peer} ${state} ${path}`),
    ).toEqual(['a1 Up direct']);
    await soon(async () => (await store.get('TunnelEndpoint', 'b1'))?.status?.forwarding?.state).toBe('Ok');
    await soon(async () => (await store.get('TunnelEndpoint', 'a1'))?.status?.conditions.find(({ type }) => type === 'Ready')?.status).toBe(
      'True',
    );
  });

  it('sees to it that the VPN runs before it compares the kernel, as a daemon that died took its device along', async () => {
    const { store, network, a1 } = site();
    const { agent, tunnels } = startAgent(a1, store, network);
    await soon(() => linkNames(a1)).toEqual(['raven0', 'rvn-b1']);
    const calls: string[] = [];
    const note = (name: string) => void calls.push(name);
    const [vpn, kernel] = [{ ...tunnels }, { ...a1.kernel }];
    Object.assign(tunnels, { start: () => vpn.start().then(() => note('start')) });
    Object.assign(a1.kernel, { observe: () => (note('observe'), kernel.observe()) });
    agent.touched();
    await soon(async () => calls.slice(0, 2)).toEqual(['start', 'observe']);
  });

  it('learns the WireGuard keys of others and publishes its own; changing the driver changes its device and names who has not', async () => {
    const { store, network, a1, b1 } = site();
    startAgent(a1, store, network, { name: 'wireguard' });
    const { agent } = startAgent(b1, store, network, { name: 'wireguard' });
    await soon(() => linkNames(b1)).toEqual(['raven-wg0', 'raven0']);
    await soon(async () => (await store.get('TunnelEndpoint', 'a1'))?.status?.links[0]?.state).toBe('Up');
    const { driver, publicKey } = (await store.get('TunnelEndpoint', 'b1'))!.spec;
    expect({ driver, publicKey }).toEqual({ driver: 'wireguard', publicKey: memoryKey('b1') });
    await agent.stop();
    startAgent(b1, store, network);
    const reasons = async (node: string) =>
      (await store.get('TunnelEndpoint', node))?.status?.conditions.flatMap(({ status, reason }) => (status === 'False' ? reason : []));
    await soon(() => reasons('a1')).toEqual(['VpnDriverDiffers']);
    await soon(() => reasons('b1')).toEqual(['VpnDriverDiffers']);
    await soon(() => linkNames(b1)).toEqual(['raven0']);
    expect((await store.get('TunnelEndpoint', 'b1'))!.spec.publicKey).toBeUndefined();
  });

  it('leaves everything when it stops, and its successor takes it over without a write', async () => {
    const { store, network, a1, b1 } = site();
    startAgent(a1, store, network);
    const first = startAgent(b1, store, network);
    await soon(async () => (await store.get('TunnelEndpoint', 'b1'))?.status?.links[0]?.state).toBe('Up');
    await first.agent.stop();
    const before = await b1.kernel.observe();
    const looks = b1.looks;
    const second = startAgent(b1, store, network);
    await expect.poll(() => b1.looks, { timeout: PATIENCE_MS }).toBeGreaterThan(looks);
    await second.agent.stop();
    expect(await b1.kernel.observe()).toEqual(before);
    expect(second.tunnels.writes()).toBe(0);
  });

  it('carries IPv6 as soon as regions have it, without waiting for its next look at the machine', async () => {
    const { store, network, b1 } = site();
    const neverAgain: Clock = { ...systemClock, after: () => () => undefined };
    startAgent(b1, store, network, { clock: neverAgain });
    await soon(() => linkNames(b1)).toEqual(['raven0', 'rvn-a1']);
    for (const { gateway: each, subnet } of [
      { gateway: A, subnet: 'fd00:1::/64' },
      { gateway: B, subnet: 'fd00:2::/64' },
    ]) {
      const nodes = each.status?.nodes.map((node) => ({ ...node, subnets: [...node.subnets, subnet] }));
      const current = await store.get('Gateway', each.metadata.name);
      await store.updateStatus('Gateway', gatewaySchema.parse({ ...current, status: { ...current?.status, nodes } }));
    }
    await soon(async () => (await b1.kernel.observe()).routes.map(({ dst }) => dst).toSorted()).toEqual(['10.244.1.0/24', 'fd00:1::/64']);
  });

  it('takes nothing down while the address of its node is away', async () => {
    const { store, network, b1 } = site();
    const { agent } = startAgent(b1, store, network);
    await soon(() => linkNames(b1)).toEqual(['raven0', 'rvn-a1']);
    b1.nodeAddress = undefined;
    const looks = b1.looks;
    agent.touched();
    await expect.poll(() => b1.looks, { timeout: PATIENCE_MS }).toBeGreaterThan(looks);
    expect(await linkNames(b1)).toEqual(['raven0', 'rvn-a1']);
  });

  it('is reached at the address of its load balancer, whatever order that tells its addresses in (R13)', async () => {
    const { network, a1, b1 } = site();
    const exposed = (...addresses: string[]): Gateway => {
      const endpoint = { nodeName: 'a1', type: 'tunnel', port: 4500 };
      const status = { ...A.status!, activeEndpoints: [endpoint], exposed: [{ ...endpoint, addresses, port: 4500 }] };
      return gatewaySchema.parse({ ...A, spec: { exposeType: 'LoadBalancer', endpoints: [endpoint] }, status });
    };
    const store = createMemoryStore([exposed('198.51.100.9'), B]);
    // The first one by text is of a family that the node does not have.
    const hosts: Record<string, string[]> = { 'lb.example': ['2001:db8::70', '203.0.113.70'] };
    startAgent(a1, store, network, { hosts });
    const caller = startAgent(b1, store, network);
    const write = async (...addresses: string[]): Promise<unknown> => {
      const { metadata } = (await store.get('Gateway', 'a'))!;
      return store.updateStatus('Gateway', { ...exposed(...addresses), metadata });
    };
    const called = async (): Promise<string | undefined> => (await caller.tunnels.list())[0]?.remote?.ip;
    await soon(called).toBe('198.51.100.9');
    const writes = caller.tunnels.writes();
    await write('198.51.100.10', '198.51.100.9');
    await soon(async () => (await store.get('Gateway', 'a'))?.status?.exposed?.[0]?.addresses.length).toBe(2);
    await write('lb.example', '198.51.100.9');
    await write('198.51.100.9', 'lb.example');
    expect([await called(), caller.tunnels.writes()]).toEqual(['198.51.100.9', writes]);
    await write('lb.example');
    await soon(called).toBe('203.0.113.70');
  });

  it('clears its node and withdraws its TunnelEndpoint when the node belongs to no region any more', async () => {
    const { store, network, b1 } = site();
    startAgent(b1, store, network);
    await soon(() => store.get('TunnelEndpoint', 'b1')).toBeDefined();
    await store.remove('Gateway', 'b');
    await soon(() => linkNames(b1)).toEqual([]);
    await soon(() => store.get('TunnelEndpoint', 'b1')).toBeUndefined();
  });

  it('repairs at once when somebody touched its objects', async () => {
    const { store, network, b1 } = site();
    const { agent } = startAgent(b1, store, network);
    await soon(() => linkNames(b1)).toEqual(['raven0', 'rvn-a1']);
    b1.kernel.run('ip link del dev raven0');
    agent.touched();
    await soon(() => linkNames(b1)).toEqual(['raven0', 'rvn-a1']);
  });

  it('goes on working while the API takes no writes, and says how far it has come', async () => {
    const { store, network, b1 } = site();
    const mute: ClusterStore = { ...store, apply: () => new Promise(() => undefined) };
    const { agent } = startAgent(b1, mute, network);
    expect(agent.progress()).toMatchObject({ isSynced: false, isApplied: false, lastTickMs: undefined });
    await soon(() => linkNames(b1)).toEqual(['raven0', 'rvn-a1']);
    await soon(async () => agent.progress().isApplied).toBe(true);
    b1.kernel.run('ip link del dev raven0');
    agent.touched();
    await soon(() => linkNames(b1)).toEqual(['raven0', 'rvn-a1']);
  });

  it('plans a burst of 100 changes at most three times (R43)', async () => {
    const { store, network, b1 } = site();
    let listings = 0;
    const counted: MemoryNetwork = {
      ...network,
      driver: (options) => {
        const driver = network.driver(options);
        // Each tick asks for the tunnels' state twice: to plan, and to publish.
        return { ...driver, list: () => (listings++, driver.list()) };
      },
    };
    startAgent(b1, store, counted);
    await soon(() => store.get('TunnelEndpoint', 'b1')).toBeDefined();
    await new Promise((resolve) => setTimeout(resolve, 100));
    const before = listings;
    for (let i = 0; i < 100; i++) {
      const current = await store.get('Gateway', 'a');
      if (current === undefined) continue;
      await store.updateStatus('Gateway', {
        ...current,
        status: {
          nodes: [{ nodeName: 'a1', privateIP: '203.0.113.1', subnets: [`10.244.${100 + i}.0/24`] }],
          activeEndpoints: current.status?.activeEndpoints ?? [],
        },
      });
    }
    await soon(async () => (await b1.kernel.observe()).routes.map(({ dst }) => dst)).toEqual(['10.244.199.0/24']);
    expect((listings - before) / 2).toBeLessThanOrEqual(3);
  });
});
