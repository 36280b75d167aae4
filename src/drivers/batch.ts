import { messageOf } from '../lib/errors.ts';
import { CommandError, type Exec } from './exec/exec.ts';

/** A line that could not be carried out, and what the tool said. */
export interface BatchFailure {
  /** Position in the given lines. */
  readonly index: number;
  readonly error: string;
}

/**
 * Runs every line through one `ip -force -batch -` (or `bridge`): a line that fails does not stop the others.
 * To delete what is not there is no failure.
 *
 * @param argv the tool with its options, such as `['ip', '-6']`
 */
export async function runBatch(exec: Exec, argv: readonly [string, ...string[]], lines: readonly string[]): Promise<BatchFailure[]> {
  return run(
    exec,
    argv,
    lines.map((text, index) => ({ text, index })),
    false,
  );
}

interface Line {
  readonly text: string;
  readonly index: number;
}

async function run(exec: Exec, argv: readonly [string, ...string[]], lines: readonly Line[], again: boolean): Promise<BatchFailure[]> {
  try {
    await exec([...argv, '-force', '-batch', '-'], { stdin: lines.map(({ text }) => `${text}\n`).join('') });
    return [];
  } catch (error) {
    if (!(error instanceof CommandError) || error.exitCode === undefined)
      return lines.map(({ index }) => ({ index, error: messageOf(error) }));
    const { failures, rest } = parseBatchErrors(error.stderr);
    if (rest !== '') return divide(exec, argv, lines, rest);
    return failures.flatMap(({ line, message }) => {
      const failed = lines[line - 1];
      return failed === undefined || isHarmless(failed.text, message, again) ? [] : [{ index: failed.index, error: message }];
    });
  }
}

/**
 * iproute2 gives up a whole batch at a word that it cannot parse, such as the name of a device that is not there (its `invarg()`), and
 * does not say at which line. So the halves are run again, until the line stands alone.
 */
async function divide(exec: Exec, argv: readonly [string, ...string[]], lines: readonly Line[], message: string): Promise<BatchFailure[]> {
  const [first] = lines;
  if (first === undefined) return [];
  if (lines.length === 1) return isHarmless(first.text, message, true) ? [] : [{ index: first.index, error: message }];
  const half = Math.ceil(lines.length / 2);
  const left = await run(exec, argv, lines.slice(0, half), true);
  return [...left, ...(await run(exec, argv, lines.slice(half), true))];
}

/** @param again the line may have been carried out before, so to add what is there is no failure either */
function isHarmless(line: string, message: string, again: boolean): boolean {
  const [, verb] = line.split(' ');
  if (verb === 'del')
    return /No such (process|file or directory)|Cannot find device|Device does not exist|Cannot assign requested address/.test(message);
  return again && verb === 'add' && message.includes('File exists');
}

export interface BatchErrors {
  /** Lines count from 1. */
  readonly failures: readonly { readonly line: number; readonly message: string }[];
  /** What was said after the last failed line: why the batch was given up. Empty when it was not. */
  readonly rest: string;
}

/** Reads stderr of `ip -force -batch -`: each failed line's message, then `Command failed -:LINE`. */
export function parseBatchErrors(stderr: string): BatchErrors {
  const failures: { line: number; message: string }[] = [];
  let message: string[] = [];
  for (const text of stderr.split('\n')) {
    const line = /^Command failed -:(\d+)$/.exec(text)?.[1];
    if (line === undefined) {
      if (text.trim() !== '') message.push(text.trim());
      continue;
    }
    failures.push({ line: Number(line), message: message.join('; ') });
    message = [];
  }
  return { failures, rest: message.join('; ') };
}
