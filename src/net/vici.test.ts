import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import {
  createSegmenter,
  decodeMessage,
  decodePacket,
  encodePacket,
  listAt,
  MAX_SEGMENT_BYTES,
  sectionsAt,
  textAt,
  ViciFormatError,
  type ViciMessage,
  type ViciPacket,
} from './vici.ts';

const name = fc.string({ minLength: 1, maxLength: 20 });
const text = fc.string({ maxLength: 40, unit: 'grapheme' });
const { message } = fc.letrec<{ message: ViciMessage }>((tie) => ({
  message: fc.dictionary(name, fc.oneof({ maxDepth: 4 }, text, fc.array(text, { maxLength: 4 }), tie('message')), {
    maxKeys: 5,
    noNullPrototype: false,
  }),
}));
const packet: fc.Arbitrary<ViciPacket> = fc.oneof(
  fc.record({ type: fc.constantFrom('request' as const, 'event' as const), name, message }),
  fc.record({ type: fc.constant('response' as const), message }),
  fc.record({ type: fc.constantFrom('register' as const, 'unregister' as const), name }),
  fc.record({ type: fc.constantFrom('unknownCommand' as const, 'confirm' as const, 'unknownEvent' as const) }),
);

const body = (bytes: Buffer): Buffer => bytes.subarray(4);

describe('the VICI codec', () => {
  it('encodes the example of the VICI README byte for byte', () => {
    const example: ViciMessage = { key1: 'value1', section1: { 'sub-section': { key2: 'value2' }, list1: ['item1', 'item2'] } };
    const expected =
      '\x03\x04key1\0\x06value1\x01\x08section1\x01\x0bsub-section\x03\x04key2\0\x06value2\x02\x04\x05list1\x05\0\x05item1\x05\0\x05item2\x06\x02';
    expect(encodePacket({ type: 'response', message: example }).subarray(5).toString('latin1')).toBe(expected);
    expect(decodeMessage(Buffer.from(expected, 'latin1'))).toEqual(example);
  });

  test.prop([packet])('returns what was encoded', (sent) => {
    expect(decodePacket(body(encodePacket(sent)))).toEqual(sent);
  });

  test.prop([fc.uint8Array({ maxLength: 200 })])('throws nothing but its own error on random bytes', (bytes) => {
    try {
      decodePacket(Buffer.from(bytes));
    } catch (error) {
      expect(error).toBeInstanceOf(ViciFormatError);
    }
  });

  test.prop([packet, fc.nat(), fc.integer({ min: 0, max: 255 })])(
    'throws nothing but its own error on damaged packets',
    (sent, where, byte) => {
      const bytes = Buffer.from(body(encodePacket(sent)));
      bytes[where % bytes.length] = byte;
      for (const damaged of [bytes, bytes.subarray(0, where % bytes.length)]) {
        try {
          decodePacket(damaged);
        } catch (error) {
          expect(error).toBeInstanceOf(ViciFormatError);
        }
      }
    },
  );

  test.prop([fc.array(packet, { maxLength: 5 }), fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 })])(
    'finds segments however the stream is cut',
    (packets, cuts) => {
      const stream = Buffer.concat(packets.map(encodePacket));
      const segmenter = createSegmenter();
      const got: ViciPacket[] = [];
      for (let at = 0, i = 0; at < stream.length; i++) {
        const next = at + (cuts[i % cuts.length] ?? 1);
        got.push(...segmenter.push(stream.subarray(at, next)).map(decodePacket));
        at = next;
      }
      expect(got).toEqual(packets);
    },
  );

  it('refuses a segment beyond the limit as soon as it is announced', () => {
    const header = Buffer.alloc(4);
    header.writeUInt32BE(MAX_SEGMENT_BYTES + 1);
    expect(() => createSegmenter().push(header)).toThrow(ViciFormatError);
  });

  it('refuses names and values that do not fit, without telling the value', () => {
    expect(() => encodePacket({ type: 'register', name: 'n'.repeat(256) })).toThrow(ViciFormatError);
    expect(() => encodePacket({ type: 'response', message: { data: 's3cret'.repeat(20_000) } })).toThrow(/^data: value of 120000 bytes/);
  });

  it('refuses sections that are nested too deep', () => {
    const deep = Buffer.from('\x01\x01s'.repeat(40) + '\x02'.repeat(40), 'latin1');
    expect(() => decodeMessage(deep)).toThrow(/nest deeper/);
  });

  it('reads values by path and tells absence', () => {
    const value: ViciMessage = { a: { b: 'text', c: ['x'], d: {}, e: { f: 'g' } } };
    expect([textAt(value, 'a', 'b'), textAt(value, 'a', 'c'), textAt(value, 'a', 'constructor')]).toEqual(['text', undefined, undefined]);
    expect([listAt(value, 'a', 'c'), listAt(value, 'z')]).toEqual([['x'], []]);
    expect(sectionsAt(value, 'a').map(([key]) => key)).toEqual(['d', 'e']);
  });
});
