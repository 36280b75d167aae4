import { type NftState, nftStateOf } from '../domain/nft-text.ts';
import type { NftChain, NftSet } from '../domain/node-plan.ts';
import { type Cidr, cidrsOverlap, compareCidrs } from '../net/cidr.ts';

type Chain = NftState['chains'][number];

/**
 * What one `nft -f` transaction makes of a table, for scripts as `diffNft` writes them.
 *
 * @throws what nft would refuse, and at any command that it does not know
 */
export function runNftScript(before: NftState | undefined, script: string): NftState | undefined {
  let table = before;
  let chain: Chain | undefined;
  for (const raw of script.split('\n')) {
    const line = raw.trim();
    if (/^add table inet \S+$/.test(line)) table ??= emptyTable(line.split(' ')[3] ?? '');
    else if (/^delete table inet \S+$/.test(line)) table = remove(table);
    else if (/^table inet \S+ \{$/.test(line)) table ??= emptyTable(line.split(' ')[2] ?? '');
    else if (line.startsWith('set ')) table = { ...existing(table), sets: [...existing(table).sets, parseSet(line)] };
    else if (line.startsWith('chain '))
      chain = { name: line.split(' ')[1] ?? '', type: 'filter', hook: 'input', priority: 0, policy: '', rules: [] };
    else if (line.startsWith('type ')) chain = { ...existing(chain), ...parseHook(line) };
    else if (line === '}' && chain !== undefined) {
      table = { ...existing(table), chains: [...existing(table).chains, chain] };
      chain = undefined;
    } else if (/^(add|delete) element /.test(line)) table = changeElements(existing(table), line);
    else if (chain !== undefined) chain = { ...chain, rules: [...chain.rules, /comment "([^"]*)"$/.exec(line)?.[1] ?? 'handle 1'] };
    else if (line !== '}' && line !== '') throw new Error(`nft: syntax error: ${line}`);
  }
  return table && sorted(table);
}

function emptyTable(name: string): NftState {
  return nftStateOf({ name, sets: [], chains: [] });
}

function remove(table: NftState | undefined): undefined {
  existing(table);
}

function existing<T>(object: T | undefined): T {
  if (object === undefined) throw new Error('No such file or directory');
  return object;
}

function parseSet(line: string): NftSet {
  const [, name = '', type = '', , elements = ''] =
    /^set (\S+) \{ type (\S+); flags interval;( elements = \{ (.*) \};)? \}$/.exec(line) ?? [];
  return { name, type: type as NftSet['type'], elements: insert([], elements.split(', ').filter((each) => each !== '') as Cidr[]) };
}

function parseHook(line: string): Pick<Chain, 'type' | 'hook' | 'priority' | 'policy'> {
  const [, type = '', hook = '', priority, policy = ''] = /^type (\S+) hook (\S+) priority (\S+); policy (\S+);$/.exec(line) ?? [];
  return { type: type as NftChain['type'], hook: hook as NftChain['hook'], priority: Number(priority), policy };
}

function changeElements(table: NftState, line: string): NftState {
  const [, verb, name, list = ''] = /^(add|delete) element inet \S+ (\S+) \{ (.*) \}$/.exec(line) ?? [];
  const elements = list.split(', ') as Cidr[];
  const set = existing(table.sets.find((each) => each.name === name));
  const changed = { ...set, elements: verb === 'add' ? insert(set.elements, elements) : take(set.elements, elements) };
  return { ...table, sets: table.sets.map((each) => (each === set ? changed : each)) };
}

/** Interval sets refuse overlaps. */
function insert(current: readonly Cidr[], added: readonly Cidr[]): Cidr[] {
  const all = [...current];
  for (const element of added) {
    if (all.some((each) => each !== element && cidrsOverlap(each, element)))
      throw new Error(`interval overlaps with an existing one: ${element}`);
    if (!all.includes(element)) all.push(element);
  }
  return all.toSorted(compareCidrs);
}

function take(current: readonly Cidr[], removed: readonly Cidr[]): Cidr[] {
  for (const element of removed) existing(current.find((each) => each === element));
  return current.filter((each) => !removed.includes(each));
}

function sorted(table: NftState): NftState {
  const byName = <T extends { readonly name: string }>(list: readonly T[]): T[] => list.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return { ...table, chains: byName(table.chains), sets: byName(table.sets) };
}
