import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { qemuArgv, type VmShape } from './qemu.ts';
import { ensureInitrd } from './initrd.ts';
import { findKernel, type KernelChoice } from './kernel.ts';

export interface VmRun {
  /** Program and arguments, as on this machine: the guest sees this machine's files. */
  readonly argv: readonly [string, ...string[]];
  /** Working directory inside; an absolute path of this machine. */
  readonly cwd: string;
  /** Variables of the command beside `PATH` and `HOME`; nothing else is passed on. */
  readonly env?: Readonly<Record<string, string>>;
  /** Time for all of it, from power-on. */
  readonly timeoutMs: number;
  readonly shape: VmShape;
  /** Where built initial RAM disks are kept. */
  readonly cacheDir: string;
  /** Which kernel to boot. */
  readonly kernel: KernelChoice;
  /** Called with the command's output, stdout and stderr in one, as it comes. */
  readonly onOutput: (chunk: string) => void;
  /** Ends the machine at once; the result is then `stopped`. */
  readonly signal?: AbortSignal;
}

export type VmResult =
  | { readonly kind: 'exited'; readonly exitCode: number; readonly bootMs: number; readonly kernel: string }
  /** No exit code came back: time over, the guest panicked, or qemu failed. `console` has the guest kernel's last words. */
  | { readonly kind: 'timeout' | 'died' | 'stopped'; readonly console: string; readonly kernel: string };

/**
 * Boots a distribution kernel in a virtual machine whose root is this machine's file system, runs one command
 * as root and powers off. All that the guest writes stays in its memory; `/tmp` and `/run` start empty.
 * There is no network but what the command makes.
 *
 * @throws {UserError} when this machine has no fit kernel
 */
export async function runInVm(run: VmRun): Promise<VmResult> {
  const kernel = await findKernel(run.kernel);
  const initrd = await ensureInitrd(kernel, run.cacheDir);
  const share = await mkdtemp(join(tmpdir(), 'raven-vm-'));
  try {
    await writeShare(share, run, kernel.modulesDir);
    const argv = qemuArgv({ kernel: kernel.image, initrd, share, shape: run.shape });
    const outcome = await attend(argv, run);
    const console = await lastLines(join(share, 'console'));
    if (outcome.kind !== 'ended') return { kind: outcome.kind, console, kernel: kernel.version };
    const status = await readFile(join(share, 'status'), 'utf8').catch(() => '');
    if (!/^\d+\n$/.test(status)) return { kind: 'died', console: `${console}\n${outcome.stderr}`.trim(), kernel: kernel.version };
    return { kind: 'exited', exitCode: Number(status), bootMs: outcome.bootMs, kernel: kernel.version };
  } finally {
    await rm(share, { recursive: true, force: true });
  }
}

async function writeShare(share: string, { argv, cwd, env = {} }: VmRun, modulesDir: string): Promise<void> {
  const variables = Object.entries({ HOME: '/root', ...env }).map(([name, value]) => `export ${name}=${shellQuote(value)}\n`);
  const command = argv.map(shellQuote).join(' ');
  await writeFile(
    join(share, 'command.sh'),
    `${variables.join('')}cd ${shellQuote(cwd)} || exit 126\nprintf '${READY}'\nexec ${command}\n`,
  );
  await writeFile(join(share, 'workdir'), `${cwd}\n`);
  await writeFile(join(share, 'modules'), `${modulesDir}\n`);
  await writeFile(join(share, 'guest.sh'), await readFile(new URL('guest.sh', import.meta.url)));
}

/** First byte of the output: the guest is up, the command starts. */
const READY = '\\001';
const READY_BYTE = '\u0001';

export function shellQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

interface Attended {
  readonly kind: 'ended' | 'timeout' | 'stopped';
  readonly bootMs: number;
  readonly stderr: string;
}

/** Lives as long as qemu does. `setpriv` lets the kernel end qemu when this process is gone, however it went. */
async function attend(argv: readonly string[], { timeoutMs, onOutput, signal }: VmRun): Promise<Attended> {
  const startedAt = performance.now();
  let bootMs = 0;
  let stderr = '';
  let kind: Attended['kind'] = 'ended';

  // stdin stays open and silent: at its end qemu would call the port disconnected, and the guest's writes would wait for ever.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...argv], { stdio: 'pipe', detached: true });
  const end = (why: Attended['kind']): void => {
    kind = why;
    child.kill('SIGKILL');
  };
  const timer = setTimeout(() => end('timeout'), timeoutMs);
  const onAbort = (): void => end('stopped');
  signal?.addEventListener('abort', onAbort);
  if (signal?.aborted === true) onAbort();

  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    if (bootMs === 0) bootMs = performance.now() - startedAt;
    onOutput(chunk.replace(READY_BYTE, ''));
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
  try {
    await closed(child);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
  return { kind, bootMs, stderr };
}

function closed(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', () => resolve());
  });
}

/** Enough to see a kernel's panic with its stack. */
const CONSOLE_LINES = 40;

async function lastLines(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return text.trimEnd().split(/\r?\n/).slice(-CONSOLE_LINES).join('\n');
}
