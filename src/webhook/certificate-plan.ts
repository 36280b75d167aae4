import { X509Certificate } from 'node:crypto';
import { validityOf, type KeyPair } from '../net/certificate.ts';
import { type CertificateSet, makeCa, makeServing, type ServingNames, SKEW_MS } from './certificate-set.ts';

/**
 * - `create`: there is nothing that could be used; everything is made anew
 * - `stage-ca`: a new CA is made, to be trusted long before it signs
 * - `promote-ca`: it signs from now on; the old one stays trusted for a while
 * - `drop-previous-ca`: that while is over
 * - `renew-serving`: a new certificate from the same CA
 */
export type CertificateStep = 'create' | 'stage-ca' | 'promote-ca' | 'drop-previous-ca' | 'renew-serving';

export interface CertificateSituation {
  readonly nowMs: number;
  /** What the Secret holds. */
  readonly set: CertificateSet | undefined;
  /** What the serving certificate must be good for. */
  readonly names: ServingNames;
  /** The bundle that every API object is known to trust; undefined while that is not known. */
  readonly trusted: string | undefined;
}

/**
 * How long a new CA is trusted before it signs, and an old one after: replicas look at the Secret twice a minute, API servers watch the bundle;
 * an hour leaves room for those that are cut off for a while.
 */
const OVERLAP_MS = 3_600_000;
/** As kubelet and cert-manager renew theirs. */
const RENEW_AT = 2 / 3;

/** Decides what is to be done next to the certificates; undefined when all is well. Pure; after the step there may be another. */
export function planCertificates({ nowMs, set, names, trusted }: CertificateSituation): CertificateStep | undefined {
  if (set === undefined) return 'create';
  const { ca, serving, nextCa, previousCa } = set;
  const isNextUsable = nextCa !== undefined && isValid(nextCa, nowMs);
  if (!isValid(ca, nowMs)) return isNextUsable ? 'promote-ca' : 'create';
  if (isNextUsable) {
    const isKnown = trusted?.includes(nextCa.certificate) === true;
    if (isKnown && ageMs(nextCa, nowMs) >= OVERLAP_MS) return 'promote-ca';
  } else if (isOld(ca, nowMs)) return 'stage-ca';
  if (serving === undefined || !isValid(serving, nowMs) || isOld(serving, nowMs) || !isGoodFor(serving, names)) return 'renew-serving';
  return previousCa !== undefined && ageMs(serving, nowMs) >= OVERLAP_MS ? 'drop-previous-ca' : undefined;
}

/** Makes what the step asks for. Computes keys, and touches nothing else. */
export async function takeStep(step: CertificateStep, { nowMs, set, names }: CertificateSituation): Promise<CertificateSet> {
  if (set === undefined || step === 'create') {
    const ca = await makeCa(nowMs);
    return { ca, serving: await makeServing(ca, names, nowMs) };
  }
  const { previousCa: _, ...withoutPrevious } = set;
  switch (step) {
    case 'stage-ca':
      return { ...set, nextCa: await makeCa(nowMs) };
    case 'promote-ca': {
      const ca = set.nextCa ?? (await makeCa(nowMs));
      return { ca, serving: await makeServing(ca, names, nowMs), previousCa: set.ca.certificate };
    }
    case 'drop-previous-ca':
      return withoutPrevious;
    case 'renew-serving':
      return { ...set, serving: await makeServing(set.ca, names, nowMs) };
  }
}

function isValid({ certificate }: KeyPair, nowMs: number): boolean {
  const { notBeforeMs, notAfterMs } = validityOf(certificate);
  return notBeforeMs <= nowMs && nowMs < notAfterMs;
}

function isOld({ certificate }: KeyPair, nowMs: number): boolean {
  const { notBeforeMs, notAfterMs } = validityOf(certificate);
  return nowMs - notBeforeMs >= (notAfterMs - notBeforeMs) * RENEW_AT;
}

/** Since it was made. */
function ageMs({ certificate }: KeyPair, nowMs: number): number {
  return nowMs - (validityOf(certificate).notBeforeMs + SKEW_MS);
}

function isGoodFor({ certificate }: KeyPair, { dnsNames, ipAddresses }: ServingNames): boolean {
  const parsed = new X509Certificate(certificate);
  return (
    dnsNames.every((name) => parsed.checkHost(name, { subject: 'never' }) !== undefined) &&
    ipAddresses.every((address) => parsed.checkIP(address) !== undefined)
  );
}
