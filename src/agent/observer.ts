import type { NodePlan } from '../domain/node-plan.ts';
import type { Reroute } from '../domain/reroute.ts';
import type { TunnelState } from '../drivers/tunnel/tunnel-driver.ts';

/** Hears what the loop does, for metrics. */
export interface AgentObserver {
  planned(plan: NodePlan, durationMs: number): void;
  /** A comparison of the kernel with the plan, and what had to be written. */
  compared(result: { readonly writes: number; readonly failed: number }): void;
  /** Packets go through another live endpoint now. */
  rerouted(reroute: Reroute): void;
  /** After each tick that came to its end, with what was seen in it. */
  ticked(result: {
    readonly ok: boolean;
    readonly durationMs: number;
    readonly tunnels: readonly TunnelState[];
    readonly rtts: ReadonlyMap<string, number>;
  }): void;
}

export const noObserver: AgentObserver = {
  planned: () => undefined,
  compared: () => undefined,
  rerouted: () => undefined,
  ticked: () => undefined,
};
