import { checkGateway } from './check-gateway.ts';
import type { FieldError } from './field-error.ts';
import { defaultPort } from './gateway.ts';
import { ALPHA_VERSION, API_GROUP, BETA_VERSION, GATEWAY_LABEL } from './names.ts';

type Fields = Readonly<Record<string, unknown>>;

/** What the API server asks about (`admission.k8s.io/v1` AdmissionRequest). */
export interface AdmissionInput {
  readonly operation: string;
  readonly object: unknown;
  /** On UPDATE: what is stored. */
  readonly oldObject?: unknown;
}

/** HTTP status: 400 for an object that cannot be one of ours, 422 for one that breaks the contract. */
export type Verdict =
  | { readonly allowed: true }
  | { readonly allowed: false; readonly code: 400 | 422; readonly message: string; readonly errors: readonly FieldError[] };

/**
 * Decides whether a Gateway of either version may be written. Deleting is always allowed, and so is every change to an object that is being
 * deleted: an object that has become invalid must not keep a finalizer from being taken off.
 */
export function admitGateway({ operation, object, oldObject }: AdmissionInput): Verdict {
  if (operation === 'DELETE') return { allowed: true };
  const { apiVersion, kind } = fieldsOf(object);
  const known = [BETA_VERSION, ALPHA_VERSION].map((version) => `${API_GROUP}/${version}`);
  if (kind !== 'Gateway' || !known.includes(String(apiVersion)))
    return refuse(400, [
      { path: 'kind', message: `must be Gateway of ${known.join(' or ')}, not ${String(kind)} of ${String(apiVersion)}` },
    ]);
  const { name, deletionTimestamp } = fieldsOf(fieldsOf(object)['metadata']);
  const { name: oldName } = fieldsOf(fieldsOf(oldObject)['metadata']);
  if (operation === 'UPDATE' && oldName !== undefined && name !== oldName)
    return refuse(400, [{ path: 'metadata.name', message: `must stay ${JSON.stringify(oldName)}` }]);
  if (deletionTimestamp !== undefined && deletionTimestamp !== null) return { allowed: true };
  const checked = checkGateway(object);
  return 'errors' in checked ? refuse(422, checked.errors) : { allowed: true };
}

/**
 * Fills the defaults of the contract into a Gateway as it was sent, and nothing else: what is not ours, or not well-formed, comes back as it is.
 * v1beta1: the region's own label in the selector, beside others, and ports. v1alpha1: the selector becomes exactly that label.
 */
export function defaultSentGateway(object: unknown): unknown {
  const { apiVersion, kind, metadata, spec } = fieldsOf(object);
  const { name } = fieldsOf(metadata);
  if (kind !== 'Gateway' || typeof name !== 'string' || name === '' || (spec !== undefined && spec !== null && !isFields(spec)))
    return object;
  const own = { [GATEWAY_LABEL]: name };
  const { nodeSelector, endpoints } = fieldsOf(spec);
  if (apiVersion === `${API_GROUP}/${ALPHA_VERSION}`)
    return { ...fieldsOf(object), spec: { ...fieldsOf(spec), nodeSelector: { matchLabels: own } } };
  if (apiVersion !== `${API_GROUP}/${BETA_VERSION}`) return object;
  const selector = fieldsOf(nodeSelector);
  return {
    ...fieldsOf(object),
    spec: {
      ...fieldsOf(spec),
      nodeSelector: { ...selector, matchLabels: { ...fieldsOf(selector['matchLabels']), ...own } },
      ...(Array.isArray(endpoints) && { endpoints: endpoints.map(withPort) }),
    },
  };
}

function withPort(endpoint: unknown): unknown {
  if (!isFields(endpoint)) return endpoint;
  const { port, type } = endpoint;
  return port === undefined || port === null || port === 0 ? { ...endpoint, port: defaultPort(String(type)) } : endpoint;
}

function refuse(code: 400 | 422, errors: readonly FieldError[]): Verdict {
  return { allowed: false, code, message: errors.map(({ path, message }) => `${path}: ${message}`).join('; '), errors };
}

function fieldsOf(value: unknown): Fields {
  return isFields(value) ? value : {};
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
