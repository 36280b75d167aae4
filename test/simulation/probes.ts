import type { Outcome } from '../../src/drivers/probe/echo.ts';
import type { Ip } from '../../src/net/ip.ts';
import { probeAddress } from '../../src/net/probe-address.ts';
import type { SimAgent } from './agent.ts';
import type { Network } from './network.ts';
import type { VirtualClock } from './virtual-clock.ts';
import type { NodeShape, World } from './world.ts';

/** lan: between nodes of one region. overlay: by the ordinary routes. tunnel: into the tunnel to that very endpoint. */
export type ProbeWay = 'lan' | 'overlay' | 'tunnel';

/** Echoes between agents, over the same ways as other packets; and what tunnels count of all packets. */
export interface Probes {
  send(from: NodeShape, kind: ProbeWay, request: Request): Promise<Outcome>;
  /** Which tunnels packets of pods come out of now, as `from>to`. */
  flow(tunnels: ReadonlySet<string>): void;
  /** Bytes (of some unit) that came out of each of a node's tunnels, by peer. */
  received(node: string): ReadonlyMap<string, number>;
  /** Of tunnels with others the node counts no more: they were taken down, or it went off. */
  retain(node: string, peers: ReadonlySet<string>): void;
  count(): number;
}

export interface Request {
  readonly target: Ip;
  readonly flags: number;
  readonly timeoutMs: number;
}

export interface ProbeParts {
  readonly world: World;
  readonly network: Network;
  readonly agents: ReadonlyMap<string, SimAgent>;
  readonly clock: VirtualClock;
  readonly spoil: (flags: number) => number;
}

/** Linux sends so few "port unreachable" to one address (`icmp(7)`, icmp_ratelimit). */
const REFUSAL_MS = 1_000;

export function createProbes({ world, network, agents, clock, spoil }: ProbeParts): Probes {
  const counted = new Map<string, number>();
  const flowing = new Map<string, number>();
  const refusedMs = new Map<string, number>();
  let sent = 0;

  function passes(from: NodeShape, to: NodeShape, kind: ProbeWay): boolean {
    if (kind === 'lan') return network.isOnLan(from.name, to.name);
    const { end, tunnels } = network.walk(from.name, { src: addressOf(from, kind), dst: addressOf(to, kind), kind: 'probe' });
    for (const tunnel of tunnels) counted.set(tunnel, (counted.get(tunnel) ?? 0) + 1);
    return end === 'delivered';
  }

  function mayRefuse(from: NodeShape, to: NodeShape): boolean {
    const key = `${to.name} ${from.name}`;
    const last = refusedMs.get(key);
    if (last !== undefined && clock.now() - last < REFUSAL_MS) return false;
    refusedMs.set(key, clock.now());
    return true;
  }

  function answer(from: NodeShape, to: NodeShape, kind: ProbeWay, flags: number): number | 'refused' | undefined {
    const said = agents.get(to.name)?.answer(kind, addressOf(from, kind), spoil(flags));
    // The overlay's socket is not connected, so nobody tells it of a refusal.
    if (said === 'refused') return kind === 'lan' && mayRefuse(from, to) ? 'refused' : undefined;
    return said;
  }

  return {
    send: (from, kind, { target, flags, timeoutMs }) =>
      new Promise((resolve) => {
        sent++;
        const settle = (outcome: Outcome): void => {
          cancel();
          clock.settle();
          resolve(outcome);
        };
        const cancel = clock.after(timeoutMs, () => settle('silent'));
        const to = network.nodeAt(target);
        if (to === undefined || !passes(from, to, kind)) return;
        const oneWayMs = network.latencyMs(from.name, to.name);
        clock.after(oneWayMs, () => {
          clock.settle();
          const said = answer(from, to, kind, flags);
          if (said === undefined || !passes(to, from, kind)) return;
          if (2 * oneWayMs < timeoutMs)
            clock.after(oneWayMs, () => settle(said === 'refused' ? said : { rttMs: 2 * oneWayMs, flags: spoil(said) }));
        });
      }),
    flow: (tunnels) => {
      const now = clock.now();
      for (const [tunnel, sinceMs] of flowing) {
        if (tunnels.has(tunnel)) continue;
        counted.set(tunnel, (counted.get(tunnel) ?? 0) + now - sinceMs);
        flowing.delete(tunnel);
      }
      for (const tunnel of tunnels) if (!flowing.has(tunnel)) flowing.set(tunnel, now);
    },
    received: (node) => {
      const now = clock.now();
      const total = (tunnel: string): number => (counted.get(tunnel) ?? 0) + now - (flowing.get(tunnel) ?? now);
      return new Map(world.nodes.filter(({ isEndpoint }) => isEndpoint).map(({ name }) => [name, total(`${name}>${node}`)]));
    },
    retain: (node, peers) => {
      for (const tunnels of [counted, flowing])
        for (const key of tunnels.keys()) {
          const [peer = '', at] = key.split('>');
          if (at === node && !peers.has(peer)) tunnels.delete(key);
        }
    },
    count: () => sent,
  };
}

function addressOf({ name, lanIp, overlayIp }: NodeShape, way: ProbeWay): Ip {
  return way === 'lan' ? lanIp : way === 'overlay' ? overlayIp : probeAddress(name);
}
