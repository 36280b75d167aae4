import { z } from 'zod';

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

const NOTHING: Counts = { passed: 0, failed: 0, skipped: 0 };

export function addCounts(a: Counts, b: Counts): Counts {
  return { passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped };
}

/** The runner's last line. */
export function formatCounts({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed${skipped === 0 ? '' : `, ${skipped} skipped`}`;
}

/** A program that is one check by itself: a linter, the type checker. */
export function countExit(exitCode: number): Counts {
  return exitCode === 0 ? { ...NOTHING, passed: 1 } : { ...NOTHING, failed: 1 };
}

const vitestReport = z.object({
  numPassedTests: z.number(),
  numFailedTests: z.number(),
  numPendingTests: z.number(),
  numTodoTests: z.number(),
  testResults: z.array(z.object({ status: z.string(), assertionResults: z.array(z.object({ status: z.string() })) })),
});

/** Counts in the report of vitest's `json` reporter. A file that fails outside of its tests (it does not load, a hook throws) counts as one failure. */
export function countVitest(report: string, exitCode: number): Counts {
  const parsed = vitestReport.safeParse(parseJson(report));
  if (!parsed.success) return honest(NOTHING, exitCode);
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, testResults } = parsed.data;
  const brokenFiles = testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && assertionResults.every((test) => test.status !== 'failed'),
  );
  const counts = { passed: numPassedTests, failed: numFailedTests + brokenFiles.length, skipped: numPendingTests + numTodoTests };
  return honest(counts, exitCode);
}

/** Counts the lines of a TAP stream (version 14, top level) anywhere in `output`. */
export function countTap(output: string, exitCode: number): Counts {
  let counts = NOTHING;
  for (const line of output.split('\n')) {
    const match = /^(not )?ok\b(.*)$/.exec(line.trimEnd());
    if (match === null) continue;
    const [, not, rest = ''] = match;
    const key = /#\s*(skip|todo)/i.test(rest) ? 'skipped' : not === undefined ? 'passed' : 'failed';
    counts = { ...counts, [key]: counts[key] + 1 };
  }
  return honest(counts, exitCode);
}

/** A part that says it failed without naming a test, and a part that ran nothing, are failures. */
function honest(counts: Counts, exitCode: number): Counts {
  const ranNothing = counts.passed + counts.failed === 0;
  return (exitCode !== 0 && counts.failed === 0) || ranNothing ? { ...counts, failed: counts.failed + 1 } : counts;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
