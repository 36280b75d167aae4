import { execFile } from 'node:child_process';

export interface ExecOptions {
  readonly stdin?: string;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** Runs one program to completion. The only way in which a driver may touch the host besides sockets and files. */
export interface Exec {
  /**
   * @param argv program and arguments; never a shell string
   * @returns stdout
   * @throws {CommandError} on a non-zero exit, a signal, or a timeout
   */
  (argv: readonly [string, ...string[]], options?: ExecOptions): Promise<string>;
}

/** A program that failed, with all that an operator needs to run it again by hand. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly argv: readonly string[];
  readonly exitCode: number | undefined;
  readonly stderr: string;

  constructor(argv: readonly string[], exitCode: number | undefined, stderr: string, options?: ErrorOptions) {
    super(`${argv.join(' ')}: ${stderr.trim() || `exit code ${exitCode ?? 'none'}`}`, options);
    this.argv = argv;
    this.exitCode = exitCode;
    this.stderr = stderr;
  }
}

/** Whether the program itself was not found. */
export function isMissing({ cause }: CommandError): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
}

/** Generous: a virtual machine under software emulation takes seconds for what takes milliseconds elsewhere. */
const DEFAULT_TIMEOUT_MS = 30_000;

export const hostExec: Exec = ([file, ...args], { stdin, timeoutMs = DEFAULT_TIMEOUT_MS, signal } = {}) =>
  new Promise((resolve, reject) => {
    const child = execFile(
      file,
      args,
      { timeout: timeoutMs, maxBuffer: 64 << 20, env: { ...process.env, LC_ALL: 'C' }, ...(signal && { signal }) },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else
          reject(
            new CommandError([file, ...args], typeof error.code === 'number' ? error.code : undefined, stderr || error.message, {
              cause: error,
            }),
          );
      },
    );
    // The program may end without reading: its exit code tells more than our EPIPE.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(stdin);
  });

/** Runs everything inside a named network namespace (`ip-netns(8)`). */
export function netnsExec(netns: string, exec: Exec = hostExec): Exec {
  return (argv, options) => exec(['ip', 'netns', 'exec', netns, ...argv], options);
}
