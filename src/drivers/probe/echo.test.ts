import { createSocket } from 'node:dgram';
import { afterEach, describe, expect, it } from 'vitest';
import { type Echo, openEcho } from './echo.ts';

const ADDRESS = '127.0.0.1';
const PATIENCE_MS = 10_000;
let echo: Echo | undefined;
afterEach(() => echo?.close());

async function freePort(): Promise<number> {
  const socket = createSocket('udp4');
  const port = await new Promise<number>((resolve) => socket.bind(0, ADDRESS, () => resolve(socket.address().port)));
  await new Promise<void>((resolve) => socket.close(() => resolve()));
  return port;
}

describe('an echo', () => {
  it('measures a round trip, with small and with large requests', async () => {
    echo = await openEcho(ADDRESS, await freePort());
    expect(await echo.measure(ADDRESS, PATIENCE_MS)).toBeGreaterThan(0);
    expect(await echo.measure(ADDRESS, PATIENCE_MS, 1410)).toBeGreaterThan(0);
  });

  it('answers a large request with a small message, and nothing with nothing', async () => {
    const port = await freePort();
    echo = await openEcho(ADDRESS, port);
    const socket = createSocket('udp4');
    try {
      const sizes: number[] = [];
      const answered = new Promise<void>((resolve) => socket.on('message', (message) => resolve(void sizes.push(message.length))));
      socket.send(Buffer.from([1, 2, 3]), port, ADDRESS);
      socket.send(Buffer.alloc(1400, 2), port, ADDRESS);
      socket.send(Buffer.alloc(1400, 1), port, ADDRESS);
      await answered;
      expect(sizes).toEqual([9]);
    } finally {
      socket.close();
    }
  });

  it('says nothing when nobody answers', async () => {
    echo = await openEcho(ADDRESS, await freePort());
    expect(await echo.measure('127.0.0.2', 50)).toBeUndefined();
  });
});
