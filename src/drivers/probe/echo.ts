import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { familyOf } from '../../net/ip.ts';

/** What one probe came to. refused: the machine answered that nobody listens there. */
export type Outcome = { readonly rttMs: number; readonly flags: number } | 'refused' | 'silent';

/** Decides what a request is answered with: one byte of flags or two, or undefined for no answer. */
export type Responder = (from: string, flags: number) => number | undefined;

/** Answers and sends UDP echoes between agents. Each carries a byte of flags; a second one, the high one, only while it is not 0. */
export interface Echo {
  /** Address it listens on. */
  readonly address: string;
  /** Sends one echo to the agent that listens on `target`. The request is filled up to `payloadBytes`, the answer is always small. */
  probe(target: string, flags: number, timeoutMs: number, payloadBytes?: number): Promise<Outcome>;
  close(): Promise<void>;
}

/** A byte of kind, one of flags, 8 of identity, perhaps a second one of flags, then filling: an answer is never larger than what asked for it, and never answered. */
const REQUEST = 1;
const ANSWER = 2;
const ID_BYTES = 8;
const MESSAGE_BYTES = 2 + ID_BYTES;

/** Binds to `address`; @throws when it is not there or the port is taken. */
export async function openEcho(address: string, port: number, respond: Responder): Promise<Echo> {
  const socket = await bound(address, port);
  const waiting = createWaiting();
  socket.on('message', (message, from) => {
    if (message.length < MESSAGE_BYTES) return;
    if (message[0] !== REQUEST) return waiting.answered(message);
    const answer = respond(from.address, flagsOf(message));
    if (answer === undefined) return;
    const whole = encode(ANSWER, answer, message.subarray(2, MESSAGE_BYTES));
    send(socket, whole.subarray(0, message.length), { port: from.port, address: from.address });
  });
  return {
    address,
    probe: (target, flags, timeoutMs, payloadBytes) => {
      const { request, outcome } = waiting.begin(flags, timeoutMs, payloadBytes);
      send(socket, request, { port, address: target });
      return outcome;
    },
    close: () => close(socket),
  };
}

/** Echoes to one agent only. A connected socket is told when nobody listens there (`udp(7)`, ECONNREFUSED). */
export interface Caller {
  probe(flags: number, timeoutMs: number): Promise<Outcome>;
  close(): Promise<void>;
}

/** @throws when `address` is not there */
export async function openCaller(address: string, target: string, port: number): Promise<Caller> {
  const socket = await bound(address, 0);
  socket.connect(port, target);
  await once(socket, 'connect');
  const waiting = createWaiting();
  socket.on('message', (message) => {
    if (message.length >= MESSAGE_BYTES && message[0] === ANSWER) waiting.answered(message);
  });
  const refused = (error: NodeJS.ErrnoException | null): void => {
    if (error?.code === 'ECONNREFUSED') waiting.refused();
  };
  socket.on('error', refused);
  return {
    probe: (flags, timeoutMs) => {
      const { request, outcome } = waiting.begin(flags, timeoutMs);
      socket.send(request, refused);
      return outcome;
    },
    close: () => close(socket),
  };
}

async function bound(address: string, port: number): Promise<Socket> {
  const socket = createSocket(familyOf(address) === 6 ? 'udp6' : 'udp4');
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind({ address, port }, () => {
      socket.off('error', reject);
      resolve();
    });
  });
  // A device that goes away makes sends fail; the next probe says so by its silence.
  socket.on('error', () => undefined);
  return socket;
}

/** Probes that have no answer yet. */
function createWaiting() {
  const waiting = new Map<string, (outcome: { flags: number } | 'refused' | 'silent') => void>();
  return {
    begin(flags: number, timeoutMs: number, payloadBytes: number = MESSAGE_BYTES): { request: Buffer; outcome: Promise<Outcome> } {
      const id = randomBytes(ID_BYTES);
      const key = id.toString('hex');
      const startMs = performance.now();
      const outcome = new Promise<Outcome>((resolve) => {
        // An answer may have come while this process was busy: what waits in the socket is read first.
        const timer = setTimeout(() => setImmediate(() => waiting.get(key)?.('silent')), timeoutMs);
        waiting.set(key, (result) => {
          clearTimeout(timer);
          waiting.delete(key);
          resolve(typeof result === 'string' ? result : { rttMs: performance.now() - startMs, ...result });
        });
      });
      const message = encode(REQUEST, flags, id);
      const filling = Buffer.alloc(Math.max(0, payloadBytes - message.length));
      return { request: Buffer.concat([message, filling]), outcome };
    },
    answered: (message: Buffer) => waiting.get(message.subarray(2, MESSAGE_BYTES).toString('hex'))?.({ flags: flagsOf(message) }),
    refused: () => {
      for (const settle of waiting.values()) settle('refused');
    },
  };
}

function encode(kind: number, flags: number, identity: Buffer): Buffer {
  const second = flags > 0xff ? [flags >> 8] : [];
  return Buffer.concat([Buffer.of(kind, flags & 0xff), identity, Buffer.from(second)]);
}

function flagsOf(message: Buffer): number {
  return (message[1] ?? 0) | ((message[MESSAGE_BYTES] ?? 0) << 8);
}

function close(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.close(() => resolve()));
}

function send(socket: Socket, message: Buffer, { port, address }: { readonly port: number; readonly address: string }): void {
  // Unreachable is what silence means anyway.
  socket.send(message, port, address, () => undefined);
}
