import { createHash } from 'node:crypto';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { createByteReader, type ByteReader } from './byte-reader.ts';
import { payloadAt, payloadDigest } from './payload.ts';
import { HTTP_PORT, MAX_LINE_BYTES, parseTcpRequest, plainAddress, type Receipt, TCP_PORT, UDP_PORT, type Echo } from './protocol.ts';

/** Something that listens. */
export interface Listener {
  close(): void;
}

/** A connection on which nothing moves for so long is given up. Longer than any failover that a stream should survive. */
const IDLE_TIMEOUT_MS = 120_000;

/** Serves all protocols of `protocol.ts` (but DNS) on all addresses; resolves when each of them listens. */
export async function serveProbes(pod: string): Promise<Listener> {
  const tcp = createTcpServer({ allowHalfOpen: true, noDelay: true }, (socket) => void serveTcp(socket, pod));
  const http = createHttpServer((request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(`${JSON.stringify({ pod, source: plainAddress(request.socket.remoteAddress ?? '') })}\n`);
  });
  const [udp4, udp6] = await Promise.all([
    bindUdp('udp4', UDP_PORT),
    bindUdp('udp6', UDP_PORT),
    listen(tcp, TCP_PORT),
    listen(http, HTTP_PORT),
  ]);
  const sockets = [udp4, udp6].filter((socket) => socket !== undefined);
  for (const socket of sockets) serveUdp(socket, pod);
  return {
    close() {
      tcp.close();
      http.close();
      for (const socket of sockets) socket.close();
    },
  };
}

/** Listens on all addresses of both families; of IPv4 alone where the kernel has no IPv6. */
export async function listen(server: Server, port: number): Promise<void> {
  server.listen({ port });
  await once(server, 'listening');
}

/** A socket on all addresses of one family, or undefined where the kernel has no such family. */
export async function bindUdp(type: 'udp4' | 'udp6', port: number): Promise<UdpSocket | undefined> {
  const socket = createSocket({ type, ipv6Only: type === 'udp6' });
  try {
    socket.bind({ port });
    await once(socket, 'listening');
    // Errors of single datagrams (ICMP port unreachable of an earlier answer) must not end the program.
    socket.on('error', () => undefined);
    return socket;
  } catch (error) {
    socket.close();
    if (type === 'udp6') return undefined;
    throw error;
  }
}

function serveUdp(socket: UdpSocket, pod: string): void {
  socket.on('message', (message, { address, port }) => {
    if (message.length > MAX_LINE_BYTES) return;
    const echo: Echo = { pod, sourceIp: plainAddress(address), sourcePort: port, echo: message.toString('utf8') };
    socket.send(JSON.stringify(echo), port, address, () => undefined);
  });
}

async function serveTcp(socket: Socket, pod: string): Promise<void> {
  socket.setTimeout(IDLE_TIMEOUT_MS, () => socket.destroy());
  socket.on('error', () => undefined);
  try {
    const reader = createByteReader(socket);
    const request = parseTcpRequest((await reader.line(MAX_LINE_BYTES)) ?? '');
    const source = { pod, sourceIp: plainAddress(socket.remoteAddress ?? ''), sourcePort: socket.remotePort ?? 0 };
    if (request?.mode === 'up') await answerReceipt(socket, source, await receive(reader, request.bytes));
    if (request?.mode === 'down') await sendPayload(socket, source, request.bytes);
    if (request?.mode === 'echo') await returnBytes(socket, reader);
    socket.end();
  } catch {
    // The client went away or broke the protocol: it sees that itself.
    socket.destroy();
  }
}

async function receive(reader: ByteReader, expected: number): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  while (bytes < expected) {
    const chunk = await reader.bytes(expected - bytes);
    if (chunk === undefined) break;
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { bytes, sha256: hash.digest('hex') };
}

type Source = Pick<Receipt, 'pod' | 'sourceIp' | 'sourcePort'>;

async function answerReceipt(socket: Socket, source: Source, received: { bytes: number; sha256: string }): Promise<void> {
  await write(socket, `${JSON.stringify({ ...source, ...received } satisfies Receipt)}\n`);
}

async function sendPayload(socket: Socket, source: Source, bytes: number): Promise<void> {
  await answerReceipt(socket, source, { bytes, sha256: payloadDigest(bytes) });
  for (let sent = 0; sent < bytes;) {
    const chunk = payloadAt(sent, bytes - sent);
    await write(socket, chunk);
    sent += chunk.length;
  }
}

async function returnBytes(socket: Socket, reader: ByteReader): Promise<void> {
  for (;;) {
    const chunk = await reader.bytes(Infinity);
    if (chunk === undefined) return;
    await write(socket, chunk);
  }
}

/** Writes and waits until there is room for more. @throws when the connection closes meanwhile. */
export async function write(socket: Socket, data: Buffer | string): Promise<void> {
  if (socket.destroyed) throw new Error('connection closed');
  if (socket.write(data)) return;
  const closed = new AbortController();
  const onClose = (): void => closed.abort(new Error('connection closed'));
  socket.once('close', onClose);
  try {
    await once(socket, 'drain', { signal: closed.signal });
  } finally {
    socket.off('close', onClose);
  }
}
