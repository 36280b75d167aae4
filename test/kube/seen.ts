import { expect, vi } from 'vitest';
import type { Kind } from '../../src/api/kinds.ts';
import type { ClusterStore } from '../../src/store/cluster-store.ts';
import { KubeApiError, type KubeClient } from '../../src/store/kube/kube-client.ts';
import { keyOfObject } from '../../src/store/object.ts';

const PATIENCE = { timeout: 60_000, interval: 20 };

/** What a store's watch delivered, and what its client saw of the API server. */
export class Seen {
  /** `KEY@RESOURCEVERSION`, in order. */
  readonly sets: string[] = [];
  readonly deletes: string[] = [];
  /** Lists from the first page on. */
  lists = 0;
  watches = 0;
  /** Times that the API server said 410, by status or in the watch. */
  gone = 0;
  readonly #now = new Map<string, string>();

  /** Resolves when the first objects are there. */
  async follow(store: ClusterStore, kind: Kind): Promise<void> {
    let synced = false;
    store.watch(kind, (event) => {
      if (event.type === 'synced') synced = true;
      else if (event.type === 'delete') {
        this.deletes.push(event.name);
        for (const key of this.#now.keys()) if (key.endsWith(`/${event.name}`)) this.#now.delete(key);
      } else {
        const key = keyOfObject(event.object);
        const set = `${key}@${event.object.metadata.resourceVersion}`;
        this.sets.push(set);
        this.#now.set(key, set);
      }
    });
    await vi.waitFor(() => expect(synced).toBe(true), PATIENCE);
  }

  state(): string[] {
    return [...this.#now.values()].toSorted();
  }

  watching(client: KubeClient): KubeClient {
    const note = (error: unknown): void => {
      if (error instanceof KubeApiError && error.code === 410) this.gone++;
    };
    const noteLine = (line: unknown): void => {
      const { type, object } = line as { type: string; object: { code?: number } };
      if (type === 'ERROR' && object.code === 410) this.gone++;
    };
    return {
      ...client,
      request: (request) => {
        if (request.query?.['limit'] !== undefined && request.query['continue'] === undefined) this.lists++;
        return client.request(request);
      },
      watch: (request) => {
        this.watches++;
        return noting(client.watch(request), noteLine, note);
      },
    };
  }
}

async function* noting(lines: AsyncIterable<unknown>, onLine: (line: unknown) => void, onError: (error: unknown) => void): AsyncGenerator {
  try {
    for await (const line of lines) {
      onLine(line);
      yield line;
    }
  } catch (error) {
    onError(error);
    throw error;
  }
}
