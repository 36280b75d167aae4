import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createCa, issueCertificate, type KeyPair } from '../net/certificate.ts';

/** What the replicas of the controller share. Holds private keys: never to be logged. */
export interface CertificateSet {
  /** Signs. */
  readonly ca: KeyPair;
  /** Undefined when there is none that the CA signed. */
  readonly serving: KeyPair | undefined;
  /** Is trusted already, and signs when everybody knows it. */
  readonly nextCa?: KeyPair;
  /** Certificate of the CA that signed before, trusted until no replica serves anything of it. */
  readonly previousCa?: string;
}

/** Names and addresses that an API server may call us by. */
export interface ServingNames {
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
}

/** A Secret's `data`: base64. */
export type SecretData = Readonly<Record<string, string>>;

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Both are renewed at two thirds of their life, long before they end. */
const CA_LIFE_MS = 5 * 365 * DAY_MS;
const SERVING_LIFE_MS = 90 * DAY_MS;
/** An API server whose clock lags behind ours must find them valid. */
export const SKEW_MS = HOUR_MS;

export function makeCa(nowMs: number): Promise<KeyPair> {
  return createCa('raven-webhook-ca', new Date(nowMs - SKEW_MS), new Date(nowMs + CA_LIFE_MS));
}

/** Never outlives its CA. */
export function makeServing(ca: KeyPair, names: ServingNames, nowMs: number): Promise<KeyPair> {
  const caEndsMs = new X509Certificate(ca.certificate).validToDate.getTime();
  return issueCertificate(ca, {
    commonName: names.dnsNames[0] ?? 'raven-webhook',
    ...names,
    usages: ['server'],
    notBefore: new Date(nowMs - SKEW_MS),
    notAfter: new Date(Math.min(nowMs + SERVING_LIFE_MS, caEndsMs)),
  });
}

/** What an API server should trust: every CA that anything is served from, now or soon. PEM. */
export function caBundleOf({ ca, nextCa, previousCa }: CertificateSet): string {
  const texts = [ca.certificate, nextCa?.certificate, previousCa].filter((each) => each !== undefined);
  // An API server takes a bundle only when each PEM block begins on a line of its own.
  return texts.map((text) => `${text.trimEnd()}\n`).join('');
}

/** For a Secret of type `kubernetes.io/tls`, with more keys than that type asks for. */
export function formatSecretData({ ca, serving, nextCa, previousCa }: CertificateSet): SecretData {
  const texts = {
    'ca.crt': ca.certificate,
    'ca.key': ca.key,
    // The type wants both to be there.
    'tls.crt': serving?.certificate ?? '',
    'tls.key': serving?.key ?? '',
    ...(nextCa && { 'next-ca.crt': nextCa.certificate, 'next-ca.key': nextCa.key }),
    ...(previousCa !== undefined && { 'previous-ca.crt': previousCa }),
  };
  return Object.fromEntries(Object.entries(texts).map(([key, text]) => [key, Buffer.from(text).toString('base64')]));
}

/** Undefined unless there is a CA with its key. Other parts that do not belong to it, or cannot be read, count as absent. */
export function parseSecretData(data: SecretData): CertificateSet | undefined {
  const text = (key: string): string => Buffer.from(data[key] ?? '', 'base64').toString('utf8');
  const ca = pairOf(text('ca.crt'), text('ca.key'));
  if (ca === undefined) return undefined;
  const serving = pairOf(text('tls.crt'), text('tls.key'));
  const nextCa = pairOf(text('next-ca.crt'), text('next-ca.key'));
  const previousCa = text('previous-ca.crt');
  return {
    ca,
    serving: serving !== undefined && isSignedBy(serving, ca) ? serving : undefined,
    ...(nextCa && { nextCa }),
    ...(isCertificate(previousCa) && { previousCa }),
  };
}

function pairOf(certificate: string, key: string): KeyPair | undefined {
  try {
    return new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key)) ? { certificate, key } : undefined;
  } catch {
    return undefined;
  }
}

function isSignedBy(pair: KeyPair, ca: KeyPair): boolean {
  return new X509Certificate(pair.certificate).verify(new X509Certificate(ca.certificate).publicKey);
}

function isCertificate(text: string): boolean {
  try {
    return new X509Certificate(text).ca;
  } catch {
    return false;
  }
}
