import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { poll } from '../drivers/tunnel/process.ts';

/** A file that stands while the agent is draining: containers of one pod are told to stop at the same moment, and charon has to be the last. */
export async function markDraining(runDir: string): Promise<void> {
  await mkdir(runDir, { recursive: true, mode: 0o700 });
  await writeFile(markerOf(runDir), '');
}

export async function unmarkDraining(runDir: string): Promise<void> {
  await rm(markerOf(runDir), { force: true });
}

/** The agent hears of the end as early as charon does, but may be busy. */
const APPEARS_WITHIN_MS = 2_000;

/** Waits until no agent is draining: as long as the file stands, at most `timeoutMs`, and first for a moment until it stands. */
export async function awaitDrained(runDir: string, timeoutMs: number): Promise<void> {
  const stands = async (): Promise<true | undefined> =>
    await stat(markerOf(runDir)).then(
      () => true as const,
      () => undefined,
    );
  if ((await poll(stands, Math.min(APPEARS_WITHIN_MS, timeoutMs))) === undefined) return;
  await poll(async () => ((await stands()) ? undefined : true), timeoutMs);
}

function markerOf(runDir: string): string {
  return join(runDir, 'draining');
}
