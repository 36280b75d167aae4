import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { type Clock, systemClock } from '../lib/clock.ts';
import { classifyLine, type Touched } from './monitor-lines.ts';

export interface MonitorOptions {
  /** What stands before `ip` and `nft`, such as `ip netns exec NAME`. */
  readonly spawnArgvPrefix?: readonly string[];
  readonly clock?: Clock;
}

/** Two processes that listen to the kernel. */
export interface Monitor {
  /** Ends both, and waits for their end. */
  close(): Promise<void>;
}

/** One nft transaction or one `ip -batch` is a burst of lines. */
const QUIET_MS = 10;
const RESTART_MIN_MS = 1_000;
const RESTART_MAX_MS = 30_000;

const PROGRAMS = [
  ['ip', '-N', 'monitor', 'link', 'address', 'route', 'rule', 'neigh', 'nexthop', 'netconf'],
  ['nft', 'monitor'],
] as const;

/**
 * Calls `onTouched` soon after somebody (perhaps this process) changed our objects or the machine's links and addresses; once a burst for each kind.
 * Also after a listener ended and was started again, since it may have missed something.
 */
export function watchKernel({ spawnArgvPrefix = [], clock = systemClock }: MonitorOptions, onTouched: (kind: Touched) => void): Monitor {
  const pending = new Set<Touched>();
  const running = new Map<string, ChildProcess>();
  const cancels = new Map<string, () => void>();
  let closed = false;

  function touch(kind: Touched): void {
    if (pending.size === 0 && !closed) cancels.set('touch', clock.after(QUIET_MS, fire));
    pending.add(kind);
  }

  function fire(): void {
    const kinds = [...pending];
    pending.clear();
    for (const kind of kinds) if (!closed) onTouched(kind);
  }

  function listen(argv: readonly string[], delayMs: number): void {
    const [program = '', ...args] = [...spawnArgvPrefix, ...argv];
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    const key = argv.join(' ');
    const startedMs = clock.now();
    running.set(key, child);
    createInterface({ input: child.stdout }).on('line', (line) => {
      const kind = classifyLine(line);
      if (kind !== undefined) touch(kind);
    });
    let ended = false;
    // A program that cannot be started has an error and no exit.
    const end = (): void => {
      if (ended) return;
      ended = true;
      running.delete(key);
      if (closed) return;
      const wait = clock.now() - startedMs > RESTART_MAX_MS ? RESTART_MIN_MS : delayMs;
      const restart = (): void => {
        listen(argv, Math.min(wait * 2, RESTART_MAX_MS));
        touch('ours');
      };
      cancels.set(key, clock.after(wait, restart));
    };
    child.on('exit', end);
    child.on('error', end);
  }

  async function close(): Promise<void> {
    closed = true;
    for (const cancel of cancels.values()) cancel();
    await Promise.all([...running.values()].map(stop));
  }

  for (const argv of PROGRAMS) listen(argv, RESTART_MIN_MS);
  return { close };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
}
