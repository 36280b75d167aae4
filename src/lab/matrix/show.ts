import { realpath } from 'node:fs/promises';
import { dirname, extname, join } from 'node:path';
import { styleText } from 'node:util';
import { UserError } from '../../lib/errors.ts';
import { createProgress } from '../progress.ts';
import { chooseLab } from '../state.ts';
import type { MatrixFlags } from './command.ts';
import { loadMatrixLab } from './load.ts';
import { selectPairs } from './pairs.ts';
import { type Paint, plain, renderMatrix } from './render.ts';
import { runMatrix } from './run.ts';
import { runServices } from './services.ts';
import type { MatrixLab, MatrixResult } from './types.ts';

const STYLES = { good: 'green', bad: 'red', dim: 'dim', bold: 'bold' } as const;
/** More than any lab needs; the pods' side refuses more as well. */
const MAX_BYTES = 1 << 30;

/**
 * Measures, prints, and tells whether all is well.
 *
 * @throws {UserError} for wrong flags
 */
export async function showMatrix(flags: MatrixFlags): Promise<boolean> {
  if (flags.output !== 'text' && flags.output !== 'json') throw new UserError(`--output must be text or json, not ${flags.output}`);
  const bytes = parseCount('--bytes', flags.bytes, MAX_BYTES);
  const concurrency = parseCount('--concurrency', flags.concurrency, 64);
  const lab = await loadMatrixLab(await chooseLab(flags.name));
  const { pairs, leftOut } = selectPairs(lab, flags);
  for (const { name, node } of leftOut) process.stderr.write(`left out: ${name}, its node ${node} is down\n`);
  const startedAt = performance.now();
  const result = await measure(lab, flags, { bytes, concurrency, pairs: pairs.length });
  const pods = lab.pods.filter((pod) => pod.alive);
  const text =
    flags.output === 'json'
      ? JSON.stringify(result, undefined, 2)
      : renderMatrix({ lab: lab.name, pods, result, bytes, durationMs: performance.now() - startedAt }, painter());
  process.stdout.write(`${text}\n`);
  return result.ok;
}

async function measure(
  lab: MatrixLab,
  flags: MatrixFlags,
  load: { bytes: number; concurrency: number; pairs: number },
): Promise<MatrixResult> {
  const progress = createProgress(process.stderr);
  const { bytes, concurrency } = load;
  const onProgress = (done: number, total: number): void => progress.update(`${Math.floor((100 * done) / total)} %`);
  const matrix = (): Promise<MatrixResult> => runMatrix(lab, { from: flags.from, to: flags.to, bytes, concurrency, onProgress });
  // In a pipe, steps would only be noise.
  const step = <T>(label: string, work: () => Promise<T>): Promise<T> => (process.stderr.isTTY ? progress.step(label, work) : work());
  const result = await step(`measure ${load.pairs} pairs of pods`, matrix);
  if (flags.services !== true) return result;
  const podProgram = await findPodProgram();
  const services = await step(`try ${lab.services.length} services from everywhere`, () => runServices(lab, { podProgram }));
  return { ...result, ok: result.ok && services.every(({ ok }) => ok), services };
}

/** The pod program stands beside the running one. */
async function findPodProgram(): Promise<[string, ...string[]]> {
  const entry = await realpath(process.argv[1] ?? '');
  return [process.execPath, join(dirname(entry), `pod${extname(entry)}`)];
}

function parseCount(source: string, text: string, max: number): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= 1 && count <= max) return count;
  throw new UserError([{ source, message: `must be a whole number from 1 to ${max}, not ${text}` }]);
}

/** `hasColors` knows NO_COLOR and TERM=dumb; a pipe has no such method. */
function painter(): Paint {
  const colourful = process.stdout.isTTY && process.stdout.hasColors(16);
  return colourful ? (style, text) => styleText(STYLES[style], text, { validateStream: false }) : plain;
}
