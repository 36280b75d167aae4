import type { Kind } from '../../api/kinds.ts';
import type { Clock } from '../../lib/clock.ts';
import { systemClock } from '../../lib/clock.ts';
import type { ClusterStore } from '../cluster-store.ts';
import { createCopyFile } from './copy-file.ts';
import { createMirroredKind, type MirroredKind, type MirrorSource } from './mirrored-kind.ts';

export interface MirrorOptions {
  /** The store that stands on the API; closed together with the mirror. */
  readonly store: ClusterStore;
  /** Where the copies are; made when it is not there, for root only. */
  readonly dir: string;
  /** Kinds of which a copy is kept; all others go to `store`. */
  readonly kinds: readonly Kind[];
  readonly log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
  readonly clock?: Clock;
  /** How long the API may take to deliver all objects of a kind before the copy is taken. */
  readonly graceMs?: number;
}

export interface MirrorStore extends ClusterStore {
  /** Of the kinds that are watched: where the objects came from, and when the copy was written (epoch milliseconds). */
  mirrored(): readonly { readonly kind: Kind; readonly source: MirrorSource; readonly savedMs: number | undefined }[];
}

/** An answer takes some 100 ms; peers must be back from disk within 5 s of an agent's start (R22), and planning takes its time too. */
const GRACE_MS = 1_000;

/**
 * A ClusterStore whose watches also start while the API is away: from the copies that it keeps on disk of what the API last said.
 *
 * Once the API has delivered all objects of a kind (`synced`; a list that fails never does), watchers hear of the differences only, deletions
 * included, and an empty answer is the truth as any other. Reads and writes go to the API.
 */
export function createMirrorStore({ store, dir, kinds, log, clock = systemClock, graceMs = GRACE_MS }: MirrorOptions): MirrorStore {
  const mirrored = new Map<Kind, MirroredKind<Kind>>();

  function mirrorOf<K extends Kind>(kind: K): MirroredKind<K> {
    const known = mirrored.get(kind);
    if (known !== undefined) return known as unknown as MirroredKind<K>;
    const made = createMirroredKind({ kind, store, file: createCopyFile(dir, kind), clock, graceMs, log });
    mirrored.set(kind, made as unknown as MirroredKind<Kind>);
    return made;
  }

  return {
    list: (kind) => store.list(kind),
    get: (kind, name, namespace) => store.get(kind, name, namespace),
    watch: (kind, onEvent) => (kinds.includes(kind) ? mirrorOf(kind).watch(onEvent) : store.watch(kind, onEvent)),
    updateStatus: (kind, object) => store.updateStatus(kind, object),
    apply: (kind, object) => store.apply(kind, object),
    remove: (kind, name, namespace) => store.remove(kind, name, namespace),
    problems: () => store.problems(),
    onProblems: (listener) => store.onProblems(listener),
    mirrored: () => [...mirrored].map(([kind, each]) => ({ kind, source: each.source(), savedMs: each.savedMs() })),
    close: async () => {
      await Promise.all([...mirrored.values()].map((each) => each.close()));
      await store.close();
    },
  };
}
