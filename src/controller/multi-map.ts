/** Many values to a key, each once. */
export interface MultiMap {
  add(key: string, value: string): void;
  delete(key: string, value: string): void;
  /** In the order in which they were added. */
  get(key: string): ReadonlySet<string>;
  /** Keys that have a value. */
  keys(): IterableIterator<string>;
}

const NONE: ReadonlySet<string> = new Set();

export function createMultiMap(): MultiMap {
  const sets = new Map<string, Set<string>>();
  return {
    add: (key, value) => {
      const set = sets.get(key);
      if (set === undefined) sets.set(key, new Set([value]));
      else set.add(value);
    },
    delete: (key, value) => {
      const set = sets.get(key);
      if (set?.delete(value) === true && set.size === 0) sets.delete(key);
    },
    get: (key) => sets.get(key) ?? NONE,
    keys: () => sets.keys(),
  };
}
