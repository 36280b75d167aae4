import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { createKubeClient, type KubeClientOptions } from './create-kube-client.ts';
import { KubeApiError, type KubeClient, type RequestRecord } from './kube-client.ts';

const NODES = { method: 'GET', path: '/api/v1/nodes' } as const;
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

interface Rig {
  readonly client: KubeClient;
  readonly server: Server;
  readonly host: string;
  readonly records: RequestRecord[];
  /** `refresh` of each time that the credentials were asked for. */
  readonly refreshed: boolean[];
}

/** A server on loopback that answers as told: what a real one never does at the right moment. */
async function start(handler: Handler, options: Partial<KubeClientOptions> = {}): Promise<Rig> {
  const server = createServer(handler).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const [records, refreshed]: [RequestRecord[], boolean[]] = [[], []];
  const access = {
    server: url,
    source: 'edge.kubeconfig',
    options: async (refresh: boolean) => {
      refreshed.push(refresh);
      return { headers: { authorization: `Bearer ${refresh ? 'new' : 'old'}` } };
    },
  };
  const client = createKubeClient(access, { userAgent: 'raven-test', onRequest: (record) => void records.push(record), ...options });
  closing.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  closing.push(() => client.close());
  return { client, server, host: url.host, records, refreshed };
}

function answer(response: ServerResponse, code: number, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(code, headers).end(typeof body === 'string' ? body : JSON.stringify(body));
}

async function readWatch(client: KubeClient, seen: unknown[] = []): Promise<unknown[]> {
  for await (const line of client.watch(NODES)) seen.push(line);
  return seen;
}

const line = (version: number): string =>
  `${JSON.stringify({ type: 'BOOKMARK', object: { metadata: { resourceVersion: `${version}` } } })}\n`;

describe('the client of a Kubernetes API', () => {
  it('waits as long as a 429 asks for, and asks again', async () => {
    let asked = 0;
    const { client, records } = await start((_, response) => {
      if (asked++ < 2) answer(response, 429, '', { 'retry-after': '0' });
      else answer(response, 200, { items: [] });
    });
    expect(await client.request(NODES)).toEqual({ items: [] });
    expect(asked).toBe(3);
    expect(records).toHaveLength(1);
    expect(records[0]).toMatchObject({ verb: 'GET', resource: 'nodes', code: 200, receivedBytes: 12 });
  });

  it('gives up waiting when it is told to stop', async () => {
    const stop = new AbortController();
    const { client } = await start((_, response) => {
      answer(response, 429, '', { 'retry-after': '5' });
      setImmediate(() => stop.abort());
    });
    await expect(client.request({ ...NODES, signal: stop.signal })).rejects.toThrow();
  });

  it('reads its credentials again on 401, once', async () => {
    const { client, refreshed } = await start((request, response) => {
      if (request.headers.authorization === 'Bearer new') answer(response, 200, {});
      else answer(response, 401, { kind: 'Status', reason: 'Unauthorized', message: 'Unauthorized' });
    });
    expect(await client.request(NODES)).toEqual({});
    expect(refreshed).toEqual([false, true]);
  });

  it('says whose credentials are not accepted, and by whom', async () => {
    const { client, host } = await start((_, response) =>
      answer(response, 401, { kind: 'Status', reason: 'Unauthorized', message: 'Unauthorized' }),
    );
    await expect(client.request(NODES)).rejects.toThrow(`${host} does not accept the credentials of edge.kubeconfig: Unauthorized`);
    await expect(readWatch(client)).rejects.toThrow(`${host} does not accept the credentials of edge.kubeconfig: Unauthorized`);
  });

  it('throws the status that the API server answers, of a watch too', async () => {
    const message = 'nodes is forbidden: User "b1" cannot watch resource "nodes"';
    const { client } = await start((_, response) => answer(response, 403, { kind: 'Status', reason: 'Forbidden', message }));
    await expect(client.request(NODES)).rejects.toEqual(new KubeApiError(403, 'Forbidden', message));
    await expect(readWatch(client)).rejects.toEqual(new KubeApiError(403, 'Forbidden', message));
  });

  it('throws what a proxy says that speaks no JSON', async () => {
    const { client } = await start((_, response) => answer(response, 502, '<html>Bad Gateway</html>'));
    await expect(client.request(NODES)).rejects.toEqual(new KubeApiError(502, '', '<html>Bad Gateway</html>'));
  });

  it('puts the lines of a watch together from whatever pieces come, within a character too', async () => {
    const bytes = Buffer.from(`${JSON.stringify({ type: 'ADDED', object: { city: 'Zürich' } })}\n\n${line(7)}`);
    const { client, records } = await start((_, response) => {
      response.writeHead(200);
      const send = (i: number): void => {
        if (i === bytes.length) response.end();
        else response.write(bytes.subarray(i, i + 1), () => setImmediate(send, i + 1));
      };
      send(0);
    });
    expect(await readWatch(client)).toEqual([
      { type: 'ADDED', object: { city: 'Zürich' } },
      { type: 'BOOKMARK', object: { metadata: { resourceVersion: '7' } } },
    ]);
    expect(records).toMatchObject([{ verb: 'WATCH', code: 200, receivedBytes: bytes.length }]);
  });

  it('delivers the lines before a cut, and throws for the one that was cut', async () => {
    const { client } = await start((_, response) => {
      response.writeHead(200);
      response.write(`${line(7)}{"type":"ADDED","obj`, () => setTimeout(() => response.socket?.resetAndDestroy(), 20));
    });
    const seen: unknown[] = [];
    await expect(readWatch(client, seen)).rejects.toThrow(/^watch \/api\/v1\/nodes: /);
    expect(seen).toHaveLength(1);
  });

  it('gives up on an answer that does not begin, and on a watch whose answer does not begin', async () => {
    const { client, host, records } = await start(() => undefined, { answerTimeoutMs: 50 });
    await expect(client.request(NODES)).rejects.toThrow(`GET /api/v1/nodes of http://${host} (edge.kubeconfig): ${host} is silent (50 ms)`);
    await expect(readWatch(client)).rejects.toThrow(`${host} is silent (50 ms)`);
    expect(records).toMatchObject([
      { verb: 'GET', code: undefined },
      { verb: 'WATCH', code: undefined },
    ]);
  });

  it('gives up on a watch without bookmarks after a long silence only', async () => {
    const { client } = await start((_, response) => response.writeHead(200).flushHeaders(), {
      answerTimeoutMs: 10_000,
      quietWatchMs: 50,
    });
    await expect(readWatch(client)).rejects.toThrow(/watch \/api\/v1\/nodes: .*\b(aborted|silent)/);
  });

  it('gives up on a watch that is silent for longer than bookmarks take', async () => {
    const { client } = await start((_, response) => void response.writeHead(200).write(line(7)), { watchSilenceMs: 50 });
    const seen: unknown[] = [];
    await expect(readWatch(client, seen)).rejects.toThrow(/watch \/api\/v1\/nodes: .*\b(aborted|silent)/);
    expect(seen).toHaveLength(1);
  });

  it('opens a new connection when the kept one is closed just as it asks', async () => {
    let connections = 0;
    const { client, server } = await start((request, response) => {
      const { socket } = request;
      // The second request on a connection finds it closed.
      if (sockets.has(socket)) socket.resetAndDestroy();
      else {
        sockets.add(socket);
        answer(response, 200, {});
      }
    });
    const sockets = new Set<unknown>();
    server.on('connection', () => connections++);
    await client.request(NODES);
    await client.request(NODES);
    expect(connections).toBe(2);
  });

  it('asks for nothing by itself when a watch on a kept connection is reset, also while nobody listens any more', async () => {
    const sockets = new Set<Socket>();
    let asked = 0;
    const { client, server } = await start((request, response) => {
      asked++;
      sockets.add(request.socket);
      if (request.url === NODES.path) answer(response, 200, { items: [] });
      else response.writeHead(200).write(line(1));
    });
    const failures: unknown[] = [];
    const note = (error: unknown): void => void failures.push(error);
    process.on('unhandledRejection', note);
    try {
      await client.request(NODES);
      const lines = client.watch({ ...NODES, path: '/api/v1/pods' })[Symbol.asyncIterator]();
      await lines.next();
      expect(sockets.size).toBe(1);
      server.close();
      for (const socket of sockets) socket.resetAndDestroy();
      await expect(lines.next()).rejects.toThrow('watch /api/v1/pods: aborted');
      await expect(client.request(NODES)).rejects.toThrow('ECONNREFUSED');
      await new Promise((resolve) => setImmediate(resolve));
      expect([asked, failures]).toEqual([2, []]);
    } finally {
      process.off('unhandledRejection', note);
    }
  });

  it('says what cannot be reached', async () => {
    const { client, server } = await start(() => undefined);
    await new Promise((resolve) => server.close(resolve));
    await expect(client.request(NODES)).rejects.toThrow(
      /GET \/api\/v1\/nodes of \S+ \(edge\.kubeconfig\): connect ECONNREFUSED 127\.0\.0\.1:\d+/,
    );
  });
});
