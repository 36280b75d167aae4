import type { Family } from '../../net/ip.ts';
import { describePaths } from './paths-text.ts';
import type { MatrixPod, MatrixResult, PairResult, ServiceResult } from './types.ts';

export type Style = 'good' | 'bad' | 'dim' | 'bold';
/** Dresses a text for the terminal, or leaves it as it is. */
export type Paint = (style: Style, text: string) => string;

export const plain: Paint = (_, text) => text;

export interface MatrixView {
  readonly lab: string;
  readonly pods: readonly MatrixPod[];
  readonly result: MatrixResult;
  readonly bytes: number;
  readonly durationMs: number;
}

/** `✓ 0.61`; RTTs of a second and more still fit. */
const CELL_WIDTH = 7;
const FAILURES_SHOWN = 20;
const SERVICE_FAILURES_SHOWN = 5;
const MARKS = { ok: '✓', failed: '✗', self: '·', absent: '-' };

/** The whole answer for people: a picture for each family, what failed and what was seen, the paths, one line that sums up. Pure. */
export function renderMatrix(view: MatrixView, paint: Paint = plain): string {
  const { result, pods } = view;
  const families = ([4, 6] as const).filter((family) => result.pairs.some((pair) => pair.family === family));
  return [
    ...families.flatMap((family) => picture(pods, family, result.pairs, paint)),
    paint('dim', legend(view.bytes)),
    ...failures(result.pairs, paint),
    ...section('paths', describePaths(pods, result.pairs), paint),
    ...serviceLines(result.services ?? [], paint),
    '',
    summary(view, paint),
  ].join('\n');
}

/** Rows send, columns receive; regions stand apart. */
function picture(pods: readonly MatrixPod[], family: Family, pairs: readonly PairResult[], paint: Paint): string[] {
  const mine = pairs.filter((pair) => pair.family === family);
  const rows = pods.filter(({ name }) => mine.some(({ from }) => from === name));
  const columns = pods.filter(({ name }) => mine.some(({ to }) => to === name));
  const prefix = commonPrefix(columns.map(({ name }) => name));
  const nameWidth = Math.max(...rows.map(({ name }) => name.length), 'from ↓ to →'.length);
  const regionWidth = Math.max(...rows.map(({ region }) => region.length));
  const width = Math.max(CELL_WIDTH, ...columns.map(({ name }) => name.length - prefix.length + 1));
  const margin = ' '.repeat(regionWidth + 2);
  const blocks = groupByRegion(columns);
  const line = (head: string, cells: (column: MatrixPod) => string): string =>
    `${head} ${blocks.map((block) => `│ ${block.map(cells).join('')}`).join('')}`.trimEnd();
  const regionLine = blocks.map((block) => `│ ${paint('bold', (block[0]?.region ?? '').padEnd(width * block.length))}`).join('');
  return [
    `${margin}${paint('bold', `IPv${family}`.padEnd(nameWidth))} ${regionLine}`.trimEnd(),
    line(`${margin}${paint('dim', 'from ↓ to →'.padEnd(nameWidth))}`, ({ name }) => paint('dim', name.slice(prefix.length).padEnd(width))),
    ...groupByRegion(rows).flatMap((group) => [
      '─'.repeat(margin.length + nameWidth + 1) + blocks.map((block) => `┼${'─'.repeat(1 + width * block.length)}`).join(''),
      ...group.map((row, i) =>
        line(`${paint('bold', (i === 0 ? row.region : '').padEnd(regionWidth))}  ${row.name.padEnd(nameWidth)}`, (column) =>
          cell(row, column, mine, { width, paint }),
        ),
      ),
    ]),
    '',
  ];
}

function cell(row: MatrixPod, column: MatrixPod, pairs: readonly PairResult[], { width, paint }: { width: number; paint: Paint }): string {
  if (row.name === column.name) return paint('dim', MARKS.self.padEnd(width));
  const pair = pairs.find(({ from, to }) => from === row.name && to === column.name);
  if (pair === undefined) return paint('dim', MARKS.absent.padEnd(width));
  const rtt = pair.rttMs === null ? '' : ` ${formatRtt(pair.rttMs)}`;
  return paint(pair.ok ? 'good' : 'bad', pair.ok ? MARKS.ok : MARKS.failed) + rtt.padEnd(width - 1);
}

/** Three digits say enough. */
export function formatRtt(ms: number): string {
  return ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : ms.toFixed(0);
}

function legend(bytes: number): string {
  return `✓ ICMP, TCP (${formatBytes(bytes)} each way, checksum), UDP, own source address; round trip in ms   ✗ failed   · itself`;
}

function failures(pairs: readonly PairResult[], paint: Paint): string[] {
  const both = new Set(pairs.map(({ family }) => family)).size > 1;
  const lines = pairs
    .filter(({ ok }) => !ok)
    .map(({ from, to, family, error, path, icmp }) => {
      const reached = icmp || path.length === 0 ? '' : `; last seen at ${path.at(-1)}`;
      return `${paint('bad', MARKS.failed)} ${from} → ${to}${both ? ` (IPv${family})` : ''}: ${error}${reached}`;
    });
  return section('failures', atMost(FAILURES_SHOWN, lines), paint);
}

/** The rest is one line: nobody reads hundreds. */
function atMost(count: number, lines: readonly string[]): readonly string[] {
  return lines.length <= count ? lines : [...lines.slice(0, count), `… and ${lines.length - count} more: see -o json`];
}

function serviceLines(services: readonly ServiceResult[], paint: Paint): string[] {
  const byService = Map.groupBy(services, ({ service, via }) => `${service} by ${via}`);
  const lines = [...byService].flatMap(([title, checks]) => {
    const broken = checks.filter(({ ok }) => !ok);
    const mark = broken.length === 0 ? paint('good', MARKS.ok) : paint('bad', MARKS.failed);
    const backends = [...new Set(checks.flatMap(({ answeredBy }) => answeredBy ?? []))].toSorted().join(', ');
    return [
      `${mark} ${title}: ${checks.length - broken.length} of ${checks.length} places${backends === '' ? '' : `, answered by ${backends}`}`,
      ...atMost(
        SERVICE_FAILURES_SHOWN,
        broken.map(({ from, address, error }) => `from ${from} to ${address}: ${error}`),
      ).map((line) => `    ${line}`),
    ];
  });
  return section('services', lines, paint);
}

function summary({ lab, result, durationMs }: MatrixView, paint: Paint): string {
  const parts = [countOf(result.pairs, 'pairs'), ...(result.services === undefined ? [] : [countOf(result.services, 'ways to services')])];
  const took = `${(durationMs / 1000).toFixed(1)} s`;
  return paint(result.ok ? 'good' : 'bad', `${result.ok ? MARKS.ok : MARKS.failed} lab ${lab}: ${parts.join(', ')} (${took})`);
}

function countOf(results: readonly { readonly ok: boolean }[], what: string): string {
  const good = results.filter(({ ok }) => ok).length;
  return good === results.length ? `all ${good} ${what} pass` : `${results.length - good} of ${results.length} ${what} fail`;
}

function section(title: string, lines: readonly string[], paint: Paint): string[] {
  return lines.length === 0 ? [] : ['', paint('bold', title), ...lines.map((line) => `  ${line}`)];
}

export function groupByRegion(pods: readonly MatrixPod[]): MatrixPod[][] {
  return [...Map.groupBy(pods, ({ region }) => region).values()];
}

/** `pod-` of `pod-a1`, `pod-b1`: what columns need not repeat. Ends at a hyphen. */
function commonPrefix(names: readonly string[]): string {
  const [first = ''] = names;
  let length = names.length < 2 ? 0 : first.length;
  while (length > 0 && !(first[length - 1] === '-' && names.every((name) => name.startsWith(first.slice(0, length))))) length--;
  return first.slice(0, length);
}

function formatBytes(bytes: number): string {
  if (bytes >= 1 << 20) return `${Number((bytes / (1 << 20)).toFixed(1))} MiB`;
  return bytes >= 1 << 10 ? `${Number((bytes / (1 << 10)).toFixed(1))} KiB` : `${bytes} bytes`;
}
