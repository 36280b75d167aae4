import { z } from 'zod';
import { CONTROLLER_FIELD_MANAGER, DEFAULT_NAMESPACE, WEBHOOK_CERT_SECRET, WEBHOOK_SERVICE } from '../api/names.ts';
import { type Clock, formatTime, systemClock } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { type KeyPair, validityOf } from '../net/certificate.ts';
import { KubeApiError, type KubeClient } from '../store/kube/kube-client.ts';
import { INJECTION_PATHS, injectable, planInjection } from './ca-injection.ts';
import { type CertificateStep, planCertificates, takeStep } from './certificate-plan.ts';
import { caBundleOf, type CertificateSet, formatSecretData, parseSecretData, type ServingNames } from './certificate-set.ts';

export interface CertificateManagerOptions {
  readonly client: KubeClient;
  /** Where the Secret and the Service are. */
  readonly namespace?: string;
  readonly serviceName?: string;
  /** Names and addresses, beside those of the Service, that API servers call us by: where `clientConfig.url` stands in place of the Service. */
  readonly extraNames?: Partial<ServingNames>;
  readonly clock?: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Called with the first certificate that is to be served, and with each that replaces it. */
  readonly onCertificate: (pair: KeyPair) => void;
}

/** A caBundle that somebody removed is put back within it; four small requests each time. */
const CHECK_MS = 30_000;
const FIRST_RETRY_MS = 1_000;
/** Each loser of a race sees what the winner wrote; a second loss in a row is rare already. */
const MAX_CONFLICTS = 5;

/** Labels and what else others put there stays. */
const secret = z.looseObject({
  metadata: z.looseObject({ resourceVersion: z.string() }),
  data: z.record(z.string(), z.string()).default({}),
});
type Secret = z.infer<typeof secret>;

/**
 * Keeps the certificates of the webhooks: makes them, shares them with the other replicas through one Secret, renews them in good time, and makes
 * API servers trust them. Works until `signal` aborts; while the API is away the last certificate is served on.
 *
 * When the Secret is deleted, or what it holds cannot be used, it comes back with a new CA, which signs after the usual overlap.
 */
export async function runCertificateManager(options: CertificateManagerOptions): Promise<void> {
  const { client, namespace = DEFAULT_NAMESPACE, clock = systemClock, log, signal, onCertificate } = options;
  const names = namesOf(options);
  const collection = `/api/v1/namespaces/${namespace}/secrets`;
  const path = `${collection}/${WEBHOOK_CERT_SECRET}`;
  let known: CertificateSet | undefined;
  let trusted: string | undefined;
  let failures = 0;

  while (!signal.aborted) {
    try {
      await check();
      if (failures > 0) log.info('the webhook certificates are in order again');
      failures = 0;
    } catch (error) {
      if (signal.aborted) break;
      failures++;
      if (failures === 1) log.warn({ error: messageOf(error) }, 'could not see to the webhook certificates; trying again until it works');
    }
    await pause(clock, failures === 0 ? CHECK_MS : Math.min(CHECK_MS, FIRST_RETRY_MS * 2 ** (failures - 1)), signal);
  }

  async function check(): Promise<void> {
    const set = await settle();
    const bundle = caBundleOf(set);
    const problems = await inject(bundle);
    trusted = problems.length === 0 ? bundle : undefined;
    if (set.serving !== undefined && set.serving.certificate !== known?.serving?.certificate) {
      onCertificate(set.serving);
      log.info({ until: formatTime(validityOf(set.serving.certificate).notAfterMs) }, 'serving a new webhook certificate');
    }
    known = set;
    if (problems.length > 0) throw new Error(problems.join('; '));
  }

  /** Brings the Secret up to date. @returns what it holds now */
  async function settle(): Promise<CertificateSet> {
    for (let conflicts = 0; ; conflicts++) {
      const found = await readIfThere(path, secret);
      const { set, steps } = await plan(found && parseSecretData(found.data));
      if (steps.length === 0) return set;
      try {
        await write(set, found);
        log.info({ secret: `${namespace}/${WEBHOOK_CERT_SECRET}`, steps }, 'wrote the webhook certificates');
        return set;
      } catch (error) {
        if (!isConflict(error) || conflicts >= MAX_CONFLICTS) throw error;
      }
    }
  }

  async function plan(
    stored: CertificateSet | undefined,
  ): Promise<{ readonly set: CertificateSet; readonly steps: readonly CertificateStep[] }> {
    const nowMs = clock.now();
    const steps: CertificateStep[] = [];
    let set = stored;
    if (set === undefined && known !== undefined) {
      // Others still serve from this CA, so it stays until all know a new one.
      steps.push('stage-ca');
      set = await takeStep('stage-ca', { nowMs, set: known, names, trusted });
    }
    for (;;) {
      const situation = { nowMs, set, names, trusted };
      const step = planCertificates(situation);
      if (set !== undefined && step === undefined) return { set, steps };
      steps.push(step ?? 'create');
      set = await takeStep(step ?? 'create', situation);
    }
  }

  /** Replaces just the version that was read. */
  async function write(set: CertificateSet, found: Secret | undefined): Promise<void> {
    const data = formatSecretData(set);
    const query = { fieldManager: CONTROLLER_FIELD_MANAGER };
    if (found !== undefined) await client.request({ method: 'PUT', path, query, body: { ...found, data }, signal });
    else {
      const metadata = { name: WEBHOOK_CERT_SECRET, namespace };
      const body = { apiVersion: 'v1', kind: 'Secret', type: 'kubernetes.io/tls', metadata, data };
      await client.request({ method: 'POST', path: collection, query, body, signal });
    }
  }

  /** Each object by itself: one that cannot be changed does not keep the others from it. @returns what went wrong */
  async function inject(bundle: string): Promise<string[]> {
    const results = await Promise.allSettled(INJECTION_PATHS.map((each) => injectInto(each, bundle)));
    return results.flatMap((result) => (result.status === 'rejected' ? [messageOf(result.reason)] : []));
  }

  async function injectInto(target: string, bundle: string): Promise<void> {
    for (let conflicts = 0; ; conflicts++) {
      const object = await readIfThere(target, injectable);
      // An installation may do without admission webhooks.
      const operations = object === undefined ? [] : planInjection(object, bundle);
      if (operations.length === 0) return;
      try {
        const query = { fieldManager: CONTROLLER_FIELD_MANAGER };
        await client.request({
          method: 'PATCH',
          path: target,
          query,
          body: operations,
          contentType: 'application/json-patch+json',
          signal,
        });
        log.info({ object: target }, 'wrote the CA bundle');
        return;
      } catch (error) {
        // Another replica was quicker, perhaps.
        if (!(error instanceof KubeApiError && error.code === 422) || conflicts >= MAX_CONFLICTS) throw error;
      }
    }
  }

  async function readIfThere<T>(target: string, schema: z.ZodType<T>): Promise<T | undefined> {
    try {
      return schema.parse(await client.request({ method: 'GET', path: target, signal }));
    } catch (error) {
      if (error instanceof KubeApiError && error.code === 404) return undefined;
      throw error;
    }
  }
}

function namesOf({
  namespace = DEFAULT_NAMESPACE,
  serviceName = WEBHOOK_SERVICE,
  extraNames = {},
}: CertificateManagerOptions): ServingNames {
  const service = `${serviceName}.${namespace}`;
  return {
    // API servers ask for the one with `.svc`.
    dnsNames: [`${service}.svc`, `${service}.svc.cluster.local`, service, ...(extraNames.dnsNames ?? [])],
    ipAddresses: extraNames.ipAddresses ?? [],
  };
}

/** 409 for an object that exists already or has another version by now; 404 when it was deleted just then. */
function isConflict(error: unknown): boolean {
  return error instanceof KubeApiError && (error.code === 409 || error.code === 404);
}

/** Ends early when `signal` aborts. */
async function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const end = (): void => resolve();
  const cancel = clock.after(delayMs, end);
  signal.addEventListener('abort', end, { once: true });
  await promise;
  cancel();
  signal.removeEventListener('abort', end);
}
