import { getRequestListener } from '@hono/node-server';
import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { SecureContextOptions } from 'node:tls';
import type { Logger } from '../lib/logger.ts';
import type { KeyPair } from '../net/certificate.ts';
import { createWebhookApp, type ReviewRecord } from './app.ts';
import type { CertificateHolder } from './certificate-holder.ts';

export interface WebhookServerOptions {
  readonly address: string;
  /** 0: any free one. */
  readonly port: number;
  /** New connections get its newest certificate; without one, none comes to be. */
  readonly certificates: CertificateHolder;
  readonly log: Logger;
  readonly onReview?: (record: ReviewRecord) => void;
}

export interface WebhookServer {
  readonly port: number;
  /** Takes no more connections, answers the requests that are under way, and ends. */
  close(): Promise<void>;
}

/**
 * An API server's client (Go's `net/http`) gives an idle connection up after 90 s. Were we the first to, a request that is just being sent
 * would fail, and POST is not repeated.
 */
const KEEP_ALIVE_MS = 120_000;
/** No webhook of an API server may take longer (`timeoutSeconds`, at most 30). */
const REQUEST_TIMEOUT_MS = 30_000;
const CLOSE_DEADLINE_MS = 10_000;

/**
 * Serves the webhooks over TLS; the certificate is exchanged without a connection being lost.
 * @throws when the address cannot be listened on
 */
export async function startWebhookServer({ address, port, certificates, log, onReview }: WebhookServerOptions): Promise<WebhookServer> {
  const app = createWebhookApp({ log, ...(onReview && { onReview }) });
  const listener = getRequestListener(app.fetch, { overrideGlobalObjects: false });
  const initial = certificates.get();
  const server = createServer({
    ...(initial && contextOf(initial)),
    keepAliveTimeout: KEEP_ALIVE_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
  });
  let closing = false;
  let underWay = 0;
  /** Not only idle ones: Go's client opens connections in reserve, and to Node.js one that never had a request is not idle. */
  const closeIfQuiet = (): void => {
    if (closing && underWay === 0) server.closeAllConnections();
  };
  server.on('request', (request, response) => {
    underWay++;
    response.once('close', () => {
      underWay--;
      closeIfQuiet();
    });
    void listener(request, response);
  });
  server.on('tlsClientError', (error, { remoteAddress }) => log.debug({ remoteAddress, error: error.message }, 'TLS failed'));
  certificates.follow((pair) => server.setSecureContext(contextOf(pair)));
  server.listen({ host: address, port });
  await once(server, 'listening');
  const { port: actualPort } = server.address() as AddressInfo;
  log.info({ address, port: actualPort }, 'serving webhooks');

  async function close(): Promise<void> {
    const closed = once(server, 'close');
    closing = true;
    server.close();
    closeIfQuiet();
    const timer = setTimeout(() => server.closeAllConnections(), CLOSE_DEADLINE_MS);
    await closed;
    clearTimeout(timer);
  }

  return { port: actualPort, close };
}

function contextOf({ certificate, key }: KeyPair): SecureContextOptions {
  return { cert: certificate, key, minVersion: 'TLSv1.2' };
}
