import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { expect, it } from 'vitest';
import { startStream } from './stream.ts';

it('a stream whose connection is reset reports that, and does not end the program', async () => {
  const server = createServer((socket) => void socket.once('data', () => socket.resetAndDestroy())).listen(0, '127.0.0.1');
  try {
    await once(server, 'listening');
    const { finished } = startStream(
      { ip: '127.0.0.1', port: (server.address() as AddressInfo).port },
      { bytesPerSecond: 1_000, seconds: 60 },
    );
    expect(await finished).toMatchObject({ connected: true, error: 'connection reset' });
  } finally {
    server.close();
  }
});
