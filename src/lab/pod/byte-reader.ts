import type { Readable } from 'node:stream';

/** Reads a stream as a line here, a run of bytes there. Holds at most one line and one chunk. */
export interface ByteReader {
  /** The next line without its end, or undefined at the end of the stream. @throws when it is longer than `maxBytes`. */
  line(maxBytes: number): Promise<string | undefined>;
  /** The next bytes, at most `maxBytes`, or undefined at the end of the stream. */
  bytes(maxBytes: number): Promise<Buffer | undefined>;
}

export function createByteReader(stream: Readable): ByteReader {
  const chunks: AsyncIterator<Buffer> = stream.iterator({ destroyOnReturn: false });
  let rest: Buffer = Buffer.alloc(0);

  async function fill(): Promise<boolean> {
    const next = await chunks.next();
    if (next.done === true) return false;
    rest = rest.length === 0 ? next.value : Buffer.concat([rest, next.value]);
    return true;
  }

  function take(length: number): Buffer {
    const taken = rest.subarray(0, length);
    rest = rest.subarray(length);
    return taken;
  }

  return {
    async line(maxBytes) {
      for (;;) {
        const end = rest.indexOf(0x0a);
        if (end > maxBytes || (end < 0 && rest.length > maxBytes)) throw new Error(`line longer than ${maxBytes} bytes`);
        if (end >= 0)
          return take(end + 1)
            .toString('utf8')
            .trimEnd();
        if (!(await fill())) return undefined;
      }
    },
    async bytes(maxBytes) {
      if (rest.length === 0 && !(await fill())) return undefined;
      return take(maxBytes);
    },
  };
}
