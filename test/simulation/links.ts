import type { NodePlan } from '../../src/domain/node-plan.ts';
import type { ObservedTunnel } from '../../src/domain/report.ts';
import type { SimAgent } from './agent.ts';
import type { Network } from './network.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** Tunnels as VPN drivers see them: up at once, and down some time after the last packet. */
export interface Links {
  /** Something may have come up or gone down. */
  changed(): void;
  of(node: string, plan: NodePlan['tunnels']): readonly ObservedTunnel[];
}

export interface LinkParts {
  readonly network: Network;
  readonly agents: ReadonlyMap<string, SimAgent>;
  readonly clock: VirtualClock;
}

const UP_MS = 30;
/** Dead peer detection, of the quick kind. */
const DOWN_MS = 5_000;

interface State {
  readonly isUp: boolean;
  readonly sinceMs: number;
}

export function createLinks({ network, agents, clock }: LinkParts): Links {
  const states = new Map<string, State>();
  const pending = new Set<string>();

  function consider(agent: SimAgent, peer: string): void {
    const node = agent.node.name;
    const key = `${node} ${peer}`;
    const isUp = network.isTunnelUp(node, peer);
    if (isUp === (states.get(key)?.isUp ?? false) || pending.has(key)) return;
    pending.add(key);
    clock.after(isUp ? UP_MS : DOWN_MS, () => {
      pending.delete(key);
      if (network.isTunnelUp(node, peer) !== isUp) return consider(agent, peer);
      states.set(key, { isUp, sinceMs: clock.now() });
      agent.tunnelsChanged();
    });
  }

  return {
    changed: () => {
      for (const agent of agents.values()) for (const { peer } of agent.plan()?.tunnels?.tunnels ?? []) consider(agent, peer);
    },
    of: (node, plan) =>
      (plan?.tunnels ?? []).map(({ peer }) => {
        const state = states.get(`${node} ${peer}`);
        return { peer, state: state?.isUp === true ? 'up' : 'connecting', sinceMs: state?.sinceMs ?? clock.now() };
      }),
  };
}
