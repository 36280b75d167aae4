import { createHash } from 'node:crypto';
import type { DataPath, Tunnel, TunnelPlan, VpnDriver, WireguardTunnel } from '../../domain/node-plan.ts';
import { type Clock, systemClock } from '../../lib/clock.ts';
import { compareText } from '../../lib/compare.ts';
import type { WgKey } from '../../net/wg-key.ts';
import type { TunnelDriver, TunnelState } from './tunnel-driver.ts';

/** What drivers of one memory network share. A tunnel is up when both ends plan it, one of them calls, the secrets are equal (with WireGuard the keys are right, too) and nothing blocks it. */
export interface MemoryNetwork {
  /** A driver for a node; a second one for the same node takes over what the first one left running. */
  driver(options: MemoryDriverOptions): MemoryDriver;
  /** Lets nothing through between two nodes, in either direction. */
  block(a: string, b: string): void;
  unblock(a: string, b: string): void;
}

export interface MemoryDriverOptions {
  readonly node: string;
  /** ipsec when absent. */
  readonly name?: VpnDriver;
  readonly psk?: string;
  readonly dataPath?: DataPath;
  readonly clock?: Clock;
}

export interface MemoryDriver extends TunnelDriver {
  /** How many associations were added, changed or removed. */
  writes(): number;
}

/** The daemon of one node: outlives its drivers. */
interface Daemon {
  running: boolean;
  psk: string;
  tunnels: Map<string, Tunnel | WireguardTunnel>;
  up: Map<string, number>;
  downSince: Map<string, number>;
  readonly listeners: Set<() => void>;
}

/** The twin of both drivers, for tests of what stands on it: no packets, no processes, no waiting. */
export function createMemoryNetwork(): MemoryNetwork {
  const daemons = new Map<string, Daemon>();
  const blocked = new Set<string>();

  function daemonOf(node: string): Daemon {
    const daemon = daemons.get(node) ?? {
      running: false,
      psk: '',
      tunnels: new Map(),
      up: new Map(),
      downSince: new Map(),
      listeners: new Set(),
    };
    daemons.set(node, daemon);
    return daemon;
  }

  function isUp(a: string, b: string): boolean {
    const [one, other] = [daemonOf(a), daemonOf(b)];
    const [out, back] = [one.tunnels.get(b), other.tunnels.get(a)];
    if (!one.running || !other.running || out === undefined || back === undefined || blocked.has(pairOf(a, b))) return false;
    const knows = isKeyOf(out, b) && isKeyOf(back, a);
    return knows && [out, back].some(calls) && one.psk === other.psk;
  }

  /** Brings every tunnel to the state that follows from both ends, and tells the drivers whose tunnels changed. */
  function settle(nowMs: number): void {
    const told = new Set<Daemon>();
    for (const [node, daemon] of daemons) {
      for (const peer of new Set([...daemon.tunnels.keys(), ...daemon.up.keys()])) {
        const up = isUp(node, peer);
        if (up === daemon.up.has(peer)) continue;
        if (up) daemon.up.set(peer, nowMs);
        else daemon.up.delete(peer);
        daemon.downSince.set(peer, nowMs);
        told.add(daemon);
      }
    }
    for (const daemon of told) {
      for (const listener of daemon.listeners) listener();
    }
  }

  function driver({ node, name = 'ipsec', psk = 'secret', dataPath = 'user', clock = systemClock }: MemoryDriverOptions): MemoryDriver {
    const daemon = daemonOf(node);
    const listeners = new Set<() => void>();
    let writes = 0;

    async function start(): Promise<void> {
      daemon.running = true;
      daemon.psk = psk;
      settle(clock.now());
    }

    async function set({ tunnels }: TunnelPlan): Promise<void> {
      if (!daemon.running) await start();
      const wanted = new Map(tunnels.map((tunnel) => [tunnel.peer, tunnel]));
      for (const [peer, tunnel] of wanted) {
        if (JSON.stringify(daemon.tunnels.get(peer)) === JSON.stringify(tunnel)) continue;
        daemon.tunnels.set(peer, tunnel);
        if (!daemon.downSince.has(peer)) daemon.downSince.set(peer, clock.now());
        writes++;
      }
      for (const peer of daemon.tunnels.keys()) {
        if (wanted.has(peer)) continue;
        daemon.tunnels.delete(peer);
        daemon.downSince.delete(peer);
        writes++;
      }
      settle(clock.now());
    }

    async function list(): Promise<readonly TunnelState[]> {
      return [...daemon.tunnels.values()].toSorted((a, b) => compareText(a.peer, b.peer)).map(stateOf);
    }

    function stateOf(tunnel: Tunnel | WireguardTunnel): TunnelState {
      const { peer, remote } = tunnel;
      const upSince = daemon.up.get(peer);
      if (upSince !== undefined)
        return { peer, state: 'up', sinceMs: upSince, ...(remote !== undefined && { remote }), bytesIn: 0, bytesOut: 0 };
      const other = daemonOf(peer);
      const refused = other.running && other.tunnels.has(node) && other.psk !== daemon.psk && !blocked.has(pairOf(node, peer));
      const message = refused ? 'authentication failed: the secret differs from that of the peer' : `no handshake with ${peer}`;
      return { peer, state: calls(tunnel) ? 'connecting' : 'down', sinceMs: daemon.downSince.get(peer) ?? clock.now(), message };
    }

    return {
      name,
      dataPath,
      publicKey: () => (name === 'wireguard' ? memoryKey(node) : undefined),
      prepare: () => undefined,
      start,
      set,
      list,
      refreshAddress: async () => undefined,
      onChange(listener) {
        listeners.add(listener);
        daemon.listeners.add(listener);
      },
      close: async () => {
        for (const listener of listeners) daemon.listeners.delete(listener);
      },
      cleanup: async () => {
        daemon.running = false;
        daemon.tunnels.clear();
        daemon.downSince.clear();
        settle(clock.now());
      },
      writes: () => writes,
    };
  }

  return {
    driver,
    block: (a, b) => {
      blocked.add(pairOf(a, b));
      settle(systemClock.now());
    },
    unblock: (a, b) => {
      blocked.delete(pairOf(a, b));
      settle(systemClock.now());
    },
  };
}

/** The public key of a node with the driver in memory. */
export function memoryKey(node: string): WgKey {
  return createHash('sha256').update(node).digest('base64') as WgKey;
}

function isKeyOf(tunnel: Tunnel | WireguardTunnel, node: string): boolean {
  return !('publicKey' in tunnel) || tunnel.publicKey === memoryKey(node);
}

function calls(tunnel: Tunnel | WireguardTunnel): boolean {
  return tunnel.remote !== undefined && ('publicKey' in tunnel || tunnel.initiate);
}

function pairOf(a: string, b: string): string {
  return [a, b].toSorted(compareText).join(' ');
}
