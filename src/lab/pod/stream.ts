import type { LongRun } from './long-run.ts';
import { networkFault } from './network-fault.ts';
import { isPayloadAt, payloadAt } from './payload.ts';
import type { TcpRequest } from './protocol.ts';
import { openConnection, type Target } from './tcp-client.ts';

export interface StreamOptions {
  readonly bytesPerSecond: number;
  readonly seconds: number;
}

/** A long stream through the target's echo, and what became of it. */
export interface StreamReport {
  readonly connected: boolean;
  readonly sentBytes: number;
  readonly receivedBytes: number;
  /** Every byte that came back was the right one. */
  readonly intact: boolean;
  /** Longest time in which nothing came back while something was on its way. */
  readonly longestStallMs: number;
  readonly error: string | undefined;
}

/** Sends in small portions and expects each byte back; ends after `seconds`, on `stop`, or when the connection breaks. */
export function startStream(target: Target, { bytesPerSecond, seconds }: StreamOptions): LongRun<StreamReport> {
  const startedAt = performance.now();
  const abort = new AbortController();
  const socket = openConnection(target, abort.signal);
  const state = {
    connected: false,
    sentBytes: 0,
    receivedBytes: 0,
    intact: true,
    longestStallMs: 0,
    error: undefined as string | undefined,
  };
  let lastProgressAt = startedAt;
  let ending = false;

  function measureStall(): void {
    if (state.connected && state.receivedBytes === state.sentBytes) lastProgressAt = performance.now();
    state.longestStallMs = Math.max(state.longestStallMs, Math.round(performance.now() - lastProgressAt));
  }

  function send(): void {
    measureStall();
    if (!state.connected || ending) return;
    const due = Math.floor(((performance.now() - startedAt) / 1000) * bytesPerSecond);
    // One portion at a time; when the path stalls, the rest waits here and not in memory.
    if (socket.writableLength === 0 && due > state.sentBytes) {
      const chunk = payloadAt(state.sentBytes, due - state.sentBytes);
      socket.write(chunk);
      state.sentBytes += chunk.length;
    }
    if (performance.now() - startedAt >= seconds * 1000) finish();
  }

  function finish(): void {
    if (ending) return;
    ending = true;
    if (state.connected) socket.end();
    else abort.abort();
  }

  socket.on('connect', () => {
    // The opening line; what follows is payload.
    socket.write(`${JSON.stringify({ mode: 'echo', bytes: 0 } satisfies TcpRequest)}\n`);
    state.connected = true;
  });
  socket.on('data', (chunk) => {
    measureStall();
    lastProgressAt = performance.now();
    if (!isPayloadAt(state.receivedBytes, chunk)) state.intact = false;
    state.receivedBytes += chunk.length;
  });
  socket.on('error', (error) => (state.error ??= ending && !state.connected ? 'no connection in time' : networkFault(error)));
  const timer = setInterval(send, 10);
  // A dead path must not keep the run alive for ever after its time.
  const deadline = setTimeout(() => abort.abort(), (seconds + 15) * 1000);
  // Not `once` of node:events: that one fails with the socket, and a broken connection is a result here.
  const finished = new Promise((resolve) => socket.once('close', resolve)).then(() => {
    clearInterval(timer);
    clearTimeout(deadline);
    if (state.receivedBytes < state.sentBytes) state.error ??= 'closed early';
    return { ...state };
  });
  return { report: () => ({ ...state }), stop: finish, finished };
}
