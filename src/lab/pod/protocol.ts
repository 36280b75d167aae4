/**
 * What the pods of a lab say to each other. Every pod serves all of it on all its addresses.
 *
 * TCP 8080: the client opens with one line of JSON, `{"mode":"up","bytes":N}`, then, by mode:
 * - `up`: it sends N payload bytes; the server answers with one line, a {@link Receipt} of what arrived.
 * - `down`: the server sends the Receipt of what it is going to send, one line, then N payload bytes.
 * - `echo`: the server returns every byte that follows, until the client has closed its direction (N is ignored).
 *
 * UDP 8081: each datagram comes back as a {@link Echo} that repeats its text.
 * HTTP 8000: any GET answers `{"pod":…,"source":…}`, for people with curl.
 * DNS 53, UDP and TCP: only with a zone file.
 */
export const TCP_PORT = 8080;
export const UDP_PORT = 8081;
export const HTTP_PORT = 8000;
export const DNS_PORT = 53;

/** Longest first line and longest datagram text that is taken, in bytes. */
export const MAX_LINE_BYTES = 1024;

export interface TcpRequest {
  readonly mode: 'up' | 'down' | 'echo';
  readonly bytes: number;
}

export interface Receipt {
  readonly pod: string;
  /** The client's address as the server saw it. */
  readonly sourceIp: string;
  readonly sourcePort: number;
  readonly bytes: number;
  readonly sha256: string;
}

export interface Echo {
  readonly pod: string;
  readonly sourceIp: string;
  readonly sourcePort: number;
  readonly echo: string;
}

export function parseTcpRequest(line: string): TcpRequest | undefined {
  const value = parseObject(line);
  const mode = value?.['mode'];
  const bytes = value?.['bytes'] ?? 0;
  if (mode !== 'up' && mode !== 'down' && mode !== 'echo') return undefined;
  return isCount(bytes) ? { mode, bytes } : undefined;
}

export function parseReceipt(line: string): Receipt | undefined {
  const { pod, sourceIp, sourcePort, bytes, sha256 } = parseObject(line) ?? {};
  if (!isText(pod) || !isText(sourceIp) || !isCount(sourcePort) || !isCount(bytes) || !isText(sha256)) return undefined;
  return { pod, sourceIp, sourcePort, bytes, sha256 };
}

export function parseEcho(text: string): Echo | undefined {
  const { pod, sourceIp, sourcePort, echo } = parseObject(text) ?? {};
  if (!isText(pod) || !isText(sourceIp) || !isCount(sourcePort) || !isText(echo)) return undefined;
  return { pod, sourceIp, sourcePort, echo };
}

/** An address as people write it: sockets of both families show IPv4 peers as `::ffff:192.0.2.1` (RFC 4291 §2.5.5.2). */
export function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '');
}

/** One JSON object, or undefined. Checks are by hand: the pod program stays small without a schema library. */
export function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
