import { vi } from 'vitest';
import type { KubeClient, KubeRequest } from './kube-client.ts';

/** An API server's part in a unit test: each request waits here until the test answers it. */
export interface ScriptedClient extends KubeClient {
  /** What was asked, one line each: `GET /api/v1/nodes?limit=500`, `WATCH /api/v1/nodes from 5`. */
  readonly asked: string[];
  /** Waits for the next request that is no watch, and takes it. */
  nextRequest(): Promise<ScriptedRequest>;
  /** Waits for the next watch that is opened, and takes it. */
  nextWatch(): Promise<ScriptedWatch>;
}

export interface ScriptedRequest {
  readonly request: KubeRequest;
  readonly answer: (body: unknown) => void;
  readonly fail: (error: Error) => void;
}

export interface ScriptedWatch {
  readonly request: KubeRequest;
  send(...lines: readonly unknown[]): void;
  /** As the server does when `timeoutSeconds` are over. */
  end(): void;
  /** Nothing more comes, as when the connection is cut or the answer was an error. */
  fail(error: Error): void;
}

const PATIENCE = { timeout: 30_000, interval: 2 };

export function createScriptedClient(): ScriptedClient {
  const asked: string[] = [];
  const requests: ScriptedRequest[] = [];
  const watches: ScriptedWatch[] = [];

  function take<T>(queue: T[], what: string): Promise<T> {
    return vi.waitFor(() => {
      const next = queue.shift();
      if (next === undefined) throw new Error(`no ${what} came; so far: ${asked.join(', ')}`);
      return next;
    }, PATIENCE);
  }

  return {
    asked,
    nextRequest: () => take(requests, 'request'),
    nextWatch: () => take(watches, 'watch'),
    request: <T>(request: KubeRequest): Promise<T> => {
      const { promise, resolve, reject } = Promise.withResolvers<T>();
      asked.push(formatRequest(request));
      requests.push({ request, answer: (body) => resolve(body as T), fail: reject });
      request.signal?.addEventListener('abort', () => reject(new Error('aborted')));
      return promise;
    },
    watch: (request) => {
      asked.push(`WATCH ${request.path} from ${request.query?.['resourceVersion'] ?? ''}`);
      const queue: { readonly line?: unknown; readonly error?: Error }[] = [];
      let wake = (): void => undefined;
      const push = (item: { readonly line?: unknown; readonly error?: Error }): void => {
        queue.push(item);
        wake();
      };
      watches.push({
        request,
        send: (...lines) => {
          for (const line of lines) push({ line });
        },
        end: () => push({}),
        fail: (error) => push({ error }),
      });
      request.signal?.addEventListener('abort', () => push({ error: new Error('aborted') }));
      return (async function* lines() {
        for (;;) {
          const next = queue.shift();
          if (next === undefined) await new Promise<void>((resolve) => (wake = resolve));
          else if (next.error !== undefined) throw next.error;
          else if (next.line === undefined) return;
          else yield next.line;
        }
      })();
    },
    close: async () => undefined,
  };
}

function formatRequest({ method, path, query = {} }: KubeRequest): string {
  const words = Object.entries(query).flatMap(([key, value]) => (value === undefined ? [] : [`${key}=${value}`]));
  return `${method} ${path}${words.length === 0 ? '' : `?${words.join('&')}`}`;
}
