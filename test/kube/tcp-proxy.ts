import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** Stands between a client and a server on 127.0.0.1, and does to the bytes what networks do. */
export interface TcpProxy {
  readonly port: number;
  /** Bytes that went through, to the server and back. */
  readonly sentBytes: number;
  readonly receivedBytes: number;
  /** Each piece of an answer comes so much later. */
  setDelay(delayMs: number): void;
  /** Passes nothing on any more, but keeps the connections open: of those that there are, or of later ones too. */
  freeze(which: 'open' | 'all'): void;
  /** New connections work again; frozen ones never do. */
  thaw(): void;
  /** Reads nothing from the server until `resume`, so that it has to wait, or to give up. */
  pause(): void;
  resume(): void;
  /** Resets the connection on which this much has come back from now on. */
  cutAfter(receivedBytes: number): void;
  close(): Promise<void>;
}

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  frozen: boolean;
  /** Bytes that may still come back. */
  left: number;
}

export async function startTcpProxy(targetPort: number): Promise<TcpProxy> {
  const pairs = new Set<Pair>();
  let [sentBytes, receivedBytes, delayMs, isFrozen, isPaused] = [0, 0, 0, false, false];
  const listener = createServer((client) => {
    const pair: Pair = { client, server: connect(targetPort, '127.0.0.1'), frozen: isFrozen, left: Infinity };
    pairs.add(pair);
    const { server } = pair;
    if (isPaused) server.pause();
    client.on('data', (chunk) => {
      if (pair.frozen) return;
      sentBytes += chunk.length;
      server.write(chunk);
    });
    server.on('data', (chunk) => {
      if (pair.frozen) return;
      const passed = chunk.subarray(0, pair.left);
      pair.left -= passed.length;
      receivedBytes += passed.length;
      const pass = (): void => {
        if (client.destroyed) return;
        client.write(passed, () => pair.left <= 0 && end(pair, true));
      };
      if (delayMs === 0) pass();
      else setTimeout(pass, delayMs);
    });
    for (const socket of [client, server]) {
      socket.on('error', () => end(pair, true));
      socket.on('close', () => pair.frozen || end(pair, false));
    }
  }).listen(0, '127.0.0.1');
  await once(listener, 'listening');

  function end(pair: Pair, reset: boolean): void {
    pairs.delete(pair);
    for (const socket of [pair.client, pair.server]) {
      if (reset) socket.resetAndDestroy();
      else socket.end();
    }
  }

  return {
    port: (listener.address() as AddressInfo).port,
    get sentBytes() {
      return sentBytes;
    },
    get receivedBytes() {
      return receivedBytes;
    },
    setDelay: (ms) => {
      delayMs = ms;
    },
    freeze: (which) => {
      isFrozen = which === 'all';
      for (const pair of pairs) pair.frozen = true;
    },
    thaw: () => {
      isFrozen = false;
    },
    pause: () => {
      isPaused = true;
      for (const { server } of pairs) server.pause();
    },
    resume: () => {
      isPaused = false;
      for (const { server } of pairs) server.resume();
    },
    cutAfter: (bytes) => {
      for (const pair of pairs) pair.left = bytes;
    },
    close: async () => {
      listener.close();
      for (const pair of pairs) end(pair, true);
    },
  };
}
