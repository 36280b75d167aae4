/** Random numbers that depend on a seed alone. */
export interface Random {
  /** In [0, 1). */
  next(): number;
  /** A whole number, both ends included. */
  int(min: number, max: number): number;
  /** Between both, small ones as likely as large ones by order of magnitude. */
  spread(min: number, max: number): number;
  chance(probability: number): boolean;
  /** @throws on an empty list */
  pick<T>(items: readonly T[]): T;
}

/** Mulberry32 (Tommy Ettinger): 32 bits of state, enough for histories that are only ever replayed. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const int = (min: number, max: number): number => min + Math.floor(next() * (max - min + 1));
  return {
    next,
    int,
    spread: (min, max) => Math.round(min * (max / min) ** next()),
    chance: (probability) => next() < probability,
    pick: <T>(items: readonly T[]): T => {
      if (items.length === 0) throw new RangeError('nothing to pick from');
      return items[int(0, items.length - 1)] as T;
    },
  };
}
