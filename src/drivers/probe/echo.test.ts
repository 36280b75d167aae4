import { createSocket } from 'node:dgram';
import { afterEach, expect, it } from 'vitest';
import { openCaller, openEcho } from './echo.ts';

/** On loopback addresses of this machine; nothing leaves it. */

const PORT = 24473;
const PATIENCE_MS = 10_000;
const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const each of opened.splice(0)) await each.close();
});

async function open<T extends { close(): Promise<void> }>(opening: Promise<T>): Promise<T> {
  const each = await opening;
  opened.push(each);
  return each;
}

it('carries a byte of flags there and another one back, with small and with large requests', async () => {
  const heard: [string, number][] = [];
  await open(
    openEcho('127.0.0.2', PORT, (from, flags) => {
      heard.push([from, flags]);
      return 9;
    }),
  );
  const echo = await open(openEcho('127.0.0.3', PORT, () => 0));
  const caller = await open(openCaller('127.0.0.4', '127.0.0.2', PORT));
  expect(await echo.probe('127.0.0.2', 5, PATIENCE_MS)).toMatchObject({ flags: 9, rttMs: expect.any(Number) });
  expect(await caller.probe(6, PATIENCE_MS)).toMatchObject({ flags: 9 });
  expect(await echo.probe('127.0.0.2', 7, PATIENCE_MS, 1410)).toMatchObject({ flags: 9 });
  expect(heard).toEqual([
    ['127.0.0.3', 5],
    ['127.0.0.4', 6],
    ['127.0.0.3', 7],
  ]);
});

it('carries a second byte of flags when there is one, and answers none that was not asked for with two', async () => {
  const heard: number[] = [];
  await open(
    openEcho('127.0.0.2', PORT, (_, flags) => {
      heard.push(flags);
      return 0x2109;
    }),
  );
  const caller = await open(openCaller('127.0.0.4', '127.0.0.2', PORT));
  expect(await caller.probe(0x0305, PATIENCE_MS)).toMatchObject({ flags: 0x2109 });
  expect(await caller.probe(5, PATIENCE_MS)).toMatchObject({ flags: 9 });
  expect(heard).toEqual([0x0305, 5]);
});

it('tells an agent that is away from silence', async () => {
  await open(openEcho('127.0.0.2', PORT, () => undefined));
  const mute = await open(openCaller('127.0.0.4', '127.0.0.2', PORT));
  const nobody = await open(openCaller('127.0.0.4', '127.0.0.5', PORT));
  expect(await mute.probe(0, 100)).toBe('silent');
  expect(await nobody.probe(0, PATIENCE_MS)).toBe('refused');
});

it('answers a large request with a small message, and nothing with nothing', async () => {
  await open(openEcho('127.0.0.2', PORT, () => 0));
  const socket = createSocket('udp4');
  try {
    const sizes: number[] = [];
    const answered = new Promise<void>((resolve) => socket.on('message', (message) => resolve(void sizes.push(message.length))));
    socket.send(Buffer.from([1, 2, 3]), PORT, '127.0.0.2');
    socket.send(Buffer.alloc(1400, 2), PORT, '127.0.0.2');
    socket.send(Buffer.alloc(1400, 1), PORT, '127.0.0.2');
    await answered;
    expect(sizes).toEqual([10]);
  } finally {
    socket.close();
  }
});
