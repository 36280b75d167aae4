import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { promisify } from 'node:util';

const LABS = '/run/raven-lab';

/** Takes down the labs of test processes that are gone: a test that was killed could not do it itself. */
export async function removeAbandonedLabs(): Promise<void> {
  const names = await readdir(LABS).catch(() => []);
  for (const name of abandonedLabs(names, (pid) => existsSync(`/proc/${pid}`))) {
    await promisify(execFile)('bin/raven', ['lab', 'down', '--name', name]).catch(() => undefined);
  }
}

/** Tests name their labs `tPID-SERIAL` (test/lab/harness.ts). */
export function abandonedLabs(names: readonly string[], isAlive: (pid: string) => boolean): string[] {
  return names.filter((name) => {
    const pid = /^t(\d+)-\w+$/.exec(name)?.[1];
    return pid !== undefined && !isAlive(pid);
  });
}
