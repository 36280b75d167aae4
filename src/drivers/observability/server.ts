import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { Registry } from 'prom-client';
import type { Logger } from '../../lib/logger.ts';

export interface ObservabilityOptions {
  /** `/metrics` in Prometheus' text format. */
  readonly metrics?: { readonly host: string; readonly port: number; readonly registry: Registry };
  /** `/healthz` and `/readyz` for the kubelet. `live` and `ready` say why not; undefined is well. */
  readonly health?: {
    readonly host: string;
    readonly port: number;
    live(): string | undefined;
    ready(): string | undefined;
  };
  readonly log: Logger;
}

export interface ObservabilityServer {
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

/**
 * Serves metrics and health, each where it is wanted.
 * @throws when an address cannot be listened on; nothing is left open then
 */
export async function startObservabilityServer({ metrics, health, log }: ObservabilityOptions): Promise<ObservabilityServer> {
  const servers: Server[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(servers.map(closeServer));
  };
  try {
    if (metrics !== undefined) {
      const { host, port, registry } = metrics;
      const render = async (): Promise<Answer> => ({ status: 200, type: registry.contentType, text: await registry.metrics() });
      servers.push(await listen(host, port, { '/metrics': render }));
      log.info({ host, port }, 'serving metrics');
    }
    if (health !== undefined) {
      const { host, port } = health;
      servers.push(await listen(host, port, { '/healthz': () => answerOf(health.live()), '/readyz': () => answerOf(health.ready()) }));
      log.info({ host, port }, 'serving health');
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { close };
}

function answerOf(trouble: string | undefined): Answer {
  return { status: trouble === undefined ? 200 : 503, type: 'text/plain; charset=utf-8', text: `${trouble ?? 'ok'}\n` };
}

async function listen(host: string, port: number, pages: Readonly<Record<string, () => Answer | Promise<Answer>>>): Promise<Server> {
  const handle: RequestListener = (request, response) => {
    const page =
      request.method === 'GET' || request.method === 'HEAD' ? pages[new URL(request.url ?? '/', 'http://host').pathname] : undefined;
    const answer = page === undefined ? { status: 404, type: 'text/plain', text: `there is ${Object.keys(pages).join(', ')}\n` } : page();
    Promise.resolve(answer).then(
      ({ status, type, text }) => response.writeHead(status, { 'content-type': type }).end(text),
      (error: unknown) => response.writeHead(500).end(`${String(error)}\n`),
    );
  };
  const server = createServer(handle);
  server.listen({ host, port });
  await once(server, 'listening');
  return server;
}

async function closeServer(server: Server): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}
