import { messageOf } from '../src/lib/errors.ts';
import type { PingAccount, StreamAccount } from './account.ts';
import { type Deviation, exactness } from './exact.ts';
import { durationOf, type Fault, type Scene, sceneNow } from './fault.ts';
import type { Rig } from './rig.ts';
import { startTraffic, type Traffic } from './traffic.ts';

/** What one fault did once. */
export interface Round {
  readonly fault: string;
  readonly carrier: string;
  /** Who carried before it was healed, and at the end. */
  readonly carrierThen: string | undefined;
  readonly carrierAfter: string | undefined;
  /** By direction, while it lasted. */
  readonly pings: readonly PingAccount[];
  /** By direction, from the begin of its healing on. */
  readonly pingsHealing: readonly PingAccount[];
  readonly streams: readonly StreamAccount[];
  /** Packets passed again before it was healed. */
  readonly returned: boolean;
  /** From the healing on until every node was exactly as planned. */
  readonly exactAfterMs: number | undefined;
  readonly stale: readonly Deviation[];
  readonly foreign: readonly Deviation[];
  /** Why the round itself could not be carried out. */
  readonly error?: string;
}

/** Beyond the budget: what did not come back until then does not come back. */
const PATIENCE_MS = 30_000;
/** TCP waits as long again as packets stayed away (RFC 6298 §5.5). */
const WELL_TIMEOUT_MS = 120_000;
const EXACT_TIMEOUT_MS = 90_000;
/** Long enough for probes, rekeys and reports that follow a change. */
const LASTS_MS = 3_000;

/** Injects a fault under traffic, heals it, and waits until all is as it was. The rig must be well before, and is afterwards unless the round says so. */
export async function runRound(rig: Rig, fault: Fault, cutMs: number): Promise<Round> {
  const scene = await sceneNow(rig, cutMs);
  const traffic = await startTraffic(rig);
  let outcome: Outcome = { returned: false, carrierThen: undefined };
  try {
    await traffic.flowing(WELL_TIMEOUT_MS, 'all');
    outcome = await suffer(rig, fault, scene, traffic);
  } catch (error) {
    outcome = { ...outcome, error: messageOf(error) };
    await fault.heal?.(rig, scene).catch(() => undefined);
  }
  const exact = await exactness(rig, EXACT_TIMEOUT_MS);
  const foreign = await rig.foreignDamage();
  const { pings, streams } = await traffic.end();
  return {
    fault: fault.name,
    carrier: scene.carrier,
    carrierAfter: await rig.exit(),
    pings: pings[0] ?? [],
    pingsHealing: pings[1] ?? [],
    streams,
    exactAfterMs: exact.afterMs,
    stale: exact.deviations,
    foreign,
    ...outcome,
  };
}

interface Outcome {
  readonly returned: boolean;
  readonly carrierThen: string | undefined;
  readonly error?: string;
}

async function suffer(rig: Rig, fault: Fault, scene: Scene, traffic: Traffic): Promise<Outcome> {
  traffic.mark();
  const lasted = new Promise((resolve) => setTimeout(resolve, durationOf(fault, scene, LASTS_MS)));
  await fault.inject(rig, scene);
  const returned = fault.expected.traffic !== 'healed' && (await flows(traffic, fault));
  await lasted;
  const carrierThen = await rig.exit();
  traffic.mark();
  await fault.heal?.(rig, scene);
  await traffic.flowing(WELL_TIMEOUT_MS, 'all');
  return { returned, carrierThen };
}

function flows(traffic: Traffic, { expected: { budgetMs = 0 } }: Fault): Promise<boolean> {
  return traffic.flowing(budgetMs + PATIENCE_MS, 'pings').then(
    () => true,
    () => false,
  );
}
