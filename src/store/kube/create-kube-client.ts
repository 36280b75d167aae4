import { Agent as HttpAgent, request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest, type RequestOptions } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, OutsideError } from '../../lib/errors.ts';
import type { ClusterAccess } from './cluster-access.ts';
import { KubeApiError, type KubeClient, type KubeRequest, type RequestRecord } from './kube-client.ts';

export interface KubeClientOptions {
  /** Shown in the API server's audit log and flow control. */
  readonly userAgent: string;
  readonly onRequest?: (record: RequestRecord) => void;
  /** Longest time without a byte before an answer counts as lost: half-open connections give none. */
  readonly answerTimeoutMs?: number;
  /** The same for watches once a bookmark has come, for then one comes each minute. (None come for a kind that never had an object.) */
  readonly watchSilenceMs?: number;
  /** The same for watches before the first bookmark. */
  readonly quietWatchMs?: number;
}

const ANSWER_TIMEOUT_MS = 15_000;
const WATCH_SILENCE_MS = 150_000;
/** A watch lives for 10 minutes at most (`timeoutSeconds`); a server that does not end it then is not there any more. */
const QUIET_WATCH_MS = 660_000;
/** Silence before TCP asks whether the other side is still there: some ten seconds without an answer end the connection (tcp(7), libuv). */
const KEEP_ALIVE_MS = 15_000;
const HTTP_UNAUTHORIZED = 401;
const HTTP_TOO_MANY_REQUESTS = 429;
/** As client-go's transport: so often, so long at most. */
const MAX_WAITS = 10;
const MAX_WAIT_S = 5;

/** Requests over kept connections to the API server; several at a time, none waits for another. */
export function createKubeClient(access: ClusterAccess, options: KubeClientOptions): KubeClient {
  const { userAgent, onRequest, answerTimeoutMs = ANSWER_TIMEOUT_MS } = options;
  const { watchSilenceMs = WATCH_SILENCE_MS, quietWatchMs = QUIET_WATCH_MS } = options;
  const isTls = access.server.protocol === 'https:';
  const pool = { keepAlive: true, keepAliveMsecs: KEEP_ALIVE_MS };
  const agent = isTls ? new HttpsAgent(pool) : new HttpAgent(pool);
  const open = isTls ? httpsRequest : httpRequest;

  /** Waits when the API server says so, as client-go does: it has too much to do, or is just opening the storage of a kind. */
  async function send(request: KubeRequest, timeoutMs: number, body: string | undefined): Promise<IncomingMessage> {
    let refresh = false;
    for (let waits = 0; ; waits++) {
      const answer = await sendOnce(request, timeoutMs, body, await access.options(refresh));
      const { statusCode, headers } = answer;
      const seconds = Number(headers['retry-after']);
      if (statusCode === HTTP_TOO_MANY_REQUESTS && seconds >= 0 && waits < MAX_WAITS) {
        answer.resume();
        await sleep(Math.min(seconds, MAX_WAIT_S) * 1000, undefined, request.signal && { signal: request.signal });
      } else if (statusCode === HTTP_UNAUTHORIZED && !refresh) {
        // The token may have been replaced on disk since it was read.
        answer.resume();
        refresh = true;
      } else return answer;
    }
  }

  function sendOnce(request: KubeRequest, timeoutMs: number, body: string | undefined, own: RequestOptions): Promise<IncomingMessage> {
    const url = new URL(access.server);
    url.pathname = `${url.pathname.replace(/\/$/, '')}${request.path}`;
    for (const [key, value] of Object.entries(request.query ?? {})) if (value !== undefined) url.searchParams.set(key, value);
    const headers = {
      ...(own.headers as OutgoingHttpHeaders | undefined),
      accept: 'application/json',
      'user-agent': userAgent,
      ...(body !== undefined && {
        'content-type': request.contentType ?? 'application/json',
        'content-length': Buffer.byteLength(body),
      }),
    };
    return new Promise((resolve, reject) => {
      const { signal, method } = request;
      let isAnswered = false;
      const sent = open(url, { ...own, agent, method, headers, timeout: timeoutMs, ...(signal && { signal }) }, (answer) => {
        isAnswered = true;
        resolve(answer);
      });
      sent.on('socket', (socket) => socket.setKeepAlive(true, KEEP_ALIVE_MS));
      sent.on('timeout', () => sent.destroy(new Error(`${access.server.host} is silent (${sent.socket?.timeout ?? timeoutMs} ms)`)));
      sent.on('error', (error: NodeJS.ErrnoException) => {
        // Whoever reads the answer is told by it. Another request now would be nobody's: when it failed, the process would end.
        if (isAnswered) return;
        // A kept connection that the server closed while we sent: nothing is wrong, a new one is opened (nodejs.org, `request.reusedSocket`).
        if (sent.reusedSocket && error.code === 'ECONNRESET' && method === 'GET') resolve(sendOnce(request, timeoutMs, body, own));
        else
          reject(
            new OutsideError(`${method} ${request.path} of ${access.server.origin} (${access.source}): ${error.message}`, { cause: error }),
          );
      });
      sent.end(body);
    });
  }

  async function request<T>(asked: KubeRequest): Promise<T> {
    const body = asked.body === undefined ? undefined : JSON.stringify(asked.body);
    const note = recorder(asked, asked.method, body);
    try {
      const answer = await send(asked, answerTimeoutMs, body);
      const text = await readAll(answer);
      note(answer.statusCode, Buffer.byteLength(text));
      return parseAnswer<T>(access, answer.statusCode ?? 0, text);
    } catch (error) {
      note(undefined, 0);
      throw error;
    }
  }

  async function* watch(asked: KubeRequest): AsyncGenerator<unknown> {
    const note = recorder(asked, 'WATCH', undefined);
    let received = 0;
    let code: number | undefined;
    try {
      const answer = await send(asked, answerTimeoutMs, undefined);
      code = answer.statusCode;
      if (code !== 200) parseAnswer(access, code ?? 0, await readAll(answer));
      answer.socket.setTimeout(quietWatchMs);
      let rest = '';
      answer.setEncoding('utf8');
      for await (const chunk of answer as AsyncIterable<string>) {
        received += Buffer.byteLength(chunk);
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines.filter(Boolean)) {
          const parsed = JSON.parse(line) as { readonly type?: string };
          if (parsed.type === 'BOOKMARK') answer.socket.setTimeout(watchSilenceMs);
          yield parsed;
        }
      }
    } catch (error) {
      if (error instanceof KubeApiError) throw error;
      throw new Error(`watch ${asked.path}: ${messageOf(error)}`, { cause: error });
    } finally {
      note(code, received);
    }
  }

  /** Each request is told once. */
  function recorder(asked: KubeRequest, verb: string, body: string | undefined): (code: number | undefined, receivedBytes: number) => void {
    const startedAt = performance.now();
    let told = false;
    return (code, receivedBytes) => {
      if (told) return;
      told = true;
      const sentBytes = body === undefined ? 0 : Buffer.byteLength(body);
      onRequest?.({ verb, resource: resourceOf(asked.path), code, sentBytes, receivedBytes, durationMs: performance.now() - startedAt });
    };
  }

  return {
    request,
    watch,
    close: async () => agent.destroy(),
  };
}

async function readAll(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of answer as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

/** @throws {KubeApiError} unless the status says success */
function parseAnswer<T>({ server, source }: ClusterAccess, code: number, text: string): T {
  if (code >= 200 && code < 300) return JSON.parse(text) as T;
  const status = parseStatus(text);
  const message = status.message ?? (text.trim().slice(0, 500) || `HTTP status ${code}`);
  // The server's own message is just "Unauthorized"; for 403 it says who may not do what.
  const clear = code === HTTP_UNAUTHORIZED ? `${server.host} does not accept the credentials of ${source}: ${message}` : message;
  throw new KubeApiError(code, status.reason ?? '', clear);
}

function parseStatus(text: string): { readonly reason?: string; readonly message?: string } {
  try {
    return JSON.parse(text) as { reason?: string; message?: string };
  } catch {
    return {};
  }
}

/** The plural in `/api/v1/…` and `/apis/GROUP/VERSION/…`, with or without namespace. */
function resourceOf(path: string): string {
  return /^\/(?:api\/v1|apis\/[^/]+\/[^/]+)\/(?:namespaces\/[^/]+\/(?=.))?([^/]+)/.exec(path)?.[1] ?? '';
}
