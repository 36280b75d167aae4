import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { addCounts, formatCounts, type Counts } from './test/counts.ts';
import { listParts, type Part } from './test/parts.ts';
import { removeAbandonedLabs } from './test/abandoned-labs.ts';
import { runPart } from './test/run-part.ts';

/**
 * `make test`: every part one after the other, all of them even when one fails; the last line is `N passed, N failed`.
 * Arguments choose groups: `node scripts/test.ts lint unit`.
 */
process.chdir(fileURLToPath(new URL('..', import.meta.url)));
const colour = process.stdout.isTTY && process.stdout.hasColors();
const paint = (code: number, text: string): string => (colour ? `\u001B[${code}m${text}\u001B[0m` : text);
const write = (text: string): void => void process.stdout.write(`${text}\n`);
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop.abort());
// Nobody reads any more (`| head`): what was started is ended, as on a signal.
process.stdout.on('error', () => stop.abort());

const folder = await mkdtemp(join(tmpdir(), 'raven-test-'));
try {
  process.exitCode = await main(process.argv.slice(2));
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function main(wanted: readonly string[]): Promise<number> {
  const reportFile = join(folder, 'report.json');
  const all = listParts(process.execPath, reportFile);
  const unknown = wanted.filter((name) => all.every(({ group }) => group !== name));
  if (unknown.length > 0) {
    process.stderr.write(`test: no group ${unknown.join(', ')} (there are: ${[...new Set(all.map(({ group }) => group))].join(', ')})\n`);
    return 2;
  }

  let total: Counts = { passed: 0, failed: 0, skipped: 0 };
  const failed: string[] = [];
  for (const part of all.filter(({ group, onRequest }) => (wanted.length === 0 ? onRequest !== true : wanted.includes(group)))) {
    const counts = await show(part, reportFile);
    if (stop.signal.aborted) break;
    total = addCounts(total, counts);
    if (counts.failed > 0) failed.push(part.title);
  }
  if (stop.signal.aborted) {
    process.stderr.write('test: interrupted\n');
    return 130;
  }
  write(failed.length === 0 ? '' : `\nfailed: ${failed.join(', ')}`);
  write(formatCounts(total));
  return total.failed === 0 ? 0 : 1;
}

async function show(part: Part, reportFile: string): Promise<Counts> {
  const begin = performance.now();
  if (part.show === 'live') write(`\n${paint(1, part.title)}`);
  const onLine = (line: string): void => void (part.show === 'live' && write(`    ${line}`.trimEnd()));
  const outcome = await runPart(part, { reportFile, onLine, colour, signal: stop.signal });
  if (part.group.startsWith('lab')) await removeAbandonedLabs();

  const counts = part.count(outcome);
  if (stop.signal.aborted) return counts;
  const ok = counts.failed === 0;
  const seconds = `${((performance.now() - begin) / 1000).toFixed(1)} s`;
  const what = part.show === 'live' ? formatCounts(counts) : part.title;
  write(`  ${ok ? paint(32, '✓') : paint(31, '✗')} ${what.padEnd(58)} ${paint(2, seconds.padStart(8))}`);
  if (!ok && part.show === 'on failure') write(outcome.output.replaceAll(/^/gm, '    ').trimEnd());
  return counts;
}
