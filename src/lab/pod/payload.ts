import { createHash } from 'node:crypto';

/** A prime: a chunk that is lost, repeated or moved never lines up with the pattern again. */
const PERIOD_BYTES = 65_521;
const pattern = repeatedPattern();

/** Largest chunk that {@link payloadAt} gives. */
export const MAX_CHUNK_BYTES = PERIOD_BYTES;

/** The payload's bytes from `offset`: the same on every machine, without a copy. */
export function payloadAt(offset: number, length: number): Buffer {
  const start = offset % PERIOD_BYTES;
  return pattern.subarray(start, start + Math.min(length, MAX_CHUNK_BYTES));
}

/** SHA-256 of the first `bytes` bytes of the payload, in hex. */
export function payloadDigest(bytes: number): string {
  const hash = createHash('sha256');
  for (let offset = 0; offset < bytes; offset += MAX_CHUNK_BYTES) hash.update(payloadAt(offset, bytes - offset));
  return hash.digest('hex');
}

/** Whether `chunk` is what the payload holds at `offset`. */
export function isPayloadAt(offset: number, chunk: Buffer): boolean {
  for (let at = 0; at < chunk.length; at += MAX_CHUNK_BYTES) {
    const part = chunk.subarray(at, at + MAX_CHUNK_BYTES);
    if (!part.equals(payloadAt(offset + at, part.length))) return false;
  }
  return true;
}

/** Two periods of xorshift32 noise, so that any chunk is one slice: compresses badly and has no long runs. */
function repeatedPattern(): Buffer {
  const bytes = Buffer.alloc(2 * PERIOD_BYTES);
  let state = 0x9e3779b9;
  for (let i = 0; i < PERIOD_BYTES; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = bytes[i + PERIOD_BYTES] = state & 0xff;
  }
  return bytes;
}
