import { type DrainStep, drainStep, isQuiet } from '../domain/drain.ts';
import type { Clock } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { LeaseKeeper } from './lease-keeper.ts';
import type { Membership } from './membership.ts';

export interface DrainParts {
  readonly node: string;
  readonly membership: Membership;
  readonly lease: LeaseKeeper;
  /** Packets that ever passed through the tunnels; see `readTunnelPackets`. */
  readonly tunnelPackets: () => Promise<number>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly timeoutMs: number;
}

/** How a drain ended: nothing to give, nobody to give it to, given, or not in time. */
export type DrainEnd = 'idle' | 'alone' | 'moved' | 'timeout';

/** So long a span tells a rate from a burst. */
const SAMPLE_MS = 1_000;

/**
 * Gives this node's part as a gateway to another one before the agent stops: says so in its Lease, waits until the controller has elected another, and
 * then until no packets of others come through its tunnels any more. The agent works on meanwhile.
 */
export async function drain(parts: DrainParts): Promise<DrainEnd> {
  const { node, membership, lease, clock, log, timeoutMs } = parts;
  const deadline = clock.now() + timeoutMs;
  const first = drainStep(node, membership.gateways());
  if (first.step === 'idle' || first.step === 'alone') {
    if (first.step === 'alone') log.warn({ region: first.region }, 'no other endpoint is listed that could take over: stopping as it is');
    return first.step;
  }
  log.info({ region: first.region, timeoutMs }, 'draining: waiting until another endpoint carries');
  lease.announceStop();
  const atFirst = await sampleRate(parts);
  let told: DrainStep['step'] = first.step;
  while (clock.now() < deadline) {
    const now = drainStep(node, membership.gateways());
    if (now.step !== told && now.step === 'moved') log.info({ region: now.region, to: now.to }, 'another endpoint was elected');
    told = now.step;
    const perSecond = await sampleRate(parts);
    if (now.step !== 'active' && isQuiet(perSecond, atFirst)) {
      log.info({ perSecond }, 'drained: nothing of others comes here any more');
      return 'moved';
    }
  }
  log.warn({ step: told, timeoutMs }, 'not drained in time: stopping all the same');
  return 'timeout';
}

/** Packets per second, over a second. Devices that go meanwhile make it less than nothing: that is nothing. */
async function sampleRate({ tunnelPackets, clock, log }: DrainParts): Promise<number> {
  try {
    const before = await tunnelPackets();
    await new Promise<void>((resolve) => clock.after(SAMPLE_MS, resolve));
    return Math.max(0, ((await tunnelPackets()) - before) * (1000 / SAMPLE_MS));
  } catch (error) {
    log.warn({ error: messageOf(error) }, 'packets cannot be counted: taken for none');
    return 0;
  }
}
