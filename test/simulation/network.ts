import type { NodePlan } from '../../src/domain/node-plan.ts';
import type { Ip } from '../../src/net/ip.ts';
import { probeAddress } from '../../src/net/probe-address.ts';
import { createAssociations } from './associations.ts';
import type { Conditions } from './faults.ts';
import { compileRouting, compileVpn, type Hop, type Packet, type Routing, type Vpn } from './kernel.ts';
import type { Random } from './random.ts';
import type { VirtualClock } from './virtual-clock.ts';
import type { NodeShape, World } from './world.ts';

/** Which packet gets from node to node, given what all nodes have set and what is broken. Packets travel in no time: see `latencyMs` for probes. */
export interface Network {
  setRouting(node: string, plan: NodePlan): void;
  setTunnels(node: string, plan: NodePlan['tunnels']): void;
  /** Something broke or healed. */
  touched(): void;
  powerOff(node: string): void;
  /** Grows whenever a packet's way may have become another. */
  version(): number;
  walk(from: string, packet: Packet): Walk;
  /** Over the own region's LAN, without Raven. */
  isOnLan(a: string, b: string): boolean;
  reachesApi(node: string): boolean;
  isTunnelUp(a: string, b: string): boolean;
  /** One way. */
  latencyMs(a: string, b: string): number;
  nodeAt(ip: Ip): NodeShape | undefined;
}

export interface Walk {
  readonly end: 'delivered' | 'dropped' | 'loops';
  /** Nodes that the packet was on, in order. */
  readonly nodes: readonly string[];
  /** `from>to` of each tunnel that it came out of. */
  readonly tunnels: readonly string[];
  readonly why: string;
}

export interface NetworkParts {
  readonly world: World;
  readonly conditions: Conditions;
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly onChange: () => void;
}

/** A packet that has been on so many nodes is in a circle, or as good as. */
const HOPS_MAX = 24;
const LAN_MS = 0.3;

export function createNetwork({ world, conditions, clock, random, onChange }: NetworkParts): Network {
  const nodes = new Map(world.nodes.map((node) => [node.name, node]));
  const at = new Map<Ip, NodeShape>(
    world.nodes.flatMap((node) => [node.lanIp, node.overlayIp, node.podIp, probeAddress(node.name)].map((ip) => [ip, node])),
  );
  const routing = new Map<string, Routing>();
  const vpns = new Map<string, Vpn>();
  const regionMs = new Map(world.regions.map(({ name }) => [name, random.int(2, 30)]));
  const associations = createAssociations({ clock, random, vpns, isReachable, onChange: changed });
  let version = 0;
  let walks = new Map<string, Walk>();

  function changed(): void {
    version++;
    walks = new Map();
    onChange();
  }

  function isOn(node: string): boolean {
    return !conditions.has('power', node);
  }

  /** Of outer packets between two regions. */
  function isReachable(a: string, b: string): boolean {
    return [a, b].every(
      (node) => isOn(node) && !conditions.has('uplink', node) && !conditions.has('region', nodes.get(node)?.region ?? ''),
    );
  }

  function isOnLan(a: string, b: string): boolean {
    return [a, b].every((node) => isOn(node) && (a === b || !conditions.has('lan', node)));
  }

  function step(node: string, packet: Packet, hop: Hop): { readonly to: string; readonly isFromTunnel: boolean } | string {
    if (hop.to === 'tunnel') return intoTunnel(node, packet, hop.dev);
    const target = hop.to === 'lan' ? at.get(hop.via) : at.get(packet.dst);
    if (target === undefined || target.region !== nodes.get(node)?.region) return `${node} has no route`;
    if (hop.to === 'lan' && routing.get(node)?.knows(target.lanIp) !== true) return `raven0 of ${node} does not know ${target.name}`;
    return isOnLan(node, target.name) ? { to: target.name, isFromTunnel: false } : `${target.name} is not on the LAN of ${node}`;
  }

  function intoTunnel(node: string, packet: Packet, dev: string): { readonly to: string; readonly isFromTunnel: boolean } | string {
    const vpn = vpns.get(node);
    const isUser = vpn?.plan.driver === 'ipsec' && vpn.plan.dataPath === 'user';
    const peer = isUser ? associations.peerFor(node, packet) : vpn?.peerFor(dev, packet.dst);
    if (vpn === undefined || peer === undefined) return `no tunnel of ${node} takes it`;
    if (!associations.isUp(node, peer)) return `${node} has no association with ${peer}`;
    if (!isReachable(node, peer)) return `${peer} does not hear ${node}`;
    if (isUser && !associations.carries(peer, node, reversed(packet))) return `${peer} has no such association with ${node}`;
    if (vpns.get(peer)?.accepts(node, packet.src) !== true) return `the source belongs to another peer of ${peer} than ${node}`;
    return { to: peer, isFromTunnel: true };
  }

  function trace(from: string, packet: Packet): Walk {
    const passed: string[] = [from];
    const tunnels: string[] = [];
    const seen = new Set<string>();
    let node = from;
    let isFromTunnel = false;
    const end = (how: Walk['end'], why: string): Walk => ({ end: how, nodes: passed, tunnels, why });
    if (!isOn(from)) return end('dropped', `${from} is off`);
    for (let i = 0; i < HOPS_MAX; i++) {
      const isHere = at.get(packet.dst)?.name === node;
      const isForwarded = packet.kind === 'pod' || (i > 0 && !isHere);
      if (isForwarded && conditions.has('forward', node)) return end('dropped', `${node} forwards nothing`);
      if (isHere) return end('delivered', '');
      const key = `${node} ${isFromTunnel}`;
      if (seen.has(key)) return end('loops', passed.join(' '));
      seen.add(key);
      const hop = routing.get(node)?.hop(packet, { isOwn: i === 0, isFromTunnel }) ?? { to: 'main' as const };
      const next = step(node, packet, hop);
      if (typeof next === 'string') return end('dropped', next);
      if (next.isFromTunnel) tunnels.push(`${node}>${next.to}`);
      ({ to: node, isFromTunnel } = next);
      passed.push(node);
    }
    return end('loops', passed.join(' '));
  }

  return {
    setRouting: (node, plan) => {
      routing.set(node, compileRouting(plan));
      changed();
    },
    setTunnels: (node, plan) => {
      if (plan === undefined) vpns.delete(node);
      else vpns.set(node, compileVpn(plan));
      associations.poke();
      changed();
    },
    touched: () => {
      associations.poke();
      changed();
    },
    powerOff: (node) => {
      routing.delete(node);
      vpns.delete(node);
      associations.forget(node);
      changed();
    },
    version: () => version,
    walk: (from, packet) => {
      const key = `${from} ${packet.src} ${packet.dst} ${packet.kind}`;
      const walk = walks.get(key) ?? trace(from, packet);
      walks.set(key, walk);
      return walk;
    },
    isOnLan,
    reachesApi: (node) =>
      isOn(node) &&
      !conditions.has('api-server') &&
      !conditions.has('api', node) &&
      !conditions.has('uplink', node) &&
      !conditions.has('region', nodes.get(node)?.region ?? ''),
    isTunnelUp: (a, b) => associations.isUp(a, b) && isReachable(a, b),
    latencyMs: (a, b) => {
      const [one = '', other = ''] = [nodes.get(a)?.region, nodes.get(b)?.region];
      return one === other ? LAN_MS : (regionMs.get(one) ?? 0) + (regionMs.get(other) ?? 0) + random.next();
    },
    nodeAt: (ip) => at.get(ip),
  };
}

function reversed({ src, dst, kind }: Packet): Packet {
  return { src: dst, dst: src, kind };
}
