import { once } from 'node:events';
import { mkdir, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { createByteReader } from './byte-reader.ts';
import { type Operation, refusalOf } from './operations.ts';
import { parseObject } from './protocol.ts';

/**
 * The control socket: one JSON object a line, `{"id":1,"op":"probe","args":{…}}`, any number at a time. Each is answered, in the order
 * in which they end, by `{"id":1,"result":…}` or `{"id":1,"error":"…"}`; a line that is no request by an error with id null.
 */
export interface ControlServer {
  /** Stops listening and removes the socket. */
  close(): Promise<void>;
}

/** Longest request. */
const MAX_REQUEST_BYTES = 64 << 10;

/** Serves `operations` at `path`, where a socket of an earlier life is replaced. What a client started for itself ends with its connection. */
export async function listenControl(path: string, operations: ReadonlyMap<string, Operation>): Promise<ControlServer> {
  const connections = new Set<Socket>();
  const server = createServer((socket) => {
    connections.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => connections.delete(socket));
    void serveClient(socket, operations);
  });
  await mkdir(dirname(path), { recursive: true });
  await rm(path, { force: true });
  server.listen({ path });
  await once(server, 'listening');
  return {
    async close() {
      for (const socket of connections) socket.destroy();
      server.close();
      await rm(path, { force: true });
    },
  };
}

async function serveClient(socket: Socket, operations: ReadonlyMap<string, Operation>): Promise<void> {
  const gone = new AbortController();
  socket.on('close', () => gone.abort());
  const reader = createByteReader(socket);
  const reply = (answer: object): void => {
    if (!socket.destroyed) socket.write(`${JSON.stringify(answer)}\n`);
  };
  try {
    for (let line = await reader.line(MAX_REQUEST_BYTES); line !== undefined; line = await reader.line(MAX_REQUEST_BYTES)) {
      if (line !== '') void perform(line, operations, gone.signal).then(reply);
    }
    gone.abort();
  } catch (error) {
    reply({ id: null, error: refusalOf(error) });
    socket.end();
  }
}

async function perform(line: string, operations: ReadonlyMap<string, Operation>, signal: AbortSignal): Promise<object> {
  const request = parseObject(line);
  const id = request?.['id'] ?? null;
  const { op, args = {} } = request ?? {};
  const operation = typeof op === 'string' ? operations.get(op) : undefined;
  if (operation === undefined || typeof args !== 'object' || args === null) {
    return { id, error: `bad request: not a known operation; known are ${[...operations.keys()].join(', ')}` };
  }
  try {
    return { id, result: await operation({ ...args }, signal) };
  } catch (error) {
    return { id, error: refusalOf(error) };
  }
}
