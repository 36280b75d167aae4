/** A line that tells people where to change a generated page. */
export const MARKDOWN_HEAD = '<!-- Made by `make generate`; do not edit. -->\n';

/** A table; cells are Markdown of one line. */
export function table(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`;
  return [line(titles), `|${'---|'.repeat(titles.length)}`, ...rows.map(line)].join('\n');
}

/** A page from its parts, with an empty line between them. */
export function page(...parts: readonly string[]): string {
  return `${MARKDOWN_HEAD}\n${parts.filter((part) => part !== '').join('\n\n')}\n`;
}
