import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Logger } from '../../lib/logger.ts';

const STOP_TIMEOUT_MS = 5_000;
/** A daemon that dies so often in this time will not get well by itself: the container ends, which shows in its status. */
const MAX_DEATHS = 3;
const DEATHS_WITHIN_MS = 120_000;

/** Ends a child in order, or after a while by force. */
export async function stopChild(child: ChildProcess): Promise<void> {
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  const exited = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined;
  child.kill('SIGTERM');
  await exited;
  clearTimeout(timer);
}

/**
 * Counts how often a daemon ended by itself.
 *
 * @returns what notes an end, with `how` it came; it throws when there were too many of late
 */
export function createDeathCounter(program: string, log: Logger): (how: string) => void {
  const deaths: number[] = [];
  return (how) => {
    const now = Date.now();
    deaths.push(now);
    const recent = deaths.filter((at) => now - at < DEATHS_WITHIN_MS).length;
    if (recent >= MAX_DEATHS) throw new Error(`${program} ended ${recent} times within ${DEATHS_WITHIN_MS / 1000} s, at last with ${how}`);
    log.warn({ how }, `${program} has ended by itself; starting it again`);
  };
}
