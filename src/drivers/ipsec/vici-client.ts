import { createConnection, type Socket } from 'node:net';
import { messageOf } from '../../lib/errors.ts';
import { createSegmenter, decodePacket, encodePacket, textAt, type ViciMessage, type ViciPacket } from '../../net/vici.ts';

/** charon refused a command, or cannot be spoken to. The message names the command, never its values. */
export class ViciError extends Error {
  override readonly name = 'ViciError';
}

/** A connection to one charon. Commands wait for each other, as the protocol has no sequence numbers. */
export interface ViciClient {
  /**
   * @returns the answer
   * @throws {ViciError} when charon says `success = no`, does not know the command, does not answer in time, or has gone
   */
  request(command: string, message?: ViciMessage): Promise<ViciMessage>;
  /** A command that streams its answer (`list-sas`, `list-conns`): the messages of `event` that came before its end. @throws {ViciError} */
  stream(command: string, event: string, message?: ViciMessage): Promise<readonly ViciMessage[]>;
  /** Calls `handler` for each `event` from now on. @throws {ViciError} */
  subscribe(event: string, handler: (message: ViciMessage) => void): Promise<void>;
  /** Resolves when the connection has ended, whoever ended it. */
  readonly closed: Promise<void>;
  /** Ends the connection; charon goes on. */
  close(): void;
}

export interface ViciClientOptions {
  readonly path: string;
  /** For one answer. */
  readonly timeoutMs?: number;
  /** Called with the name of each command that is sent. */
  readonly onCommand?: (command: string) => void;
}

/** charon answers in milliseconds; under software emulation and load in seconds. */
const DEFAULT_TIMEOUT_MS = 10_000;

interface Waiter {
  readonly what: string;
  readonly resolve: (packet: ViciPacket) => void;
  readonly reject: (error: Error) => void;
}

/** @throws {ViciError} when nobody listens at `path` */
export async function connectVici({
  path,
  timeoutMs = DEFAULT_TIMEOUT_MS,
  onCommand = () => undefined,
}: ViciClientOptions): Promise<ViciClient> {
  const socket = await open(path);
  const segmenter = createSegmenter();
  const handlers = new Map<string, (message: ViciMessage) => void>();
  let waiter: Waiter | undefined;
  let last: Promise<unknown> = Promise.resolve();
  let ended: string | undefined;

  socket.on('data', (chunk) => {
    try {
      for (const segment of segmenter.push(chunk)) receive(decodePacket(segment));
    } catch (error) {
      end(messageOf(error));
    }
  });
  socket.on('error', (error) => end(error.message));
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve(end('charon closed the connection'))));

  function receive(packet: ViciPacket): void {
    if (packet.type === 'event') return handlers.get(packet.name)?.(packet.message);
    waiter?.resolve(packet);
    waiter = undefined;
  }

  function end(reason: string): void {
    ended ??= reason;
    socket.destroy();
    waiter?.reject(new ViciError(`${waiter.what}: ${ended}`));
    waiter = undefined;
  }

  /** Runs after what was asked before, whether that went well or not. */
  function queue<T>(task: () => Promise<T>): Promise<T> {
    const result = last.then(task);
    last = result.catch(() => undefined);
    return result;
  }

  async function exchange(what: string, packet: ViciPacket): Promise<ViciPacket> {
    if (ended !== undefined) throw new ViciError(`${what}: ${ended}`);
    const bytes = encodePacket(packet);
    // An answer that comes late would be taken for that of the next command: the connection is of no use any more.
    const timer = setTimeout(() => end(`no answer from charon in ${timeoutMs / 1000} s`), timeoutMs);
    try {
      return await new Promise<ViciPacket>((resolve, reject) => {
        waiter = { what, resolve, reject };
        socket.write(bytes);
      });
    } finally {
      clearTimeout(timer);
    }
  }

  async function command(name: string, message: ViciMessage): Promise<ViciMessage> {
    onCommand(name);
    const answer = await exchange(name, { type: 'request', name, message });
    if (answer.type !== 'response') throw new ViciError(`${name}: charon does not know this command`);
    if (textAt(answer.message, 'success') === 'no')
      throw new ViciError(`${name}: ${textAt(answer.message, 'errmsg') ?? 'refused without a reason'}`);
    return answer.message;
  }

  async function register(event: string): Promise<void> {
    const answer = await exchange(event, { type: 'register', name: event });
    if (answer.type !== 'confirm') throw new ViciError(`${event}: charon does not know this event`);
  }

  return {
    request: (name, message = {}) => queue(() => command(name, message)),
    stream: (name, event, message = {}) =>
      queue(async () => {
        const messages: ViciMessage[] = [];
        // Registered once for all: charon sends these events only to the connection that asked.
        if (!handlers.has(event)) await register(event);
        handlers.set(event, (each) => messages.push(each));
        await command(name, message);
        return messages;
      }),
    subscribe: (event, handler) =>
      queue(async () => {
        handlers.set(event, handler);
        await register(event);
      }),
    closed,
    close: () => end('closed by us'),
  };
}

function open(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ path });
    const fail = (error: Error): void => reject(new ViciError(`cannot connect to charon at ${path}: ${error.message}`, { cause: error }));
    socket.once('error', fail);
    socket.once('connect', () => {
      socket.off('error', fail);
      resolve(socket);
    });
  });
}
