import { convertGateway } from './conversion.ts';
import { type FieldError, fieldErrorOf, withoutNulls } from './field-error.ts';
import { defaultGateway, type Gateway, gatewaySchema, type GatewayV1alpha1, gatewayV1alpha1Schema, validateGateway } from './gateway.ts';
import { ALPHA_VERSION, API_GROUP, BETA_VERSION } from './names.ts';

/**
 * Checks a Gateway of either version: its form, then the contract with the defaults filled in. All violations are reported, with the paths of the
 * version that it was written in. The same for manifests, the webhooks and `raven validate`.
 *
 * @returns the Gateway in v1beta1 with its defaults
 */
export function checkGateway(value: unknown): { readonly gateway: Gateway } | { readonly errors: readonly FieldError[] } {
  const object = withoutNulls(value);
  const isAlpha = (object as { apiVersion?: unknown } | undefined)?.apiVersion === `${API_GROUP}/${ALPHA_VERSION}`;
  if (!isAlpha) return checkBeta(object);
  const alpha = gatewayV1alpha1Schema.safeParse(object, { reportInput: true });
  if (!alpha.success) return { errors: alpha.error.issues.map(fieldErrorOf) };
  const checked = checkBeta(convertGateway(object, BETA_VERSION));
  const errors = [...validateAlpha(alpha.data), ...('errors' in checked ? checked.errors : [])];
  return errors.length > 0 ? { errors } : checked;
}

function checkBeta(object: unknown): { readonly gateway: Gateway } | { readonly errors: readonly FieldError[] } {
  const parsed = gatewaySchema.safeParse(object, { reportInput: true });
  if (!parsed.success) return { errors: parsed.error.issues.map(fieldErrorOf) };
  const gateway = defaultGateway(parsed.data);
  const errors = validateGateway(gateway);
  return errors.length > 0 ? { errors } : { gateway };
}

/** What the contract asks of v1alpha1 beyond v1beta1. */
function validateAlpha({ spec: { endpoints, exposeType } }: GatewayV1alpha1): FieldError[] {
  const errors: FieldError[] = endpoints.length === 0 ? [{ path: 'spec.endpoints', message: 'must have at least one endpoint' }] : [];
  if (exposeType !== 'LoadBalancer') return errors;
  for (const [i, { publicIP = '' }] of endpoints.entries())
    if (publicIP !== '') errors.push({ path: `spec.endpoints[${i}].publicIP`, message: 'must be empty when exposeType is LoadBalancer' });
  return errors;
}
