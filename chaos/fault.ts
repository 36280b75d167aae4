import type { Driver, Rig, Store } from './rig.ts';

/** One thing that happens to the rig. */
export interface Fault {
  /** As `--fault` takes it. */
  readonly name: string;
  /** Of the requirements. */
  readonly requirement: string;
  /** What happens, for people. "The gateway" is the one that carries for region B at that time. */
  readonly what: string;
  readonly expected: Expected;
  /** Absent: all. */
  readonly drivers?: readonly Driver[];
  readonly stores?: readonly Store[];
  /** What it lays hands on: of faults that share a place only one at a time makes sense. */
  readonly places: readonly Place[];
  /** How long it lasts at least before it is healed, however soon packets pass again; `cut`: as long as `--cut` says; 3,000 when absent. */
  readonly lastsMs?: number | 'cut';
  readonly inject: (rig: Rig, scene: Scene) => Promise<unknown>;
  /** Safe to call twice, and when only half was injected. Absent: it heals by itself. */
  readonly heal?: (rig: Rig, scene: Scene) => Promise<unknown>;
}

/** Whom it hits. */
export interface Scene {
  /** The endpoint that carried for region B when it began. */
  readonly carrier: string;
  /** The other one of b1 and b3. */
  readonly standby: string;
  /** How long the API stays away. */
  readonly cutMs: number;
}

export interface Expected {
  /** always: no packet is lost. returns: they pass again while the fault lasts. healed: they need not pass before it is healed. */
  readonly traffic: 'always' | 'returns' | 'healed';
  /** The longest that packets may stay away, of design §9 or the requirement. */
  readonly budgetMs?: number;
  /** That it ends is a change as well, which may cost as much again. */
  readonly healingCosts?: true;
  /** Whether another endpoint shall carry for B before it is healed; absent: either is fine. */
  readonly carrier?: 'moves' | 'stays';
}

export type Place = 'nodes' | 'programs' | 'uplink' | 'api' | 'controller' | 'kubelets' | 'joining' | 'kernel' | 'objects' | 'router';

/** Nothing may be lost. */
export const HITLESS: Expected = { traffic: 'always' };
/** Design §9: a gateway dies → traffic flows again, worst. */
export const FAILOVER: Expected = { traffic: 'returns', budgetMs: 3_000, carrier: 'moves' };

/** Whom a fault hits that begins now. */
export async function sceneNow(rig: Rig, cutMs: number): Promise<Scene> {
  const carrier = await rig.carrier();
  return { carrier, standby: carrier === 'b1' ? 'b3' : 'b1', cutMs };
}

/** How long it lasts at least. @param otherwiseMs when the fault does not say */
export function durationOf({ lastsMs = 0 }: Fault, { cutMs }: Scene, otherwiseMs: number): number {
  return Math.max(otherwiseMs, lastsMs === 'cut' ? cutMs : lastsMs);
}
