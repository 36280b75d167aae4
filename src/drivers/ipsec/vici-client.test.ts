import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createSegmenter, decodePacket, encodePacket, type ViciPacket } from '../../net/vici.ts';
import { connectVici, ViciError } from './vici-client.ts';

let dir = '';
let server: Server;
let path = '';

/** Answers each packet with what `answer` returns, in order. */
async function serve(answer: (packet: ViciPacket, socket: Socket) => readonly ViciPacket[]): Promise<void> {
  server = createServer((socket) => {
    const segmenter = createSegmenter();
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      for (const packet of segmenter.push(chunk).map(decodePacket)) {
        for (const reply of answer(packet, socket)) socket.write(encodePacket(reply));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'raven-vici-'));
  path = join(dir, 'vici');
});
afterEach(async () => {
  await new Promise((resolve) => server.close(resolve));
  await rm(dir, { recursive: true });
});

describe('a VICI client', () => {
  it('asks one thing at a time and gives each its own answer', async () => {
    await serve((packet) => (packet.type === 'request' ? [{ type: 'response', message: { echo: packet.name } }] : []));
    const client = await connectVici({ path });
    expect(await Promise.all(['a', 'b', 'c'].map((name) => client.request(name)))).toEqual([{ echo: 'a' }, { echo: 'b' }, { echo: 'c' }]);
    client.close();
    await client.closed;
  });

  it('collects a streamed answer, and registers for it once', async () => {
    const seen: string[] = [];
    await serve((packet) => {
      seen.push('name' in packet ? `${packet.type} ${packet.name}` : packet.type);
      if (packet.type === 'register') return [{ type: 'confirm' }];
      return [1, 2]
        .map((n): ViciPacket => ({ type: 'event', name: 'list-sa', message: { n: String(n) } }))
        .concat({ type: 'response', message: {} });
    });
    const client = await connectVici({ path });
    expect(await client.stream('list-sas', 'list-sa')).toEqual([{ n: '1' }, { n: '2' }]);
    expect(await client.stream('list-sas', 'list-sa')).toEqual([{ n: '1' }, { n: '2' }]);
    expect(seen).toEqual(['register list-sa', 'request list-sas', 'request list-sas']);
    client.close();
  });

  it('hands over events that nobody asked for, between question and answer too', async () => {
    const up: ViciPacket = { type: 'event', name: 'ike-updown', message: { up: 'yes' } };
    await serve((packet) => (packet.type === 'register' ? [{ type: 'confirm' }] : [up, { type: 'response', message: {} }]));
    const client = await connectVici({ path });
    const got: unknown[] = [];
    await client.subscribe('ike-updown', (message) => got.push(message));
    await client.request('version');
    expect(got).toEqual([{ up: 'yes' }]);
    client.close();
  });

  it('throws what charon says, and goes on', async () => {
    await serve((packet) => {
      if (packet.type !== 'request') return [{ type: 'unknownEvent' }];
      if (packet.name === 'terminate') return [{ type: 'response', message: { success: 'no', errmsg: 'no matching SAs' } }];
      return packet.name === 'version' ? [{ type: 'response', message: {} }] : [{ type: 'unknownCommand' }];
    });
    const client = await connectVici({ path });
    await expect(client.request('terminate')).rejects.toThrow('terminate: no matching SAs');
    await expect(client.request('fly')).rejects.toThrow('fly: charon does not know this command');
    await expect(client.subscribe('moon', () => undefined)).rejects.toThrow('moon: charon does not know this event');
    await expect(client.request('version')).resolves.toEqual({});
    client.close();
  });

  it('gives up on a silent charon and refuses further commands', async () => {
    await serve(() => []);
    const client = await connectVici({ path, timeoutMs: 50 });
    await expect(client.request('version')).rejects.toThrow('version: no answer from charon in 0.05 s');
    await expect(client.request('version')).rejects.toThrow(ViciError);
    await client.closed;
  });

  it('tells everybody who waits when charon dies or talks nonsense', async () => {
    await serve((packet, socket) => {
      if (packet.type === 'request' && packet.name === 'die') socket.destroy();
      else socket.write(Buffer.of(0, 0, 0, 1, 99));
      return [];
    });
    const dying = await connectVici({ path });
    const waiting = Promise.allSettled([dying.request('die'), dying.request('version')]);
    expect((await waiting).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await dying.closed;
    const odd = await connectVici({ path });
    await expect(odd.request('version')).rejects.toThrow('unknown packet type 99');
  });

  it('names the socket when nobody listens', async () => {
    await serve(() => []);
    await expect(connectVici({ path: join(dir, 'none') })).rejects.toThrow(/cannot connect to charon at .*none: .*ENOENT/);
  });
});
