import { once } from 'node:events';
import { connect } from 'node:net';
import { messageOf } from '../../lib/errors.ts';
import { createByteReader } from './byte-reader.ts';
import type { PodOperations } from './operations.ts';
import { parseObject } from './protocol.ts';

/** A pod as seen through its control socket. Calls may overlap. */
export interface PodClient {
  /**
   * @param deadlineMs gives up on a program that hangs; without it the pod's own time limits count
   * @throws when the pod refuses the request or is gone
   */
  call<Op extends keyof PodOperations>(op: Op, args: PodOperations[Op]['args'], deadlineMs?: number): Promise<PodOperations[Op]['result']>;
  close(): void;
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Longest answer that is taken: the account of a pinger with thousands of outages. */
const MAX_ANSWER_BYTES = 16 << 20;
/** A process that has the socket but does not accept is stuck. */
const CONNECT_TIMEOUT_MS = 5_000;

const ENDED = 'the program has ended';

/** Connects to the control socket of a pod. @throws when nobody listens there */
export async function connectPod(path: string): Promise<PodClient> {
  const socket = connect({ path });
  const waiting = new Map<number, Waiting>();
  let lastId = 0;
  await once(socket, 'connect', { signal: AbortSignal.timeout(CONNECT_TIMEOUT_MS) });
  socket.on('error', () => undefined);
  void readAnswers();

  async function readAnswers(): Promise<void> {
    const reader = createByteReader(socket);
    let reason = ENDED;
    try {
      for (let line = await reader.line(MAX_ANSWER_BYTES); line !== undefined; line = await reader.line(MAX_ANSWER_BYTES)) take(line);
    } catch (error) {
      reason = messageOf(error);
    }
    for (const { reject } of waiting.values()) reject(new Error(reason));
    waiting.clear();
    socket.destroy();
  }

  function take(line: string): void {
    const { id, result, error } = parseObject(line) ?? {};
    const caller = typeof id === 'number' ? waiting.get(id) : undefined;
    if (caller === undefined) return;
    if (typeof error === 'string') caller.reject(new Error(error));
    else caller.resolve(result);
  }

  function ask(op: string, args: object, deadlineMs: number | undefined): Promise<unknown> {
    if (socket.destroyed) return Promise.reject(new Error(ENDED));
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const id = ++lastId;
    const giveUp = (): void => reject(new Error(`no answer within ${deadlineMs} ms`));
    const timer = deadlineMs === undefined ? undefined : setTimeout(giveUp, deadlineMs);
    waiting.set(id, { resolve, reject });
    socket.write(`${JSON.stringify({ id, op, args })}\n`);
    return promise.finally(() => {
      clearTimeout(timer);
      waiting.delete(id);
    });
  }

  return {
    call: <Op extends keyof PodOperations>(op: Op, args: PodOperations[Op]['args'], deadlineMs?: number) =>
      // Both ends are built from the same source.
      ask(op, args, deadlineMs) as Promise<PodOperations[Op]['result']>,
    close: () => void socket.destroy(),
  };
}
