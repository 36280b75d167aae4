import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { type KubeOptions, openKubeClient } from '../store/open-store.ts';
import { createCertificateHolder } from '../webhook/certificate-holder.ts';
import { runCertificateManager } from '../webhook/certificate-manager.ts';
import { startWebhookServer } from '../webhook/server.ts';
import type { ControllerMetrics } from './controller-metrics.ts';

export interface WebhooksOptions {
  readonly store: string;
  readonly namespace: string;
  readonly port: number;
  readonly kube: KubeOptions;
  readonly metrics: ControllerMetrics;
  readonly log: Logger;
  /** Ends the care for the certificates. */
  readonly signal: AbortSignal;
}

export interface Webhooks {
  /** Whether there is a certificate to answer with. */
  isServing(): boolean;
  /** Answers what is under way, and ends. */
  close(): Promise<void>;
}

/** Every replica serves the webhooks, whoever leads. @throws when the port is taken, or no cluster is known */
export async function startWebhooks({ store, namespace, port, kube, metrics, log, signal }: WebhooksOptions): Promise<Webhooks> {
  const certificates = createCertificateHolder();
  const client = await openKubeClient(store, kube);
  const server = await startWebhookServer({
    address: '::',
    port,
    certificates,
    log,
    onReview: ({ path, result }) => metrics.admitted(path, result),
  });
  const managing = runCertificateManager({ client, namespace, log, signal, onCertificate: (pair) => certificates.set(pair) }).catch(
    (error: unknown) => log.error({ error: messageOf(error) }, 'the webhook certificates are not looked after any more'),
  );
  return {
    isServing: () => certificates.get() !== undefined,
    close: async () => {
      await server.close();
      await managing;
      await client.close();
    },
  };
}
