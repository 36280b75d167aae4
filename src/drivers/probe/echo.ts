import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { familyOf } from '../../net/ip.ts';

/** Answers and sends UDP echoes between agents, through the tunnels. */
export interface Echo {
  /**
   * Round trip in milliseconds to the agent that listens on `address`. The request is filled up to `payloadBytes`, the answer is always small.
   * @returns undefined when no answer came in time
   */
  measure(address: string, timeoutMs: number, payloadBytes?: number): Promise<number | undefined>;
  /** Address it listens on. */
  readonly address: string;
  close(): Promise<void>;
}

/** One byte of kind and 8 of identity, then filling: an answer is never larger than what asked for it, and never answered. */
const REQUEST = 1;
const ANSWER = 2;
const MESSAGE_BYTES = 9;

/** Binds to `address`; @throws when it is not there or the port is taken. */
export async function openEcho(address: string, port: number): Promise<Echo> {
  const socket = createSocket(familyOf(address) === 6 ? 'udp6' : 'udp4');
  const waiting = new Map<string, (nowMs: number) => void>();
  socket.on('message', (message, from) => {
    if (message.length < MESSAGE_BYTES) return;
    const identity = message.subarray(1, MESSAGE_BYTES);
    const id = identity.toString('hex');
    if (message[0] === REQUEST) send(socket, Buffer.concat([Buffer.of(ANSWER), identity]), from.port, from.address);
    else waiting.get(id)?.(performance.now());
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind({ address, port }, () => {
      socket.off('error', reject);
      resolve();
    });
  });
  // A device that goes away makes sends fail; the next measurement says so by its silence.
  socket.on('error', () => undefined);
  return {
    address,
    measure: (target, timeoutMs, payloadBytes = MESSAGE_BYTES) =>
      new Promise((resolve) => {
        const id = randomBytes(MESSAGE_BYTES - 1);
        const key = id.toString('hex');
        const startMs = performance.now();
        const timer = setTimeout(() => finish(undefined), timeoutMs);
        const finish = (nowMs: number | undefined): void => {
          clearTimeout(timer);
          waiting.delete(key);
          resolve(nowMs === undefined ? undefined : nowMs - startMs);
        };
        waiting.set(key, finish);
        const filling = Buffer.alloc(Math.max(0, payloadBytes - MESSAGE_BYTES));
        send(socket, Buffer.concat([Buffer.of(REQUEST), id, filling]), port, target);
      }),
    close: () => new Promise((resolve) => socket.close(() => resolve())),
  };
}

function send(socket: Socket, message: Buffer, port: number, address: string): void {
  // Unreachable is what silence means anyway.
  socket.send(message, port, address, () => undefined);
}
