import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UserError } from '../../lib/errors.ts';
import { createByteReader } from './byte-reader.ts';
import { connectPod } from './control-client.ts';
import { type ControlServer, listenControl } from './control.ts';
import { createOperations, type Operation } from './operations.ts';

let folder: string;
let path: string;
let server: ControlServer;
const aborted: string[] = [];
const slow = Promise.withResolvers<string>();

const operations = new Map<string, Operation>([
  ['hello', async () => ({ pod: 'pod-1', pid: 1 })],
  ['trace', () => slow.promise],
  ['report', async () => Promise.reject(new UserError([{ path: 'job', message: 'must be a text' }]))],
  [
    'pinger',
    (_, signal) =>
      new Promise((resolve) => {
        signal.addEventListener('abort', () => resolve(aborted.push('pinger')));
      }),
  ],
]);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rvmx-'));
  path = join(folder, 'pods', 'pod.sock');
  server = await listenControl(path, operations);
});
afterEach(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

async function exchange(text: string): Promise<unknown> {
  const socket = connect({ path });
  socket.write(text);
  const line = await createByteReader(socket).line(1 << 20);
  socket.destroy();
  return JSON.parse(line ?? 'null');
}

describe('the control socket', () => {
  it('answers requests as they end, not as they came', async () => {
    const client = await connectPod(path);
    const late = client.call('trace', { ip: '192.0.2.1' });
    expect(await client.call('hello', {})).toEqual({ pod: 'pod-1', pid: 1 });
    slow.resolve('now');
    expect(await late).toBe('now');
    client.close();
  });

  it('says what is wrong with a request', async () => {
    const client = await connectPod(path);
    await expect(client.call('report', { job: '' })).rejects.toThrow('bad request: job: must be a text');
    client.close();
  });

  it.each(['garbage', '[]', '{"id":1}', '{"id":1,"op":"toString"}', '{"id":1,"op":"hello","args":3}'])('survives %s', async (text) => {
    expect(await exchange(`${text}\n`)).toMatchObject({ error: expect.stringContaining('bad request') as string });
    expect(await exchange('{"id":2,"op":"hello"}\n')).toMatchObject({ id: 2, result: { pod: 'pod-1' } });
  });

  it('hangs up on an endless line', async () => {
    expect(await exchange('x'.repeat(100_000))).toMatchObject({ id: null, error: 'line longer than 65536 bytes' });
  });

  it('ends what a client started for itself when the client goes', async () => {
    const socket = connect({ path });
    await once(socket, 'connect');
    socket.write('{"id":1,"op":"pinger"}\n');
    socket.end('{"id":2,"op":"hello"}\n');
    socket.resume();
    await expect.poll(() => aborted, { timeout: 30_000 }).toEqual(['pinger']);
  });

  it('gives up on a program that hangs', async () => {
    const client = await connectPod(path);
    await expect(client.call('pinger', { ip: '192.0.2.1' }, 50)).rejects.toThrow('no answer within 50 ms');
    client.close();
  });

  it('fails open calls when the program ends, and takes its socket away', async () => {
    const client = await connectPod(path);
    const open = expect(client.call('pinger', { ip: '192.0.2.1' })).rejects.toThrow('the program has ended');
    await client.call('hello', {});
    await server.close();
    await open;
    await expect(client.call('hello', {})).rejects.toThrow('the program has ended');
    await expect(stat(path)).rejects.toThrow('ENOENT');
    await expect(connectPod(path)).rejects.toThrow('ENOENT');
  });

  it('takes the place of a socket that a crash left behind', async () => {
    const second = await listenControl(path, operations);
    expect(await exchange('{"id":3,"op":"hello"}\n')).toMatchObject({ id: 3 });
    await second.close();
  });
});

describe('the operations', () => {
  const call = (op: string, args: object): Promise<unknown> =>
    createOperations('pod-1').get(op)!({ ...args }, new AbortController().signal);

  it.each([
    ['probe', { ip: '10.1' }, 'ip: must be an IP address'],
    ['probe', { ip: '192.0.2.1', kinds: ['sctp'] }, 'kinds: must hold only icmp, tcp, udp'],
    ['probe', { ip: '192.0.2.1', bytes: 1e12 }, 'bytes: must be a number from 0 to 1073741824'],
    ['connect', { ip: '192.0.2.1', port: 0 }, 'port: must be a number from 1 to 65535'],
    ['start', { job: 'x', run: 'walk', ip: '192.0.2.1' }, 'run: must be one of pinger, stream'],
    ['stop', { job: 'x' }, 'job: no job is named "x"'],
  ])('%s refuses %j', async (op, args, message) => {
    await expect((async () => call(op, args))()).rejects.toThrow(message);
  });
});
