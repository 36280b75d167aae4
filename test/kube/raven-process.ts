import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { vi } from 'vitest';

const RAVEN = fileURLToPath(new URL('../../bin/raven', import.meta.url));

/** `bin/raven`, as it is shipped, in a process of its own. */
export interface RavenProcess {
  /** What it has logged so far: the messages, in order. */
  readonly messages: readonly string[];
  /** Waits until a message is logged that was not there when `since` was the number of messages. */
  logged(message: string, since?: number): Promise<void>;
  /** @returns its exit code; null when the signal ended it */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

const started = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of started) child.kill('SIGKILL');
});

export function startRaven(...args: string[]): RavenProcess {
  const child = spawn(RAVEN, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  started.add(child);
  const messages: string[] = [];
  for (const stream of [child.stdout, child.stderr])
    createInterface({ input: stream }).on('line', (line) => messages.push(messageOf(line)));
  const ended = once(child, 'exit').then(([code]) => {
    started.delete(child);
    return code as number | null;
  });
  return {
    messages,
    logged: (message, since = 0) =>
      vi.waitFor(
        () => {
          if (!messages.slice(since).some((each) => each.includes(message)))
            throw new Error(`not logged: ${message}\n${messages.join('\n')}`);
        },
        { timeout: 60_000, interval: 20 },
      ),
    stop: (signal = 'SIGTERM') => {
      child.kill(signal);
      return ended;
    },
  };
}

function messageOf(line: string): string {
  try {
    return (JSON.parse(line) as { msg: string }).msg;
  } catch {
    return line;
  }
}
