import { readFileSync, statSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { AUTHORITATIVE_ANSWER, decode, encode, type Answer, type Packet } from 'dns-packet';
import { UserError, messageOf } from '../../lib/errors.ts';
import { familyOf, type Ip, parseIp } from '../../net/ip.ts';
import { parseObject, DNS_PORT } from './protocol.ts';
import { bindUdp, listen, type Listener } from './servers.ts';

/** Lower-case names without final dot → addresses. */
export type Zone = ReadonlyMap<string, readonly Ip[]>;

/** Seconds; short, a lab's services change. */
const TTL_SECONDS = 5;
/** RFC 1035 §4.1.1. */
const NAME_ERROR = 3;

/**
 * Serves the zone of a JSON file, `{"web.shop.svc.cluster.local": ["10.96.0.10"]}`, on all addresses, by UDP and TCP. A changed file counts
 * from the next question on; while it is broken, the last good content does.
 *
 * @throws {UserError} when the file is broken at the start
 */
export async function serveDns(zoneFile: string): Promise<Listener> {
  const zone = watchedZone(zoneFile);
  const tcp = createServer((socket) => serveTcp(socket, zone));
  const sockets = await Promise.all([bindUdp('udp4', DNS_PORT), bindUdp('udp6', DNS_PORT), listen(tcp, DNS_PORT).then(() => undefined)]);
  for (const socket of sockets) {
    socket?.on('message', (message, { address, port }) => {
      const reply = answerDns(message, zone());
      if (reply !== undefined) socket.send(reply, port, address, () => undefined);
    });
  }
  return {
    close() {
      tcp.close();
      for (const socket of sockets) socket?.close();
    },
  };
}

/** The reply to one question in wire form; undefined for what is no question. Pure. */
export function answerDns(message: Buffer, zone: Zone): Buffer | undefined {
  let query: Packet;
  try {
    query = decode(message);
  } catch {
    return undefined;
  }
  const question = query.questions?.[0];
  if (query.type !== 'query' || question === undefined) return undefined;
  const addresses = zone.get(question.name.toLowerCase().replace(/\.$/, ''));
  const answers = (addresses ?? []).flatMap((data): Answer[] => {
    const type = familyOf(data) === 4 ? 'A' : 'AAAA';
    return question.type === type ? [{ type, name: question.name, ttl: TTL_SECONDS, data }] : [];
  });
  // RFC 2308 §2: a name without records of this type is no error.
  const code = addresses === undefined ? NAME_ERROR : 0;
  return encode({ type: 'response', id: query.id ?? 0, flags: AUTHORITATIVE_ANSWER | code, questions: [question], answers });
}

export function parseZone(text: string, source: string): Zone {
  const object = parseObject(text);
  if (object === undefined) throw new UserError([{ source, message: 'is no JSON object of names and addresses' }]);
  return new Map(
    Object.entries(object).map(([name, value]) => {
      const addresses = [value].flat().map((item) => (typeof item === 'string' ? parseIp(item) : undefined));
      const known = addresses.filter((address) => address !== undefined);
      if (known.length < addresses.length)
        throw new UserError([{ source, path: name, message: 'must be an IP address or a list of them' }]);
      return [name.toLowerCase().replace(/\.$/, ''), known];
    }),
  );
}

function watchedZone(file: string): () => Zone {
  let readAt = modifiedAt(file);
  let zone = readZone(file);
  return () => {
    const now = modifiedAt(file);
    if (now === readAt) return zone;
    readAt = now;
    try {
      zone = readZone(file);
    } catch (error) {
      console.error(messageOf(error));
    }
    return zone;
  };
}

function readZone(file: string): Zone {
  try {
    return parseZone(readFileSync(file, 'utf8'), file);
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError([{ source: file, message: messageOf(error) }], { cause: error });
  }
}

function modifiedAt(file: string): number | undefined {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs;
}

/** RFC 1035 §4.2.2: each message has its length in front. */
function serveTcp(socket: Socket, zone: () => Zone): void {
  let received: Buffer = Buffer.alloc(0);
  socket.setTimeout(10_000, () => socket.destroy());
  socket.on('error', () => undefined);
  socket.on('data', (chunk) => {
    received = Buffer.concat([received, chunk]);
    for (let length = nextLength(received); length !== undefined; length = nextLength(received)) {
      const reply = answerDns(received.subarray(2, 2 + length), zone());
      received = received.subarray(2 + length);
      if (reply === undefined) return void socket.destroy();
      const prefix = Buffer.alloc(2);
      prefix.writeUInt16BE(reply.length);
      socket.write(Buffer.concat([prefix, reply]));
    }
  });
}

function nextLength(received: Buffer): number | undefined {
  const length = received.length < 2 ? Infinity : received.readUInt16BE(0);
  return received.length >= 2 + length ? length : undefined;
}
