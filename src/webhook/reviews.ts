import { z } from 'zod';
import { admitGateway, defaultSentGateway, type Verdict } from '../api/admission.ts';
import { convertGateway, type GatewayVersion } from '../api/conversion.ts';
import { ALPHA_VERSION, API_GROUP, BETA_VERSION } from '../api/names.ts';
import { messageOf } from '../lib/errors.ts';
import { diffJson } from './json-patch.ts';

/** What an API server asks about one request (`admission.k8s.io/v1`; Kubernetes docs, "Dynamic Admission Control"). */
export const admissionReview = z.looseObject({
  apiVersion: z.literal('admission.k8s.io/v1'),
  kind: z.literal('AdmissionReview'),
  request: z.looseObject({
    uid: z.string().min(1),
    operation: z.enum(['CREATE', 'UPDATE', 'DELETE', 'CONNECT']),
    /** Null for a deletion; the other for a creation. */
    object: z.unknown().optional(),
    oldObject: z.unknown().optional(),
  }),
});
export type AdmissionReview = z.infer<typeof admissionReview>;

/** Objects that an API server wants in another version (`apiextensions.k8s.io/v1`; Kubernetes docs, "Versions in CustomResourceDefinitions"). */
export const conversionReview = z.looseObject({
  apiVersion: z.literal('apiextensions.k8s.io/v1'),
  kind: z.literal('ConversionReview'),
  request: z.looseObject({
    uid: z.string().min(1),
    desiredAPIVersion: z.string(),
    objects: z.array(z.unknown()),
  }),
});
export type ConversionReview = z.infer<typeof conversionReview>;

/** `metav1.Status` of a refusal; kubectl prints the causes one by one. */
interface Refusal {
  readonly status: 'Failure';
  readonly code: number;
  readonly reason: 'Invalid' | 'BadRequest';
  readonly message: string;
  readonly details: {
    readonly name: string;
    readonly group: string;
    readonly kind: string;
    readonly causes: readonly { readonly reason: string; readonly field: string; readonly message: string }[];
  };
}

export interface AdmissionAnswer {
  readonly apiVersion: 'admission.k8s.io/v1';
  readonly kind: 'AdmissionReview';
  readonly response: {
    readonly uid: string;
    readonly allowed: boolean;
    readonly status?: Refusal;
    readonly patchType?: 'JSONPatch';
    /** A JSON Patch (RFC 6902), base64. */
    readonly patch?: string;
  };
}

export interface ConversionAnswer {
  readonly apiVersion: 'apiextensions.k8s.io/v1';
  readonly kind: 'ConversionReview';
  readonly response: {
    readonly uid: string;
    readonly result: { readonly status: 'Success' } | { readonly status: 'Failure'; readonly message: string };
    /** As many as were asked for, in their order; none after a failure. */
    readonly convertedObjects: readonly unknown[];
  };
}

/** Allows a Gateway, or refuses it with everything that is wrong. */
export function validate({ request }: AdmissionReview): AdmissionAnswer {
  const { uid, operation, object, oldObject } = request;
  const verdict = admitGateway({ operation, object, oldObject });
  return answerAdmission(verdict.allowed ? { uid, allowed: true } : { uid, allowed: false, status: refusal(object, verdict) });
}

/** Fills defaults. Refuses nothing: what is wrong is for `validate` to say, which comes after. */
export function mutate({ request }: AdmissionReview): AdmissionAnswer {
  const { uid, operation, object } = request;
  const operations = operation === 'DELETE' ? [] : diffJson(object, defaultSentGateway(object));
  // An API server takes a patch type without a patch, and an empty patch, for mistakes.
  if (operations.length === 0) return answerAdmission({ uid, allowed: true });
  const patch = Buffer.from(JSON.stringify(operations)).toString('base64');
  return answerAdmission({ uid, allowed: true, patchType: 'JSONPatch', patch });
}

/** Converts all objects, or none. */
export function convert({ request }: ConversionReview): ConversionAnswer {
  const { uid, desiredAPIVersion, objects } = request;
  try {
    const to = VERSIONS.find((version) => desiredAPIVersion === `${API_GROUP}/${version}`);
    if (to === undefined) throw new Error(`${desiredAPIVersion} is not served`);
    const convertedObjects = objects.map((object) => convertGateway(object, to));
    return answerConversion({ uid, result: { status: 'Success' }, convertedObjects });
  } catch (error) {
    return answerConversion({ uid, result: { status: 'Failure', message: messageOf(error) }, convertedObjects: [] });
  }
}

function refusal(object: unknown, { code, message, errors }: Extract<Verdict, { allowed: false }>): Refusal {
  return {
    status: 'Failure',
    code,
    reason: code === 422 ? 'Invalid' : 'BadRequest',
    message,
    details: {
      name: named.safeParse(object).data?.metadata.name ?? '',
      group: API_GROUP,
      kind: 'Gateway',
      causes: errors.map((each) => ({ reason: 'FieldValueInvalid', field: each.path, message: each.message })),
    },
  };
}

const VERSIONS: readonly GatewayVersion[] = [ALPHA_VERSION, BETA_VERSION];
const named = z.object({ metadata: z.object({ name: z.string() }) });

function answerAdmission(response: AdmissionAnswer['response']): AdmissionAnswer {
  return { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response };
}

function answerConversion(response: ConversionAnswer['response']): ConversionAnswer {
  return { apiVersion: 'apiextensions.k8s.io/v1', kind: 'ConversionReview', response };
}
