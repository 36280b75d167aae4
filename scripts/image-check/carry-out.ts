import { lstat, mkdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { hostExec } from '../../src/drivers/exec/exec.ts';
import { type Instruction, parseCopy } from './dockerfile.ts';

/** Where the instructions of one stage are carried out, and what they see. */
export interface Workplace {
  readonly root: string;
  /** The build context. */
  readonly context: string;
  /** Folder of another stage. */
  readonly rootOf: (stage: string) => string;
  /** Whether `root` is a system of its own; otherwise RUN lines run on this host, in the folder that WORKDIR has below `root`. */
  readonly isSystem: boolean;
  readonly signal: AbortSignal;
}

/** What a container of the image is started with. */
export interface ImageConfig {
  readonly user: string;
  readonly entrypoint: readonly string[];
}

export const CONTAINER = fileURLToPath(new URL('container.sh', import.meta.url));
const RUN_TIMEOUT_MS = 600_000;

/** Carries the instructions out, in order, and collects those that only say how the image is to be started. */
export async function carryOut(instructions: readonly Instruction[], place: Workplace): Promise<ImageConfig> {
  let workdir = '/';
  let config: ImageConfig = { user: '0', entrypoint: [] };
  for (const { keyword, text } of instructions) {
    if (keyword === 'RUN') await run(text, workdir, place);
    else if (keyword === 'COPY') await copy(text, workdir, place);
    else if (keyword === 'USER') config = { ...config, user: text.split(':')[0] ?? text };
    else if (keyword === 'ENTRYPOINT') config = { ...config, entrypoint: z.array(z.string()).parse(JSON.parse(text)) };
    else {
      workdir = resolve(workdir, text);
      await mkdir(join(place.root, workdir), { recursive: true });
    }
  }
  return config;
}

async function run(line: string, workdir: string, { root, isSystem, signal }: Workplace): Promise<void> {
  // A process namespace of its own: when this is interrupted, nothing goes on writing.
  const unshare = ['unshare', '--pid', '--mount-proc', '--fork', '--kill-child'] as const;
  const command = ['env', '-C', isSystem ? workdir : join(root, workdir), '/bin/sh', '-c', line];
  await hostExec([...unshare, ...(isSystem ? [CONTAINER, 'build', root] : []), ...command], { timeoutMs: RUN_TIMEOUT_MS, signal });
}

/** As Docker does it: of a folder the content is copied, and a target with a slash at its end is a folder. */
async function copy(text: string, workdir: string, { root, context, rootOf, signal }: Workplace): Promise<void> {
  const { from, sources, target } = parseCopy(text);
  const to = join(root, resolve(workdir, target));
  for (const source of sources) {
    const path = join(from === undefined ? context : rootOf(from), source);
    const isFolder = (await lstat(path)).isDirectory();
    const folder = isFolder || target.endsWith('/') || target === '.';
    await mkdir(folder ? to : join(to, '..'), { recursive: true });
    const argv = isFolder ? ['-a', `${path}/.`, to] : ['-L', '--preserve=mode', path, folder ? join(to, basename(path)) : to];
    await hostExec(['cp', '--no-preserve=ownership', ...argv], { signal });
  }
}
