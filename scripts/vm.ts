import { Command, InvalidArgumentError } from 'commander';
import { messageOf, UserError } from '../src/lib/errors.ts';
import { initrdCacheDir, unpackedKernelsDir } from './kernel-lab/places.ts';
import { defaultShape } from './kernel-lab/qemu.ts';
import { runInVm, type VmResult } from './kernel-lab/vm.ts';

/**
 * Runs a command under the distribution's kernel: `node scripts/vm.ts -- ip link add x type xfrm dev lo if_id 1`.
 * Ends with the command's exit code; 124 when the time was over, 125 when the machine died, 2 when this system is unfit.
 */
const program = new Command('vm')
  .description('Runs a command in a virtual machine with the distribution kernel, on this file system (changes are discarded)')
  .argument('<command...>', 'program and arguments')
  .option('--timeout <seconds>', 'end the machine after this time', positive, 600)
  .option('--env <NAME=VALUE...>', 'variables for the command', [])
  .option('--memory <MiB>', 'memory of the machine', positive, defaultShape().memoryMiB)
  .option('--kernel <version>', 'begin of a version, such as 6.12 (see scripts/setup.sh kernels); default: the newest of /boot')
  .option('--kvm', 'use /dev/kvm (faster where it works)')
  .passThroughOptions()
  .action(async (argv: [string, ...string[]], options: Options) => {
    process.exitCode = await main(argv, options);
  });

interface Options {
  readonly timeout: number;
  readonly env: readonly string[];
  readonly memory: number;
  readonly kernel?: string;
  readonly kvm?: true;
}

await program.parseAsync();

async function main(argv: [string, ...string[]], options: Options): Promise<number> {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stop.abort());
  try {
    const result = await runInVm({
      argv,
      cwd: process.cwd(),
      env: Object.fromEntries(options.env.map(splitVariable)),
      timeoutMs: options.timeout * 1000,
      shape: { ...defaultShape(), memoryMiB: options.memory, accel: options.kvm === true ? 'kvm' : 'tcg' },
      cacheDir: initrdCacheDir(),
      kernel: { unpackedDir: unpackedKernelsDir(), wanted: options.kernel },
      onOutput: (chunk) => process.stdout.write(chunk),
      signal: stop.signal,
    });
    return conclude(result, options.timeout);
  } catch (error) {
    console.error(messageOf(error));
    return error instanceof UserError ? 2 : 125;
  }
}

function conclude(result: VmResult, timeoutSeconds: number): number {
  switch (result.kind) {
    case 'exited':
      console.error(`vm: Linux ${result.kernel}, started in ${(result.bootMs / 1000).toFixed(1)} s, exit code ${result.exitCode}`);
      return result.exitCode;
    case 'stopped':
      return 130;
    case 'timeout':
      console.error(`vm: ended after ${timeoutSeconds} s; the guest kernel's last words:\n${result.console}`);
      return 124;
    case 'died':
      console.error(`vm: the machine ended without an exit code; its last words:\n${result.console}`);
      return 125;
  }
}

function splitVariable(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at < 1) throw new UserError([{ source: '--env', message: `'${text}' is not NAME=VALUE` }]);
  return [text.slice(0, at), text.slice(at + 1)];
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('must be a whole number above 0');
  return value;
}
