/** One line of a Dockerfile, with its continuation lines. */
export interface Instruction {
  /** `RUN`, `COPY` …, in capital letters. */
  readonly keyword: string;
  /** What stands behind it; continuation lines joined by one space. */
  readonly text: string;
}

export interface Stage {
  /** What `AS` says; empty for the last one, as a rule. */
  readonly name: string;
  readonly image: string;
  readonly instructions: readonly Instruction[];
}

export interface Copy {
  /** The stage that it copies from; undefined: the build context. */
  readonly from: string | undefined;
  readonly sources: readonly string[];
  readonly target: string;
}

/** What `carryOut` understands; a Dockerfile with anything else is refused rather than half tried. */
const KEYWORDS = new Set(['RUN', 'COPY', 'WORKDIR', 'USER', 'ENTRYPOINT']);

/**
 * Reads the part of the Dockerfile language that ours uses: stages, shell form of RUN, COPY with `--from`.
 *
 * @throws on anything else
 */
export function parseDockerfile(text: string): Stage[] {
  const stages: { name: string; image: string; instructions: Instruction[] }[] = [];
  for (const line of logicalLines(text)) {
    const [, word = '', rest = ''] = /^(\S+)\s+(.*)$/s.exec(line) ?? [];
    const keyword = word.toUpperCase();
    if (keyword === 'FROM') {
      const [, image = '', name = ''] = /^(\S+)(?:\s+AS\s+(\S+))?$/i.exec(rest) ?? [];
      if (image === '') throw new Error(`not understood: ${line}`);
      stages.push({ name, image, instructions: [] });
      continue;
    }
    const stage = stages.at(-1);
    if (stage === undefined || !KEYWORDS.has(keyword)) throw new Error(`not understood: ${line}`);
    stage.instructions.push({ keyword, text: rest });
  }
  return stages;
}

/** @throws when it has other options than `--from` */
export function parseCopy(text: string): Copy {
  const words = text.split(/\s+/);
  const options = words.filter((word) => word.startsWith('--'));
  const from = /^--from=(\S+)$/.exec(options[0] ?? '')?.[1];
  const paths = words.slice(options.length);
  const target = paths.at(-1);
  if (options.length > (from === undefined ? 0 : 1) || target === undefined || paths.length < 2)
    throw new Error(`not understood: COPY ${text}`);
  return { from, sources: paths.slice(0, -1), target };
}

/** The instructions that depend on nothing of the checkout: the result can be kept. */
export function cacheablePrefix(stage: Stage): readonly Instruction[] {
  const end = stage.instructions.findIndex(({ keyword }) => keyword === 'COPY');
  return end === -1 ? stage.instructions : stage.instructions.slice(0, end);
}

/** Of the context's files that are copied, those which a `.dockerignore` of the form `*`, `!path`, `!path` … keeps out. */
export function ignoredSources(stages: readonly Stage[], dockerignore: string): string[] {
  const lines = dockerignore.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const [first, ...exceptions] = lines;
  if (first !== '*' || exceptions.some((line) => !line.startsWith('!')))
    throw new Error('not understood: .dockerignore is not `*` and exceptions');
  const open = exceptions.map((line) => line.slice(1));
  return contextSources(stages).filter((source) => !open.some((path) => source === path || source.startsWith(`${path}/`)));
}

/** All files and folders of the build context that are copied. */
export function contextSources(stages: readonly Stage[]): string[] {
  const copies = stages.flatMap(({ instructions }) =>
    instructions.filter(({ keyword }) => keyword === 'COPY').map(({ text }) => parseCopy(text)),
  );
  return copies.filter(({ from }) => from === undefined).flatMap(({ sources }) => sources);
}

/** Without comments, also those between continuation lines, and with each continued line in one. */
function logicalLines(text: string): string[] {
  const lines = text.split('\n').filter((line) => !/^\s*(#|$)/.test(line));
  return lines
    .join('\n')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .map((line) => line.trim());
}
