import { API_GROUP, DEFAULT_NAMESPACE, MUTATING_WEBHOOK, VALIDATING_WEBHOOK, WEBHOOK_SERVICE } from '../api/names.ts';

export interface WebhookConfiguration {
  readonly apiVersion: 'admissionregistration.k8s.io/v1';
  readonly kind: 'MutatingWebhookConfiguration' | 'ValidatingWebhookConfiguration';
  readonly metadata: { readonly name: string };
  readonly webhooks: readonly Readonly<Record<string, unknown>>[];
}

/** An answer is computed in milliseconds; whoever waits for longer waits for a replica that is gone. */
const TIMEOUT_S = 5;

/**
 * The admission webhooks as an installation declares them, without CA bundle; docs/decisions/0005-webhooks.md says why so.
 * @param url where they are, such as `https://192.0.2.10:9443`, when that is not the Service
 */
export function webhookConfigurations(url?: string): readonly WebhookConfiguration[] {
  return [
    configuration('MutatingWebhookConfiguration', MUTATING_WEBHOOK, webhook('mutate', '/mutate', url)),
    configuration('ValidatingWebhookConfiguration', VALIDATING_WEBHOOK, webhook('validate', '/validate', url)),
  ];
}

function configuration(kind: WebhookConfiguration['kind'], name: string, only: Readonly<Record<string, unknown>>): WebhookConfiguration {
  return { apiVersion: 'admissionregistration.k8s.io/v1', kind, metadata: { name }, webhooks: [only] };
}

function webhook(name: string, path: string, url: string | undefined): Readonly<Record<string, unknown>> {
  const service = { namespace: DEFAULT_NAMESPACE, name: WEBHOOK_SERVICE, path, port: 443 };
  return {
    name: `${name}.gateways.${API_GROUP}`,
    clientConfig: url === undefined ? { service } : { url: `${url}${path}` },
    // Both versions: each object comes as it was written, and is judged by the rules of its version.
    rules: [
      {
        apiGroups: [API_GROUP],
        apiVersions: ['v1beta1', 'v1alpha1'],
        operations: ['CREATE', 'UPDATE'],
        resources: ['gateways'],
        scope: 'Cluster',
      },
    ],
    // CEL rules in the CustomResourceDefinition hold meanwhile, and the controller defaults and checks what it reads.
    failurePolicy: 'Ignore',
    sideEffects: 'None',
    timeoutSeconds: TIMEOUT_S,
    admissionReviewVersions: ['v1'],
  };
}
