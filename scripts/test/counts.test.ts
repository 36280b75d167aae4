import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { countExit, countTap, countVitest, formatCounts } from './counts.ts';

const report = (passed: number, failed: number, files: readonly (readonly [string, readonly string[]])[]): string =>
  JSON.stringify({
    numPassedTests: passed,
    numFailedTests: failed,
    numPendingTests: 1,
    numTodoTests: 0,
    testResults: files.map(([status, tests]) => ({ status, assertionResults: tests.map((each) => ({ status: each })) })),
  });

describe('countVitest', () => {
  it('takes the numbers of the report', () => {
    expect(countVitest(report(3, 1, [['failed', ['passed', 'failed']]]), 1)).toEqual({ passed: 3, failed: 1, skipped: 1 });
  });

  it('counts a file that does not load as a failure', () => {
    expect(countVitest(report(3, 0, [['failed', []]]), 1)).toMatchObject({ passed: 3, failed: 1 });
  });

  it('counts a failure that no test owns', () => {
    expect(countVitest(report(3, 0, [['passed', ['passed']]]), 1)).toMatchObject({ passed: 3, failed: 1 });
  });

  test.prop([fc.string(), fc.nat(3)])('never passes on a report that is missing or broken', (text, exitCode) => {
    expect(countVitest(text, exitCode)).toEqual({ passed: 0, failed: 1, skipped: 0 });
  });
});

describe('countTap', () => {
  it('counts results at the top level and leaves other output alone', () => {
    const output = 'TAP version 14\nok 1 - a\nnot ok 2 - b\nok 3 - c # SKIP no ESP\n    ok 1 - inner\nokay\n# ok\n1..3\n';
    expect(countTap(output, 1)).toEqual({ passed: 1, failed: 1, skipped: 1 });
  });

  it('fails when nothing ran, or when the program failed after its last test', () => {
    expect(countTap('', 0)).toEqual({ passed: 0, failed: 1, skipped: 0 });
    expect(countTap('ok 1 - a\n', 124)).toEqual({ passed: 1, failed: 1, skipped: 0 });
  });
});

it('counts a check by its exit code', () => {
  expect([countExit(0), countExit(2)].map(formatCounts)).toEqual(['1 passed, 0 failed', '0 passed, 1 failed']);
});
