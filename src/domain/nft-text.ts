import { compareText } from '../lib/compare.ts';
import { fnv1a } from '../lib/hash.ts';
import type { Cidr } from '../net/cidr.ts';
import type { NftChain, NftSet, NftTable } from './node-plan.ts';

/** An nft table without what differs from listing to listing. A rule is the hash that its comment carries, or its text when it has none of ours. */
export interface NftState {
  readonly name: string;
  readonly chains: readonly (NftChain & { readonly policy: string })[];
  readonly sets: readonly NftSet[];
  /** Objects and flags that we never make. */
  readonly other: readonly string[];
}

/** Every nft chain of ours lets pass what no rule stopped. */
const POLICY = 'accept';

/** The table as `nft -f` reads it and puts it in place in one transaction, whatever was there: no packet sees it half done. */
export function formatNftScript(table: NftTable): string {
  return [
    `add table inet ${table.name}`,
    `delete table inet ${table.name}`,
    `table inet ${table.name} {`,
    ...table.sets.map(formatSet),
    ...table.chains.flatMap(formatChain),
    '}',
  ].join('\n');
}

function formatSet({ name, type, elements }: NftSet): string {
  const list = elements.length === 0 ? '' : ` elements = { ${elements.join(', ')} };`;
  return `  set ${name} { type ${type}; flags interval;${list} }`;
}

function formatChain({ name, type, hook, priority, rules }: NftChain): string[] {
  return [
    `  chain ${name} {`,
    `    type ${type} hook ${hook} priority ${priority}; policy ${POLICY};`,
    ...rules.map((rule) => `    ${rule} comment "${ruleHash(rule)}"`),
    '  }',
  ];
}

/** Stands for a rule's text in its comment: listings print rules in words that change from one nft version to the next. */
export function ruleHash(rule: string): string {
  return `raven:${fnv1a(rule).toString(16).padStart(8, '0')}`;
}

/** How a listing of `table` looks. Elements are in the order of their text: any fixed order does, and numbers cost a hundred times as much. */
export function nftStateOf({ name, chains, sets }: NftTable): NftState {
  return {
    name,
    chains: chains.map((chain) => ({ ...chain, policy: POLICY, rules: chain.rules.map(ruleHash) })).toSorted(byName),
    sets: sets.map((set) => ({ ...set, elements: set.elements.toSorted(compareText) })).toSorted(byName),
    other: [],
  };
}

/**
 * The nft commands that turn `have` into `want`, to be run in one transaction: single elements when only
 * the contents of sets differ, else the whole table.
 */
export function diffNft(have: NftState | undefined, want: NftTable | undefined): string[] {
  if (want === undefined) return have === undefined ? [] : [`delete table inet ${have.name}`];
  const wanted = nftStateOf(want);
  if (have === undefined || shapeOf(have) !== shapeOf(wanted)) return [formatNftScript(want)];
  return wanted.sets.flatMap((set, index) => diffElements(want.name, set, have.sets[index]?.elements ?? []));
}

/** Removals first: an interval set refuses what overlaps (`nft(8)`, flags interval). */
function diffElements(table: string, { name, elements }: NftSet, current: readonly Cidr[]): string[] {
  const have = new Set(current);
  const want = new Set(elements);
  const remove = current.filter((element) => !want.has(element));
  const add = elements.filter((element) => !have.has(element));
  return [
    ...(remove.length === 0 ? [] : [`delete element inet ${table} ${name} { ${remove.join(', ')} }`]),
    ...(add.length === 0 ? [] : [`add element inet ${table} ${name} { ${add.join(', ')} }`]),
  ];
}

/** A table in one text: equal tables have equal texts. */
export function formatNftState(state: NftState): string {
  return [shapeOf(state), ...state.sets.map(({ name, elements }) => `${name}: ${elements.join(' ')}`)].join('\n');
}

/** All of a table except the contents of its sets. */
function shapeOf({ name, chains, sets, other }: NftState): string {
  const chainTexts = chains.map((chain) => [chain.name, chain.type, chain.hook, chain.priority, chain.policy, ...chain.rules].join(' '));
  return [name, ...chainTexts, ...sets.map((set) => `${set.name} ${set.type}`), ...other].join('\n');
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return compareText(a.name, b.name);
}
