/** A projected token is replaced on disk well before it expires; client-go reads it again as often. */
const TOKEN_AGE_MS = 60_000;

/** What `load` gave within the last minute, unless `refresh` says that it is known to be wrong. */
export function remembered<T>(load: () => Promise<T>): (refresh: boolean) => Promise<T> {
  let known: { readonly value: T; readonly readAtMs: number } | undefined;
  return async (refresh) => {
    if (known === undefined || refresh || Date.now() - known.readAtMs >= TOKEN_AGE_MS)
      known = { value: await load(), readAtMs: Date.now() };
    return known.value;
  };
}
