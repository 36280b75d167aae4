import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { listKernels } from './kernel-lab/kernel.ts';
import { unpackedKernelsDir } from './kernel-lab/places.ts';

/**
 * `make test-kernel-matrix`: drivers, families and ways (test/kernel/matrix.ts) on every kernel that is there: the newest of each release in
 * `/boot` and among the unpacked ones. Prints TAP.
 */

/** Seven minutes were seen. */
const TIMEOUT_S = 600;
process.chdir(fileURLToPath(new URL('..', import.meta.url)));
let vm: ReturnType<typeof spawn> | undefined;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    vm?.kill(signal);
    process.exitCode = 130;
  });
}

const kernels = await listKernels(unpackedKernelsDir());
let worst = kernels.length === 0 ? 1 : 0;
if (kernels.length < 2) console.log('ok 0 - another kernel # SKIP only one kernel is here: scripts/setup.sh kernels');
for (const kernel of kernels) {
  if (process.exitCode === 130) break;
  console.log(`# Linux ${kernel}`);
  const code = await runIn(kernel);
  worst = Math.max(worst, code);
}
process.exitCode ??= worst;

function runIn(kernel: string): Promise<number> {
  const script = join('test', 'kernel', 'matrix.ts');
  const argv = ['scripts/vm.ts', '--kernel', kernel, '--timeout', String(TIMEOUT_S), '--', process.execPath, script];
  vm = spawn(process.execPath, argv, { stdio: 'inherit' });
  return new Promise((resolve) => vm?.once('exit', (code) => resolve(code ?? 1)));
}
