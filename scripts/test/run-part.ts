import { spawn, type ChildProcess } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { finished } from 'node:stream/promises';
import type { Outcome, Part } from './parts.ts';

export interface PartRun {
  readonly reportFile: string;
  readonly onLine: (line: string) => void;
  readonly colour: boolean;
  readonly signal: AbortSignal;
}

/** How long a part may clean up after an interruption before it is killed. */
const CLEANUP_MS = 60_000;
/** Output that comes later than this after the end is somebody else's. */
const DRAIN_MS = 2000;

/** Runs one part to its end. It has its own process group: Ctrl-C reaches it through `signal` alone, in the way it can handle. */
export async function runPart(part: Part, { reportFile, onLine, colour, signal }: PartRun): Promise<Outcome> {
  await rm(reportFile, { force: true });
  const [file, ...args] = part.argv;
  const child = spawn(file, args, {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    detached: true,
    env: { ...process.env, ...(colour ? { FORCE_COLOR: '1' } : { NO_COLOR: '1' }) },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    let rest = '';
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) onLine(line);
    });
    stream?.on('end', () => rest !== '' && onLine(rest));
  }
  let killer: NodeJS.Timeout | undefined;
  const interrupt = (): void => {
    if (part.interrupt === 'disconnect' && child.connected) child.disconnect();
    else killGroup(child, 'SIGTERM');
    killer = setTimeout(() => killGroup(child, 'SIGKILL'), CLEANUP_MS);
  };
  signal.addEventListener('abort', interrupt, { once: true });
  const exitCode = await ended(child).finally(() => {
    clearTimeout(killer);
    signal.removeEventListener('abort', interrupt);
  });
  const report = await readFile(reportFile, 'utf8').catch(() => '');
  return { exitCode, output, report };
}

/**
 * Not `close`: it never comes after a `disconnect()` from our side, nor while a process that outlives the part holds its output open.
 * What the part wrote before its end is in the pipes by then.
 */
function ended(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => {
      const streams = [child.stdout, child.stderr].filter((stream) => stream !== null);
      const drained = Promise.allSettled(streams.map((stream) => finished(stream)));
      const late = setTimeout(() => resolve(code ?? 1), DRAIN_MS);
      void drained.finally(() => {
        clearTimeout(late);
        resolve(code ?? 1);
      });
    });
  });
}

function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, signal);
  } catch {
    // Gone already.
  }
}
