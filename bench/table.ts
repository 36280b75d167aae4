type Rows = readonly (readonly (string | number)[])[];

/** Prints a table for the note. */
export function printTable(title: string, columns: readonly string[], rows: Rows): void {
  process.stdout.write(formatTable(title, columns, rows));
}

/** A title and aligned columns, as Markdown. */
export function formatTable(title: string, columns: readonly string[], rows: Rows): string {
  const cells = [columns, ...rows.map((row) => row.map(String))];
  const widths = columns.map((_, i) => Math.max(...cells.map((row) => (row[i] ?? '').length)));
  const line = (row: readonly (string | number)[]): string =>
    `| ${row.map((cell, i) => String(cell).padEnd(widths[i] ?? 0)).join(' | ')} |`;
  const ruler = widths.map((width) => '-'.repeat(width)).join(' | ');
  return `\n### ${title}\n\n${line(columns)}\n| ${ruler} |\n${rows.map((row) => `${line(row)}\n`).join('')}`;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const [low, high] = [sorted[Math.ceil(sorted.length / 2) - 1], sorted[Math.floor(sorted.length / 2)]];
  return low === undefined || high === undefined ? Number.NaN : (low + high) / 2;
}

/** The smallest value that a share of all do not exceed. @param share 0 to 1 */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

/** Between which values half of all lie, a quarter below and a quarter above. */
export function middleHalf(values: readonly number[]): [number, number] {
  return [percentile(values, 0.25), percentile(values, 0.75)];
}

export function round(value: number, digits = 1): string {
  return value.toFixed(digits);
}
