import type { DataPath } from '../../domain/node-plan.ts';
import { messageOf } from '../../lib/errors.ts';
import { CommandError, type Exec, isMissing } from '../exec/exec.ts';

export interface DataPathChoice {
  readonly dataPath: DataPath;
  /** Why, in words for an operator; shown in status. */
  readonly reason: string;
}

/** An object that a data path needs. */
export interface Trial {
  readonly what: string;
  /** For `ip -batch`; several where something must come first. */
  readonly line: string;
  readonly undo: string;
}

/**
 * Makes one of each object in a network namespace that ends with the trial. The host's own are not touched; modules that the kernel has but has
 * not loaded are loaded by this.
 *
 * A container without CAP_SYS_ADMIN may not make namespaces: the objects are made right here for a moment then.
 *
 * @returns what the kernel lacks, with its words
 */
export async function tryAll(exec: Exec, trials: readonly Trial[]): Promise<string[]> {
  return (await Promise.all(trials.map((trial) => attempt(exec, trial)))).flat();
}

/**
 * Makes the object in a network namespace that ends with it; where that may not be, right here, and takes it away.
 *
 * @returns what failed and why, or nothing
 */
export async function attempt(exec: Exec, { what, line, undo }: Trial): Promise<string[]> {
  try {
    await exec(['unshare', '--net', 'ip', '-batch', '-'], { stdin: `${line}\n` });
    return [];
  } catch (error) {
    if (!isUnshareRefused(error)) return [`${what} (${summary(error)})`];
  }
  const run = (command: string): Promise<string> => exec(['ip', '-batch', '-'], { stdin: `${command}\n` });
  // What a trial that was killed left behind.
  await run(undo).catch(() => undefined);
  try {
    await run(line);
    await run(undo);
    return [];
  } catch (error) {
    return [`${what} (${summary(error)})`];
  }
}

function isUnshareRefused(error: unknown): boolean {
  return error instanceof CommandError && (isMissing(error) || /^unshare: .*not permitted/m.test(error.stderr));
}

/** iproute2's own words, without its remarks about the batch. */
function summary(error: unknown): string {
  if (!(error instanceof CommandError)) return messageOf(error);
  const lines = error.stderr.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('Command failed'));
  return (lines[0] ?? error.message).replace(/^Error: |^RTNETLINK answers: /, '').replace(/\.$/, '');
}
