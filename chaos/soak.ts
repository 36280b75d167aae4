import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../src/lib/errors.ts';
import type { PingAccount, StreamAccount } from './account.ts';
import { type Deviation, exactness } from './exact.ts';
import { durationOf, type Fault, type Place, type Scene, sceneNow } from './fault.ts';
import { chooseHistory, type Step } from './history.ts';
import type { Rig } from './rig.ts';
import { startTraffic, type Traffic } from './traffic.ts';

/** What a soak did, and what came of it. Times since its begin. */
export interface SoakReport {
  readonly seed: number;
  readonly history: readonly SoakEvent[];
  readonly pings: readonly PingAccount[];
  readonly streams: readonly StreamAccount[];
  /** Packets passed again after everything was healed. */
  readonly returned: boolean;
  readonly exactAfterMs: number | undefined;
  readonly stale: readonly Deviation[];
  readonly foreign: readonly Deviation[];
}

interface SoakEvent {
  readonly atMs: number;
  readonly lane: number;
  readonly fault: string;
  readonly what: 'injects' | 'injected' | 'heals' | 'healed' | 'flows' | 'does not flow' | 'fails';
  readonly carrier?: string;
  readonly error?: string;
}

export interface SoakOptions {
  readonly seed: number;
  readonly durationMs: number;
  readonly faults: readonly Fault[];
  readonly cutMs: number;
  readonly onEvent: (event: SoakEvent) => void;
}

/** Longer than anybody waits for a failover. */
const FLOWS_TIMEOUT_MS = 60_000;
const EXACT_TIMEOUT_MS = 120_000;
const LOOK_MS = 100;

/** Lets faults happen for so long, two at a time where they lay hands on different things, then heals all and looks whether everything is as it was. */
export async function soak(rig: Rig, { seed, durationMs, faults, cutMs, onEvent }: SoakOptions): Promise<SoakReport> {
  const traffic = await startTraffic(rig);
  await traffic.flowing(FLOWS_TIMEOUT_MS, 'all');
  traffic.mark();
  const beginMs = performance.now();
  const history: SoakEvent[] = [];
  const busy = new Set<Place>();
  const isOver = (): boolean => performance.now() - beginMs >= durationMs;

  async function run(steps: readonly Step[], lane: number): Promise<void> {
    for (const { fault, pauseMs, holdMs } of steps) {
      await sleep(pauseMs);
      while (!isOver() && fault.places.some((place) => busy.has(place))) await sleep(LOOK_MS);
      if (isOver()) return;
      for (const place of fault.places) busy.add(place);
      const say = (what: SoakEvent['what'], more: Pick<SoakEvent, 'carrier' | 'error'> = {}): void => {
        const event = { atMs: Math.round(performance.now() - beginMs), lane, fault: fault.name, what, ...more };
        history.push(event);
        onEvent(event);
      };
      try {
        await happen(fault, holdMs, say);
      } finally {
        for (const place of fault.places) busy.delete(place);
      }
    }
  }

  async function happen(
    fault: Fault,
    holdMs: number,
    say: (what: SoakEvent['what'], more?: Pick<SoakEvent, 'carrier' | 'error'>) => void,
  ): Promise<void> {
    let scene: Scene | undefined;
    try {
      scene = await sceneNow(rig, cutMs);
      say('injects', { carrier: scene.carrier });
      await fault.inject(rig, scene);
      say('injected');
      await sleep(durationOf(fault, scene, holdMs));
    } catch (error) {
      say('fails', { error: messageOf(error) });
    }
    if (scene === undefined) return;
    try {
      say('heals');
      await fault.heal?.(rig, scene);
      say('healed');
    } catch (error) {
      say('fails', { error: messageOf(error) });
    }
    // The next one meets a rig that works, unless the other lane has its hands on it.
    await waitForFlow(traffic, say);
  }

  await Promise.all(chooseHistory(seed, durationMs, faults).map(run));
  const returned = await waitForFlow(traffic, () => undefined);
  const { afterMs, deviations } = await exactness(rig, EXACT_TIMEOUT_MS);
  const foreign = await rig.foreignDamage();
  const { pings, streams } = await traffic.end();
  return { seed, history, pings: pings[0] ?? [], streams, returned, exactAfterMs: afterMs, stale: deviations, foreign };
}

async function waitForFlow(traffic: Traffic, say: (what: SoakEvent['what'], more?: Pick<SoakEvent, 'error'>) => void): Promise<boolean> {
  try {
    await traffic.flowing(FLOWS_TIMEOUT_MS, 'all');
    say('flows');
    return true;
  } catch (error) {
    say('does not flow', { error: messageOf(error) });
    return false;
  }
}

/** The history as a list for people. Pure. */
export function formatEvent({ atMs, lane, fault, what, carrier, error }: SoakEvent): string {
  const time = (atMs / 1000).toFixed(1).padStart(7);
  return `${time} s  ${'  '.repeat(lane)}${fault} ${what}${carrier === undefined ? '' : ` (${carrier} carries)`}${error === undefined ? '' : `: ${error}`}`;
}

/** Whether all is as it should be at the end. Pure. */
export function isWell({ returned, exactAfterMs, foreign, streams, history }: SoakReport): boolean {
  const clean = returned && exactAfterMs !== undefined && foreign.length === 0;
  return clean && streams.every(({ alive }) => alive) && history.every(({ what }) => what !== 'fails');
}
