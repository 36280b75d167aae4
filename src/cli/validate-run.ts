import { formatProblem, type Problem } from '../lib/errors.ts';
import { parseManifest } from '../store/dir/manifest.ts';
import { type ManifestInput, readManifestInputs } from './manifest-input.ts';

interface Checked {
  readonly ok: boolean;
  readonly files: number;
  readonly objects: readonly { readonly kind: string; readonly name: string; readonly file: string; readonly line?: number }[];
  /** Documents of kinds that Raven does not know. */
  readonly passedOver: number;
  readonly problems: readonly Problem[];
}

/** @returns whether all is good */
export async function runValidate({ filename, output }: { filename: readonly string[]; output: string }): Promise<boolean> {
  const checked = checkManifests(await readManifestInputs(filename));
  process.stdout.write(output === 'json' ? `${JSON.stringify(checked, undefined, 2)}\n` : formatProblems(checked));
  if (output !== 'json') process.stderr.write(`raven: ${summary(checked)}\n`);
  return checked.ok;
}

/** Checks all texts, each on its own, and that none has an object which another has already. */
export function checkManifests(inputs: readonly ManifestInput[]): Checked {
  const manifests = inputs.map(({ name, text }) => parseManifest(text, name));
  const places = new Map<string, string>();
  const problems = manifests.flatMap((manifest) => [
    ...manifest.problems,
    ...manifest.objects.flatMap(({ key, object, file, line }): Problem[] => {
      const place = `${file}${line === undefined ? '' : `:${line}`}`;
      const first = places.get(key);
      if (first === undefined) places.set(key, place);
      const message = `${object.kind} ${object.metadata.name} is already in ${first}`;
      return first === undefined ? [] : [{ source: file, ...(line !== undefined && { line }), path: 'metadata.name', message }];
    }),
  ]);
  const objects = manifests.flatMap((manifest) =>
    manifest.objects.map(({ object: { kind, metadata }, file, line }) => ({
      kind,
      name: metadata.name,
      file,
      ...(line !== undefined && { line }),
    })),
  );
  const passedOver = manifests.reduce((sum, manifest) => sum + manifest.passedOver, 0);
  return { ok: problems.length === 0, files: inputs.length, objects, passedOver, problems };
}

function formatProblems({ problems }: Checked): string {
  return problems.map((problem) => `${formatProblem(problem)}\n`).join('');
}

function summary({ files, objects, passedOver, problems }: Checked): string {
  const parts = [`${count(objects.length, 'valid object')} in ${count(files, 'file')}`];
  if (passedOver > 0) parts.push(`${count(passedOver, 'document')} of other kinds passed over`);
  parts.push(problems.length === 0 ? 'no problems' : count(problems.length, 'problem'));
  return parts.join(', ');
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}
