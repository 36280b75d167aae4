import { type HostLacks, NOTHING_LACKS } from '../domain/host-needs.ts';
import type { Exec } from '../drivers/exec/exec.ts';
import { inspectGateway, inspectNode } from '../drivers/host-needs/host-needs.ts';
import { poll } from '../drivers/tunnel/process.ts';
import type { Logger } from '../lib/logger.ts';
import type { Agent } from './loop.ts';

export interface UnfitParts {
  readonly exec: Exec;
  readonly log: Logger;
  /** An agent that only reports what its machine lacks. */
  readonly createReporter: (lacks: () => Promise<HostLacks>) => Agent;
}

/** How often an unfit machine is looked at again. */
const LOOK_MS = 5_000;

/**
 * Waits until this machine has what every node needs. Until then an agent stands in that sets nothing, and tells by log, metric, condition and
 * readiness what is missing.
 *
 * @returns false when told to stop meanwhile
 */
export async function waitUntilFit({ exec, log, createReporter }: UnfitParts, stopping: AbortSignal): Promise<boolean> {
  let node = await inspectNode(exec);
  if (node.length === 0) return true;
  log.error({ lacks: node }, 'this machine lacks what every node needs; nothing is set up until it is there');
  const reporter = createReporter(() => Promise.resolve({ node, gateway: [] }));
  reporter.start();
  try {
    while (!stopping.aborted && node.length > 0) {
      await poll(() => Promise.resolve(stopping.aborted || undefined), LOOK_MS);
      node = await inspectNode(exec);
      reporter.touched();
    }
  } finally {
    await reporter.stop();
  }
  if (!stopping.aborted) log.info('this machine has all that a node needs now');
  return !stopping.aborted;
}

/** Asks what a gateway lacks, until nothing is missing. */
export function gatewayInspection(
  exec: Exec,
  choice: Parameters<typeof inspectGateway>[1],
  charon: 'own' | 'external',
): () => Promise<HostLacks> {
  let isComplete = false;
  return async () => {
    if (isComplete) return NOTHING_LACKS;
    const gateway = await inspectGateway(exec, choice, charon);
    isComplete = gateway.length === 0;
    return { node: [], gateway };
  };
}
