/**
 * SAs that no connection asks for: of a connection that is not loaded, or with other traffic selectors than it has now. Both are texts of swanctl(8), `--list-conns`
 * and `--list-sas`. Pure; one line each.
 */
export function staleSas(connectionsText: string, sasText: string): string[] {
  const wanted = new Set(listSelectors(connectionsText).map(formatSelectors));
  return listSelectors(sasText)
    .map(formatSelectors)
    .filter((each) => !wanted.has(each))
    .map((each) => `SA that no connection asks for: ${each}`);
}

interface Selectors {
  readonly connection: string;
  readonly local: string;
  readonly remote: string;
}

/** Of each CHILD_SA, or each child of a connection. */
function listSelectors(text: string): Selectors[] {
  const found: Selectors[] = [];
  let connection = '';
  let local = '';
  for (const line of text.split('\n')) {
    connection = /^([\w.-]+): /.exec(line)?.[1] ?? connection;
    // Four blanks: those of a child. The addresses of the IKE SA itself have two.
    const [, side, selectors = ''] = /^ {4}(local|remote):? +(.+)$/.exec(line) ?? [];
    if (side === 'local') local = sorted(selectors);
    if (side === 'remote') found.push({ connection, local, remote: sorted(selectors) });
  }
  return found;
}

function formatSelectors({ connection, local, remote }: Selectors): string {
  return `${connection}, ${local} to ${remote}`;
}

function sorted(selectors: string): string {
  return selectors.trim().split(/\s+/).toSorted().join(' ');
}
