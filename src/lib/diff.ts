export interface Diff<T> {
  readonly add: readonly T[];
  readonly remove: readonly T[];
}

/** Compares two sets of `T` by their canonical text. Both results are in that text's order, so a plan prints the same every time. */
export function diffBy<T>(current: readonly T[], desired: readonly T[], textOf: (item: T) => string): Diff<T> {
  const have = new Map(current.map((item) => [textOf(item), item]));
  const want = new Map(desired.map((item) => [textOf(item), item]));
  return { add: missingFrom(have, want), remove: missingFrom(want, have) };
}

function missingFrom<T>(other: ReadonlyMap<string, T>, from: ReadonlyMap<string, T>): T[] {
  return [...from]
    .filter(([key]) => !other.has(key))
    .toSorted(([a], [b]) => compareText(a, b))
    .map(([, item]) => item);
}

/** Orders by code units, the same on every machine and locale. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
