import type { Family } from '../../net/ip.ts';

/** Tables `ip lab` and `ip6 lab` for `nft -f`, as far as they have chains; undefined when none has. */
export function labTables(families: readonly Family[], chains: (family: Family) => readonly string[]): string | undefined {
  const tables = families.flatMap((family) => {
    const lines = chains(family);
    return lines.length === 0 ? [] : [`table ip${family === 6 ? '6' : ''} lab {`, ...lines, '}', ''];
  });
  return tables.length === 0 ? undefined : tables.join('\n');
}
