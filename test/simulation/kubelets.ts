import type { Api } from './api.ts';
import type { Conditions } from './faults.ts';
import type { Network } from './network.ts';
import type { Random } from './random.ts';
import type { VirtualClock } from './virtual-clock.ts';
import { nodeOf, type World } from './world.ts';

export interface KubeletParts {
  readonly world: World;
  readonly network: Network;
  readonly conditions: Conditions;
  readonly api: Api;
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly say: (text: string) => void;
}

const LOOK_MS = 500;
/** Kubelets renew their leases each 10 s. */
const RENEW_MS = { min: 500, max: 10_000 };

/** Nodes become NotReady some time after the API heard from them last, and Ready when it hears again. While the API is away nobody judges. */
export function createKubelets({ world, network, conditions, api, clock, random, say }: KubeletParts): void {
  const silentMs = new Map<string, number>();
  const notReady = new Set<string>();

  function judge(name: string): boolean | undefined {
    if (network.reachesApi(name)) {
      silentMs.set(name, Math.min(silentMs.get(name) ?? 0, 0) - LOOK_MS);
      const isBack = notReady.has(name) && -(silentMs.get(name) ?? 0) >= random.int(RENEW_MS.min, RENEW_MS.max);
      return isBack ? true : undefined;
    }
    silentMs.set(name, Math.max(silentMs.get(name) ?? 0, 0) + LOOK_MS);
    return !notReady.has(name) && (silentMs.get(name) ?? 0) >= world.graceMs ? false : undefined;
  }

  function look(): void {
    clock.after(LOOK_MS, look);
    if (conditions.has('api-server')) return;
    for (const node of world.nodes) {
      const isReady = judge(node.name);
      if (isReady === undefined) continue;
      if (isReady) notReady.delete(node.name);
      else notReady.add(node.name);
      say(`${node.name} is ${isReady ? 'Ready' : 'NotReady'}`);
      api.put(nodeOf(node, isReady));
    }
  }

  clock.after(LOOK_MS, look);
}
