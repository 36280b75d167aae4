/** One thing that is wrong with what the user gave us, and where it stands. */
export interface Problem {
  /** File, or `--flag`; absent when the input has no name. */
  readonly source?: string;
  /** Line in `source`, counted from 1. */
  readonly line?: number;
  /** Field path such as `spec.endpoints[0].port`. */
  readonly path?: string;
  readonly message: string;
}

/** The user's input is wrong: reported in full, without a stack, and the program ends with exit code 2. */
export class UserError extends Error {
  override readonly name = 'UserError';
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[] | string, options?: ErrorOptions) {
    const list = typeof problems === 'string' ? [{ message: problems }] : problems;
    super(list.map(formatProblem).join('\n'), options);
    this.problems = list;
  }
}

/** Something outside of the program does not do what was asked of it: reported in its own words, without a stack; exit code 1. */
export class OutsideError extends Error {
  override readonly name: string = 'OutsideError';
}

/** `topologies/rig.yaml:12: regions[0].name: is required` */
export function formatProblem({ source, line, path, message }: Problem): string {
  const place = source === undefined ? '' : `${source}${line === undefined ? '' : `:${line}`}: `;
  return `${place}${path === undefined || path === '' ? '' : `${path}: `}${message}`;
}

/** The text of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
