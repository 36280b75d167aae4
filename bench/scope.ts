/** What stands now, as the functions that remove it. */
const standing = new Set<() => Promise<unknown>>();
let isEnding = false;

/** Does `work`, and removes afterwards what it has built; when the program is interrupted meanwhile `removeAll` does that instead. */
export async function withRemoval<T>(remove: () => Promise<unknown>, work: () => Promise<T>): Promise<T> {
  if (isEnding) throw new Error('interrupted');
  standing.add(remove);
  try {
    return await work();
  } finally {
    if (standing.delete(remove)) await remove();
  }
}

/** Before the program ends early: nothing is built any more after it. */
export async function removeAll(): Promise<void> {
  isEnding = true;
  for (const remove of standing) {
    standing.delete(remove);
    await remove();
  }
}
