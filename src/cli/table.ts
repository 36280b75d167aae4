/**
 * Rows in columns that line up, as kubectl prints them: three spaces apart, nothing after the last word of a line.
 *
 * @returns text that ends with a newline
 */
export function formatTable(headers: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [headers, ...rows].map((cells) => cells.map(oneLine));
  const widths = headers.map((_, column) => Math.max(...lines.map((cells) => widthOf(cells[column] ?? ''))));
  return lines
    .map(
      (cells) =>
        `${cells
          .map((cell, column) => pad(cell, widths[column] ?? 0))
          .join('   ')
          .trimEnd()}\n`,
    )
    .join('');
}

function pad(cell: string, width: number): string {
  return cell + ' '.repeat(Math.max(0, width - widthOf(cell)));
}

/** A message of several lines, or one with control characters of a stranger, must not break the table. */
function oneLine(cell: string): string {
  return cell.replaceAll(/[\p{Cc}]+/gu, ' ');
}

/** By characters, not UTF-16 units: a tick or an arrow is one column wide. */
function widthOf(cell: string): number {
  return Array.from(cell).length;
}
