import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { networkFault } from './network-fault.ts';
import { createByteReader } from './byte-reader.ts';
import { payloadAt, payloadDigest } from './payload.ts';
import { MAX_LINE_BYTES, parseReceipt, type Receipt, type TcpRequest } from './protocol.ts';
import { write } from './servers.ts';

/** One direction of a transfer. */
export interface Transfer {
  /** All bytes arrived and their checksum is right. */
  readonly ok: boolean;
  /** Bytes that arrived at the far end of this direction, as far as is known. */
  readonly bytes: number;
  readonly expected: number;
  readonly pod: string | undefined;
  readonly sourceIp: string | undefined;
  readonly durationMs: number;
  readonly error: string | undefined;
}

export interface Target {
  readonly ip: string;
  readonly port: number;
}

/** Sends `bytes` to a pod, which counts them. Never rejects: what went wrong is in the result. */
export function upload(target: Target, bytes: number, signal: AbortSignal): Promise<Transfer> {
  return transfer(target, { mode: 'up', bytes }, signal, async (socket) => {
    for (let sent = 0; sent < bytes;) {
      const chunk = payloadAt(sent, bytes - sent);
      await write(socket, chunk);
      sent += chunk.length;
    }
    const receipt = parseReceipt((await createByteReader(socket).line(MAX_LINE_BYTES)) ?? '');
    if (receipt === undefined) return { error: 'closed without an answer' };
    return { receipt, bytes: receipt.bytes, sha256: receipt.sha256 };
  });
}

/** Fetches `bytes` from a pod. Never rejects. */
export function download(target: Target, bytes: number, signal: AbortSignal): Promise<Transfer> {
  let received = 0;
  let receipt: Receipt | undefined;
  return transfer(
    target,
    { mode: 'down', bytes },
    signal,
    async (socket) => {
      const reader = createByteReader(socket);
      const hash = createHash('sha256');
      receipt = parseReceipt((await reader.line(MAX_LINE_BYTES)) ?? '');
      if (receipt === undefined) return { error: 'closed without an answer' };
      while (received < bytes) {
        const chunk = await reader.bytes(bytes - received);
        if (chunk === undefined) break;
        hash.update(chunk);
        received += chunk.length;
      }
      return { receipt, bytes: received, sha256: hash.digest('hex') };
    },
    () => ({ receipt, bytes: received }),
  );
}

interface Outcome {
  readonly receipt?: Receipt | undefined;
  readonly bytes?: number;
  readonly sha256?: string;
  readonly error?: string;
}

async function transfer(
  target: Target,
  request: TcpRequest,
  signal: AbortSignal,
  talk: (socket: Socket) => Promise<Outcome>,
  soFar: () => Outcome = () => ({}),
): Promise<Transfer> {
  const startedAt = performance.now();
  const connection = openConnection(target, signal);
  let outcome: Outcome;
  try {
    await once(connection, 'connect');
    await write(connection, `${JSON.stringify(request)}\n`);
    outcome = await talk(connection);
  } catch (error) {
    outcome = { ...soFar(), error: describe(error, connection, signal) };
  } finally {
    connection.destroy();
  }
  const { receipt, bytes = 0, sha256, error } = outcome;
  const wrong =
    error ?? (bytes < request.bytes ? 'closed early' : sha256 === payloadDigest(request.bytes) ? undefined : 'checksum differs');
  return {
    ok: wrong === undefined,
    bytes,
    expected: request.bytes,
    pod: receipt?.pod,
    sourceIp: receipt?.sourceIp,
    durationMs: Math.round(performance.now() - startedAt),
    error: wrong,
  };
}

/** A connection that is destroyed when `signal` aborts; its errors end nothing but itself. */
export function openConnection({ ip, port }: Target, signal: AbortSignal): Socket {
  const socket = connect({ host: ip, port, noDelay: true, signal });
  // Each wait reports the failure itself; this only keeps a late one from ending the program.
  socket.on('error', () => undefined);
  return socket;
}

function describe(error: unknown, socket: Socket, signal: AbortSignal): string {
  if (!signal.aborted) return networkFault(error);
  return socket.connecting || socket.bytesWritten === 0 ? 'no connection in time' : 'stalled';
}
