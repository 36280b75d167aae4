import { createServer } from 'node:net';
import { once } from 'node:events';
import { pino } from 'pino';
import { Counter, Registry } from 'prom-client';
import { afterEach, describe, expect, it } from 'vitest';
import { type ObservabilityServer, startObservabilityServer } from './server.ts';

const log = pino({ level: 'silent' });
const host = '127.0.0.1';
const open: ObservabilityServer[] = [];
afterEach(async () => {
  for (const server of open.splice(0)) await server.close();
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, host);
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function get(port: number, path: string): Promise<string> {
  const answer = await fetch(`http://${host}:${port}${path}`);
  return `${answer.status} ${(await answer.text()).trim()}`;
}

describe('the observability server', () => {
  it('answers probes with what is wrong, as long as something is', async () => {
    const [port, trouble] = [await freePort(), { live: undefined as string | undefined }];
    open.push(await startObservabilityServer({ health: { host, port, live: () => trouble.live, ready: () => 'not yet' }, log }));
    expect(await get(port, '/healthz')).toBe('200 ok');
    expect(await get(port, '/readyz?verbose=1')).toBe('503 not yet');
    trouble.live = 'it hangs';
    expect(await get(port, '/healthz')).toBe('503 it hangs');
    expect(await get(port, '/metrics')).toBe('404 there is /healthz, /readyz');
  });

  it('serves metrics on a port of their own', async () => {
    const [port, registry] = [await freePort(), new Registry()];
    new Counter({ name: 'raven_test_total', help: 'test', registers: [registry] }).inc();
    open.push(await startObservabilityServer({ metrics: { host, port, registry }, log }));
    expect(await get(port, '/metrics')).toContain('raven_test_total 1');
    expect(await get(port, '/healthz')).toMatch(/^404/);
  });

  it('leaves nothing open when one of its addresses is taken', async () => {
    const [first, taken] = [await freePort(), await freePort()];
    const registry = new Registry();
    open.push(await startObservabilityServer({ metrics: { host, port: taken, registry }, log }));
    const health = { host, port: taken, live: () => undefined, ready: () => undefined };
    await expect(startObservabilityServer({ metrics: { host, port: first, registry }, health, log })).rejects.toThrow('EADDRINUSE');
    await expect(get(first, '/metrics')).rejects.toThrow();
  });
});
