import { readFile } from 'node:fs/promises';

/** A process that cannot be mistaken for a later one with the same number. */
export interface ProcessId {
  readonly pid: number;
  /** Start in clock ticks after boot, as text (`proc(5)`, /proc/PID/stat field 22). */
  readonly started: string;
}

/** Which process has this number now; undefined when none has, or it only waits to be reaped. */
export async function identifyProcess(pid: number): Promise<ProcessId | undefined> {
  let stat: string;
  try {
    stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  const [state, started] = parseStat(stat);
  return started === undefined || state === 'Z' || state === 'X' ? undefined : { pid, started };
}

export async function isRunning({ pid, started }: ProcessId): Promise<boolean> {
  return (await identifyProcess(pid))?.started === started;
}

/** Sends the signal unless the process has ended meanwhile. */
export async function signalProcess(id: ProcessId, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (!(await isRunning(id))) return;
  try {
    process.kill(id.pid, signal);
  } catch {
    // It ended between the two lines.
  }
}

/** Ends it in order, or after `patienceMs` by force. Done when it is gone. */
export async function endProcess(id: ProcessId, patienceMs: number): Promise<void> {
  const gone = async (): Promise<true | undefined> => ((await isRunning(id)) ? undefined : true);
  await signalProcess(id, 'SIGTERM');
  if (await poll(gone, patienceMs)) return;
  await signalProcess(id, 'SIGKILL');
  await poll(gone, patienceMs);
}

/** State and start. The program's name, second field, is in parentheses and may hold both spaces and parentheses. */
function parseStat(stat: string): [string | undefined, string | undefined] {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return [fields[0], fields[22 - 3]];
}

/** Asks again and again until `probe` gives something; undefined after `timeoutMs`. */
export async function poll<T>(probe: () => Promise<T | undefined>, timeoutMs: number, intervalMs = 50): Promise<T | undefined> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const found = await probe();
    if (found !== undefined || Date.now() > deadline) return found;
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
  }
}
