import type { DataPath, TunnelPlan, VpnDriver } from '../../domain/node-plan.ts';

/** One tunnel as the VPN sees it now. */
export interface TunnelState {
  readonly peer: string;
  readonly state: 'up' | 'connecting' | 'down';
  /** Epoch milliseconds at which `state` was reached, as far as known. */
  readonly sinceMs: number;
  /** Where the peer's packets come from, `ip` and UDP port; absent until it was heard. */
  readonly remote?: { readonly ip: string; readonly port: number };
  /** Bytes through the current SA. */
  readonly bytesIn?: number;
  readonly bytesOut?: number;
  /** Why it is not up, in words for an operator. */
  readonly message?: string;
}

/**
 * A VPN, with its daemon if it has one. Keeps tunnels when the agent goes; only `cleanup` takes them down.
 *
 * @template Plan plans of the driver's own kind; it refuses others
 */
export interface TunnelDriver<Plan extends TunnelPlan = TunnelPlan> {
  readonly name: VpnDriver;
  readonly dataPath: DataPath;
  /** The key by which peers know this node, as soon as `start` is done; undefined where there is none. */
  publicKey(): string | undefined;
  /** Tells `start` what it will be asked for first: the port to listen on is fixed when the daemon starts. */
  prepare(desired: Plan): void;
  /** Adopts the running daemon of an earlier agent, or starts it. Idempotent. */
  start(): Promise<void>;
  /**
   * Makes the VPN's associations equal `desired`: adds before it removes, touches only peers that differ, writes nothing when equal,
   * and calls peers that should be up and are not. Does not wait for handshakes. One bad peer does not stop the others.
   * The secret is not part of the plan.
   */
  set(desired: Plan): Promise<void>;
  /** State of every planned tunnel, in order of peer. Reads only. */
  list(): Promise<readonly TunnelState[]>;
  /**
   * A tunnel has fallen silent: tells the peer at once where this node's packets come from now, in case a NAT on the way gives them another address than
   * before (RFC 7296 §2.23). Does nothing where each packet tells it.
   */
  refreshAddress(peer: string): Promise<void>;
  /** Called when a tunnel came up or went, the reason why one is not up became another, or the daemon was restarted: time to look again. */
  onChange(listener: () => void): void;
  /** Lets go of the daemon without stopping it. */
  close(): Promise<void>;
  /** Stops the daemon and removes all that it left: SAs, policies, device, files. Idempotent; works when nothing runs. */
  cleanup(): Promise<void>;
}
