/** The Versatile IKE Control Interface of strongSwan (`src/libcharon/plugins/vici/README.md`): packets and messages, without a socket. */

/** A section: values are texts, lists of texts, or sections. Objects that `decodeMessage` returns have no prototype. */
export interface ViciMessage {
  readonly [key: string]: ViciValue;
}
export type ViciValue = string | readonly string[] | ViciMessage;

/** What is sent in one segment. `request`, `event` and the registrations carry a name, the last two of a pair answer the first. */
export type ViciPacket =
  | { readonly type: 'request' | 'event'; readonly name: string; readonly message: ViciMessage }
  | { readonly type: 'response'; readonly message: ViciMessage }
  | { readonly type: 'register' | 'unregister'; readonly name: string }
  | { readonly type: 'unknownCommand' | 'confirm' | 'unknownEvent' };

/** The bytes are not VICI, or a value does not fit into it. */
export class ViciFormatError extends Error {
  override readonly name = 'ViciFormatError';
}

/** README, transport protocol: "limited to 512KB of data". */
export const MAX_SEGMENT_BYTES = 512 * 1024;
const LENGTH_BYTES = 4;

/** Deeper than anything that charon sends (list-sas nests 4); keeps a hostile peer from exhausting the stack of later readers. */
const MAX_DEPTH = 16;
const MAX_NAME_BYTES = 0xff;
const MAX_VALUE_BYTES = 0xffff;

const PACKET_TYPES = ['request', 'response', 'unknownCommand', 'register', 'unregister', 'confirm', 'unknownEvent', 'event'] as const;
const ELEMENT = { sectionStart: 1, sectionEnd: 2, keyValue: 3, listStart: 4, listItem: 5, listEnd: 6 } as const;

/**
 * One packet with its length header, ready for the socket.
 *
 * @throws {ViciFormatError} when a name, a value or the whole is longer than the format can say
 */
export function encodePacket(packet: ViciPacket): Buffer {
  const parts: Buffer[] = [Buffer.of(PACKET_TYPES.indexOf(packet.type))];
  if ('name' in packet) parts.push(encodeName(packet.name));
  if ('message' in packet) encodeSection(packet.message, parts, 0);
  const body = Buffer.concat(parts);
  if (body.length > MAX_SEGMENT_BYTES) throw new ViciFormatError(`packet of ${body.length} bytes; the limit is ${MAX_SEGMENT_BYTES}`);
  const header = Buffer.alloc(LENGTH_BYTES);
  header.writeUInt32BE(body.length);
  return Buffer.concat([header, body]);
}

/**
 * Reads one segment, without its length header.
 *
 * @throws {ViciFormatError}
 */
export function decodePacket(segment: Buffer): ViciPacket {
  const reader = createReader(segment);
  const number = reader.byte();
  const type = PACKET_TYPES[number];
  if (type === undefined) throw new ViciFormatError(`unknown packet type ${number}`);
  switch (type) {
    case 'request':
    case 'event':
      return { type, name: reader.name(), message: decodeMessage(reader.rest()) };
    case 'response':
      return { type, message: decodeMessage(reader.rest()) };
    case 'register':
    case 'unregister': {
      const name = reader.name();
      reader.expectEnd();
      return { type, name };
    }
    case 'unknownCommand':
    case 'confirm':
    case 'unknownEvent':
      reader.expectEnd();
      return { type };
  }
}

/** Cuts a byte stream into segments. */
export interface Segmenter {
  /**
   * Takes the next bytes; returns the segments that are complete now, without their headers.
   *
   * @throws {ViciFormatError} when a header announces more than MAX_SEGMENT_BYTES: the stream cannot be followed any further
   */
  push(chunk: Buffer): Buffer[];
}

export function createSegmenter(): Segmenter {
  let pending: Buffer = Buffer.alloc(0);
  return {
    push(chunk) {
      pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
      const segments: Buffer[] = [];
      while (pending.length >= LENGTH_BYTES) {
        const length = pending.readUInt32BE();
        if (length > MAX_SEGMENT_BYTES) throw new ViciFormatError(`segment of ${length} bytes; the limit is ${MAX_SEGMENT_BYTES}`);
        if (pending.length < LENGTH_BYTES + length) break;
        segments.push(pending.subarray(LENGTH_BYTES, LENGTH_BYTES + length));
        pending = pending.subarray(LENGTH_BYTES + length);
      }
      return segments;
    },
  };
}

/** The text at `path`, or undefined when there is none. */
export function textAt(message: ViciMessage, ...path: readonly string[]): string | undefined {
  const value = valueAt(message, path);
  return typeof value === 'string' ? value : undefined;
}

/** The list at `path`; empty when there is none. */
export function listAt(message: ViciMessage, ...path: readonly string[]): readonly string[] {
  const value = valueAt(message, path);
  return isList(value) ? value : [];
}

/** The sections directly below `path`, in the order of the message. */
export function sectionsAt(message: ViciMessage, ...path: readonly string[]): (readonly [string, ViciMessage])[] {
  const value = valueAt(message, path);
  if (!isSection(value)) return [];
  return Object.entries(value).flatMap(([key, child]) => (isSection(child) ? [[key, child] as const] : []));
}

function valueAt(message: ViciMessage, path: readonly string[]): ViciValue | undefined {
  let value: ViciValue | undefined = message;
  for (const key of path) value = isSection(value) && Object.hasOwn(value, key) ? value[key] : undefined;
  return value;
}

function isList(value: ViciValue | undefined): value is readonly string[] {
  return Array.isArray(value);
}

function isSection(value: ViciValue | undefined): value is ViciMessage {
  return typeof value === 'object' && !Array.isArray(value);
}

function encodeSection(section: ViciMessage, out: Buffer[], depth: number): void {
  if (depth > MAX_DEPTH) throw new ViciFormatError(`sections nest deeper than ${MAX_DEPTH}`);
  for (const [key, value] of Object.entries(section)) {
    if (typeof value === 'string') out.push(Buffer.of(ELEMENT.keyValue), encodeName(key), encodeValue(key, value));
    else if (isList(value)) {
      out.push(Buffer.of(ELEMENT.listStart), encodeName(key));
      for (const item of value) out.push(Buffer.of(ELEMENT.listItem), encodeValue(key, item));
      out.push(Buffer.of(ELEMENT.listEnd));
    } else if (isSection(value)) {
      out.push(Buffer.of(ELEMENT.sectionStart), encodeName(key));
      encodeSection(value, out, depth + 1);
      out.push(Buffer.of(ELEMENT.sectionEnd));
    }
  }
}

function encodeName(name: string): Buffer {
  const bytes = Buffer.from(name, 'utf8');
  if (bytes.length === 0 || bytes.length > MAX_NAME_BYTES)
    throw new ViciFormatError(`name of ${bytes.length} bytes; 1 to ${MAX_NAME_BYTES} fit`);
  return Buffer.concat([Buffer.of(bytes.length), bytes]);
}

/** The key, never the value, goes into the message of an error: values may be secrets. */
function encodeValue(key: string, value: string): Buffer {
  const bytes = Buffer.from(value, 'utf8');
  if (bytes.length > MAX_VALUE_BYTES) throw new ViciFormatError(`${key}: value of ${bytes.length} bytes; ${MAX_VALUE_BYTES} fit`);
  const header = Buffer.alloc(2);
  header.writeUInt16BE(bytes.length);
  return Buffer.concat([header, bytes]);
}

type Section = { [key: string]: ViciValue };

/**
 * Reads a message. Of a key that comes twice the last one counts.
 *
 * @throws {ViciFormatError}
 */
export function decodeMessage(bytes: Buffer): ViciMessage {
  const reader = createReader(bytes);
  const root = emptySection();
  const open: Section[] = [root];
  let list: string[] | undefined;
  while (!reader.atEnd()) {
    const element = reader.byte();
    const section = open.at(-1) ?? root;
    const inList = element === ELEMENT.listItem || element === ELEMENT.listEnd;
    if (inList !== (list !== undefined)) throw new ViciFormatError(`element ${element} ${inList ? 'outside of' : 'inside'} a list`);
    switch (element) {
      case ELEMENT.sectionStart: {
        if (open.length > MAX_DEPTH) throw new ViciFormatError(`sections nest deeper than ${MAX_DEPTH}`);
        const child = emptySection();
        section[reader.name()] = child;
        open.push(child);
        break;
      }
      case ELEMENT.sectionEnd:
        if (open.length === 1) throw new ViciFormatError('end of a section that was not begun');
        open.pop();
        break;
      case ELEMENT.keyValue:
        section[reader.name()] = reader.value();
        break;
      case ELEMENT.listStart:
        list = [];
        section[reader.name()] = list;
        break;
      case ELEMENT.listItem:
        list?.push(reader.value());
        break;
      case ELEMENT.listEnd:
        list = undefined;
        break;
      default:
        throw new ViciFormatError(`unknown element ${element}`);
    }
  }
  if (open.length > 1 || list !== undefined) throw new ViciFormatError('the message ends inside a section or list');
  return root;
}

/** Without a prototype, so that a key such as `__proto__` is a key like any other. */
function emptySection(): Section {
  return Object.create(null) as Section;
}

function createReader(bytes: Buffer) {
  let at = 0;

  function take(length: number): Buffer {
    if (at + length > bytes.length) throw new ViciFormatError(`${length} bytes announced, ${bytes.length - at} left`);
    at += length;
    return bytes.subarray(at - length, at);
  }

  const byte = (): number => take(1).readUInt8();
  return {
    byte,
    name: (): string => take(byte()).toString('utf8'),
    value: (): string => take(take(2).readUInt16BE()).toString('utf8'),
    rest: (): Buffer => take(bytes.length - at),
    atEnd: (): boolean => at === bytes.length,
    expectEnd(): void {
      if (at !== bytes.length) throw new ViciFormatError(`${bytes.length - at} bytes too many`);
    },
  };
}
