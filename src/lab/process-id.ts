import { readFile } from 'node:fs/promises';

/** A process for good: pids are used again, start times (clock ticks since boot, `proc(5)` stat field 22) tell the two apart. */
export interface ProcessId {
  readonly pid: number;
  readonly startTime: string;
}

/** Looks a running process up. @returns undefined when there is none, or only a zombie that nobody has buried */
export async function lookUpProcess(pid: number): Promise<ProcessId | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  return text === undefined ? undefined : parseStat(pid, text);
}

export async function isAlive({ pid, startTime }: ProcessId): Promise<boolean> {
  return (await lookUpProcess(pid))?.startTime === startTime;
}

/** The content of a pid file of ours: `PID STARTTIME`. */
export function formatPidFile({ pid, startTime }: ProcessId): string {
  return `${pid} ${startTime}\n`;
}

export async function readPidFile(path: string): Promise<ProcessId | undefined> {
  const match = /^(\d+) (\d+)\n$/.exec(await readFile(path, 'utf8').catch(() => ''));
  return match === null ? undefined : { pid: Number(match[1]), startTime: match[2] ?? '' };
}

/** The program's own name stands in parentheses and may hold anything, also spaces and parentheses. */
export function parseStat(pid: number, stat: string): ProcessId | undefined {
  const [state = '', ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const startTime = rest[18];
  return state === 'Z' || state === 'X' || startTime === undefined ? undefined : { pid, startTime };
}
