import type { Connection } from './connection.ts';
import { type Attempts, isPlanned, retryDelayMs } from './reconcile.ts';
import { type IkeSa, isCarrying } from './sas.ts';

/** Calls to peers that led to nothing yet. */
export interface AttemptBook {
  /** By peer. */
  readonly open: ReadonlyMap<string, Attempts>;
  /** Notes a call; returns when the next one may be made, in epoch milliseconds. */
  add(connection: Connection, ikeSas: readonly IkeSa[], nowMs: number): number;
  /** Forgets calls that succeeded or had another aim: they say nothing about the next. */
  settle(connections: readonly Connection[], ikeSas: readonly IkeSa[]): void;
  clear(): void;
}

/** @param random in [0, 1) */
export function createAttemptBook(random: () => number): AttemptBook {
  const open = new Map<string, Attempts & { readonly aim: string }>();
  return {
    open,
    add(connection, ikeSas, nowMs) {
      const { peer, name, children } = connection;
      const count = (open.get(peer)?.count ?? 0) + 1;
      const narrow = ikeSas.some((sa) => sa.name === name && sa.children.some(isCarrying));
      const notBeforeMs = nowMs + retryDelayMs(count, random(), narrow);
      open.set(peer, { aim: children[0], count, notBeforeMs });
      return notBeforeMs;
    },
    settle(connections, ikeSas) {
      const aims = new Map(connections.map((connection) => [connection.peer, connection]));
      for (const [peer, { aim }] of open) {
        const connection = aims.get(peer);
        const own = ikeSas.filter(({ name }) => name === connection?.name).flatMap(({ children }) => children);
        if (connection?.children[0] !== aim || own.some((child) => isCarrying(child) && isPlanned(child, connection))) open.delete(peer);
      }
    },
    clear: () => open.clear(),
  };
}
