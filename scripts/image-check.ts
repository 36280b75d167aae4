import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { CommandError, hostExec } from '../src/drivers/exec/exec.ts';
import { messageOf } from '../src/lib/errors.ts';
import { bootstrap, createTreeCache, type Distribution, hostDistribution } from './image-check/base.ts';
import { carryOut, CONTAINER, type ImageConfig, type Workplace } from './image-check/carry-out.ts';
import { cacheablePrefix, ignoredSources, parseDockerfile, type Stage } from './image-check/dockerfile.ts';

/**
 * `make test-image`: makes the image's content without a container engine, by carrying out deploy/Dockerfile in folders, and runs its programs
 * as pods would: read-only, without privileges, in namespaces of their own. Prints TAP (version 14). Needs root; what takes long is kept in
 * ~/.cache/raven. In place of the Dockerfile's Debian stands this host's own release, bootstrapped from the host's own package sources.
 */
const CONTEXT = fileURLToPath(new URL('..', import.meta.url));
const NODE_TIMEOUT_MS = 120_000;

const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => stop.abort());
let number = 0;
await main();

async function main(): Promise<void> {
  const stages = parseDockerfile(await readFile(join(CONTEXT, 'deploy/Dockerfile'), 'utf8'));
  await check('the build context has what the Dockerfile copies', async () => {
    const ignored = ignoredSources(stages, await readFile(join(CONTEXT, '.dockerignore'), 'utf8'));
    if (ignored.length > 0) throw new Error(`.dockerignore keeps out: ${ignored.join(', ')}`);
  });
  const distribution = process.getuid?.() === 0 ? await hostDistribution() : { unfit: 'only root can make namespaces' };
  if ('unfit' in distribution) skip('the image is made and its programs run', distribution.unfit);
  else {
    // Not /tmp: too small where it is in memory.
    const folder = await mkdtemp('/var/tmp/raven-image-');
    try {
      await checkImage(stages, distribution, folder);
    } finally {
      // What was killed a moment ago may not be gone yet.
      await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 500 });
    }
  }
  console.log(`1..${number}`);
}

async function checkImage(stages: readonly Stage[], distribution: Distribution, folder: string): Promise<void> {
  const { codename, arch } = distribution;
  console.log(`# base: ${codename} ${arch} in place of ${stages.at(-1)?.image}`);
  const cacheDir = process.env['RAVEN_CACHE'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'raven');
  const cache = createTreeCache(cacheDir, stop.signal);
  const rootOf = (stage: string): string => join(folder, `stage-${stage}`);

  let image: { root: string; config: ImageConfig } | undefined;
  for (const stage of stages) {
    const root = rootOf(stage.name);
    // An image of Node.js only builds, and this host builds the same with its own Node.js.
    const isSystem = !stage.image.startsWith('node:');
    const place: Workplace = { root, context: CONTEXT, rootOf, isSystem, signal: stop.signal };
    const made = await check(`stage ${stage.name || 'image'} is made`, async () => {
      const kept = isSystem ? cacheablePrefix(stage) : [];
      if (isSystem) await fillSystem(stage.name || 'final', kept, place);
      image = { root, config: await carryOut(withWorkdir(stage, kept.length), place) };
    });
    if (!made) return;
  }
  if (image !== undefined) await checkPrograms(image);

  /** The distribution, and the instructions that need nothing of the checkout. */
  async function fillSystem(name: string, kept: Stage['instructions'], place: Workplace): Promise<void> {
    const { root, signal } = place;
    await cache.fill(name, keyOf([codename, arch, JSON.stringify(kept)]), root, async () => {
      await cache.fill('base', keyOf([codename, arch]), root, () => bootstrap(distribution, root, signal));
      await carryOut(kept, place);
    });
  }
}

/** What comes after the kept part; a WORKDIR in that still counts. */
function withWorkdir({ instructions }: Stage, from: number): Stage['instructions'] {
  return [...instructions.slice(0, from).filter(({ keyword }) => keyword === 'WORKDIR'), ...instructions.slice(from)];
}

async function checkPrograms({ root, config: { user, entrypoint } }: { root: string; config: ImageConfig }): Promise<void> {
  const [size = ''] = (await hostExec(['du', '-smx', root])).split('\t');
  console.log(`# image: ${size} MB, user ${user}, entrypoint ${entrypoint.join(' ')}`);
  const node = (...command: string[]) => onNode(root, user, command);
  await check('raven starts as the user of the image', async () => {
    const { version } = z.object({ version: z.string() }).parse(JSON.parse(await readFile(join(CONTEXT, 'package.json'), 'utf8')));
    const output = await node('user', ...entrypoint, '--version');
    if (output.trim() !== version) throw new Error(`it says ${output}, not ${version}`);
  });
  await check('agent, charon and controller tell their options', async () => {
    for (const program of ['agent', 'charon', 'controller']) await node('user', ...entrypoint, program, '--help');
  });
  await check('the programs that the agent calls are there, those of the build are not', () => node('programs'));
  await check('the controller works without root, without capabilities, on a read-only file system', () => node('controller'));
  await check('agent and charon set a gateway up with NET_ADMIN alone and a read-only /proc/sys', () => node('agent'));
  await check('agent and wireguard-go do so too', () => node('agent_wireguard'));
}

/** Runs a function of container.sh on a node of its own, with which all its processes, mounts and devices go. */
function onNode(root: string, user: string, command: readonly string[]): Promise<string> {
  const namespaces = ['unshare', '--net', '--pid', '--mount-proc', '--fork', '--kill-child', 'env', `IMAGE_USER=${user}`] as const;
  return hostExec([...namespaces, CONTAINER, 'node', root, ...command], { timeoutMs: NODE_TIMEOUT_MS, signal: stop.signal });
}

/** One line of TAP, with the time it took; what a program wrote when it failed. */
async function check(title: string, body: () => Promise<unknown>): Promise<boolean> {
  const begin = performance.now();
  number += 1;
  try {
    stop.signal.throwIfAborted();
    await body();
    console.log(`ok ${number} - ${title} (${seconds(begin)})`);
    return true;
  } catch (error) {
    console.log(`not ok ${number} - ${title} (${seconds(begin)})`);
    console.log((error instanceof CommandError ? wordsOf(error) : messageOf(error)).replaceAll(/^/gm, '  # '));
    process.exitCode = 1;
    return false;
  }
}

/** The end is where the reason stands. */
function wordsOf({ argv, exitCode, stderr, cause }: CommandError): string {
  const output = typeof cause === 'object' && cause !== null && 'stdout' in cause ? String(cause.stdout) : '';
  const lines = `${output}\n${stderr}`.trim().split('\n').slice(-40);
  return [argv.join(' '), `exit code ${exitCode ?? 'none'}`, ...lines].join('\n');
}

function skip(title: string, reason: string): void {
  number += 1;
  console.log(`ok ${number} - ${title} # SKIP ${reason}`);
}

function seconds(begin: number): string {
  return `${((performance.now() - begin) / 1000).toFixed(1)} s`;
}

function keyOf(parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 12);
}
