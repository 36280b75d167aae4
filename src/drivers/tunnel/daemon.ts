import { spawn } from 'node:child_process';
import { open } from 'node:fs/promises';
import { identifyProcess, type ProcessId } from './process.ts';

/**
 * Starts a program in a session of its own, so that it outlives us. Its output goes to the end of the log.
 *
 * @param command the first word must become the program itself (exec), as the process number counts
 * @returns undefined when it ended at once
 * @throws when it cannot be started
 */
export async function startDaemon(
  [program = '', ...args]: readonly string[],
  { logPath, env }: { readonly logPath: string; readonly env: Readonly<Record<string, string>> },
): Promise<ProcessId | undefined> {
  const output = await open(logPath, 'a', 0o600);
  try {
    const child = spawn(program, args, { detached: true, stdio: ['ignore', output.fd, output.fd], env });
    await new Promise<void>((resolve, reject) => {
      child.once('error', reject);
      child.once('spawn', () => resolve());
    });
    child.on('error', () => undefined);
    child.unref();
    return child.pid === undefined ? undefined : await identifyProcess(child.pid);
  } finally {
    await output.close();
  }
}
