import { Readable } from 'node:stream';
import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { createByteReader } from './byte-reader.ts';
import { isPayloadAt, payloadAt, payloadDigest } from './payload.ts';
import { parseEcho, parseReceipt, parseTcpRequest, plainAddress } from './protocol.ts';

describe('the pod protocol', () => {
  it('takes only complete requests', () => {
    expect(parseTcpRequest('{"mode":"up","bytes":5}')).toEqual({ mode: 'up', bytes: 5 });
    expect(parseTcpRequest('{"mode":"echo"}')).toEqual({ mode: 'echo', bytes: 0 });
    for (const bad of ['', '{}', '[]', 'null', '{"mode":"up","bytes":-1}', '{"mode":"up","bytes":1.5}', '{"mode":"sideways","bytes":1}']) {
      expect(parseTcpRequest(bad), bad).toBeUndefined();
    }
  });

  test.prop([fc.string()])('never throws on garbage', (text) => {
    expect([parseTcpRequest(text), parseReceipt(text), parseEcho(text)]).toEqual([undefined, undefined, undefined]);
  });

  test.prop([fc.record({ pod: fc.string(), sourceIp: fc.string(), sourcePort: fc.nat(), bytes: fc.nat(), sha256: fc.string() })])(
    'carries receipts unchanged',
    (receipt) => {
      expect(parseReceipt(JSON.stringify(receipt))).toEqual(receipt);
    },
  );

  it('writes IPv4 peers of IPv6 sockets as IPv4', () => {
    expect(plainAddress('::ffff:192.0.2.1')).toBe('192.0.2.1');
    expect(plainAddress('2001:db8::1')).toBe('2001:db8::1');
  });
});

describe('the payload', () => {
  test.prop([fc.nat(300_000), fc.integer({ min: 1, max: 200_000 })])('is the same wherever it is cut', (offset, length) => {
    const joined: Buffer[] = [];
    for (let at = 0; at < length;) {
      const chunk = payloadAt(offset + at, length - at);
      joined.push(chunk);
      at += chunk.length;
    }
    expect(isPayloadAt(offset, Buffer.concat(joined))).toBe(true);
  });

  test.prop([fc.nat(100_000), fc.integer({ min: 1, max: 60_000 })])('is not the same elsewhere', (offset, shift) => {
    expect(isPayloadAt(offset, payloadAt(offset + shift, 64))).toBe(false);
  });

  it('has a digest that no change of this code may alter unnoticed', () => {
    expect(payloadDigest(0)).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
    expect(payloadDigest(200_000)).toBe(payloadDigest(200_000));
    expect(payloadDigest(200_000)).not.toBe(payloadDigest(199_999));
  });
});

describe('createByteReader', () => {
  test.prop([
    fc.array(fc.uint8Array({ minLength: 1, maxLength: 20 }), { maxLength: 10 }),
    fc.string().filter((text) => /^[ -~]*$/.test(text)),
  ])('finds a line and the bytes behind it, however they are cut', async (chunks, line) => {
    const body = Buffer.concat(chunks);
    const all = Buffer.concat([Buffer.from(`${line}\n`), body]);
    const pieces = Array.from({ length: Math.ceil(all.length / 3) }, (_, i) => all.subarray(3 * i, 3 * i + 3));
    const reader = createByteReader(Readable.from(pieces));
    expect(await reader.line(100)).toBe(line.trimEnd());
    const seen: Buffer[] = [];
    for (let next = await reader.bytes(7); next !== undefined; next = await reader.bytes(7)) seen.push(next);
    expect(Buffer.concat(seen).equals(body)).toBe(true);
  });

  it('refuses a line that does not end', async () => {
    const endless = Readable.from(Array.from({ length: 5 }, () => Buffer.alloc(40, 'x')));
    await expect(createByteReader(endless).line(100)).rejects.toThrow('line longer than 100 bytes');
  });

  it('says nothing at the end', async () => {
    expect(await createByteReader(Readable.from([Buffer.from('half')])).line(100)).toBeUndefined();
  });
});
