// tsyringe, which @peculiar/x509 is built on, refuses to load without it.
import 'reflect-metadata';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Name,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { webcrypto } from 'node:crypto';

type CryptoKey = webcrypto.CryptoKey;
type CryptoKeyPair = webcrypto.CryptoKeyPair;

/** A certificate and its private key, both PEM (RFC 7468; the key as PKCS #8). */
export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

export interface CertificateRequest {
  readonly commonName: string;
  /** Kubernetes reads a client certificate's organizations as groups. */
  readonly organizations?: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
  readonly usages: readonly ('server' | 'client')[];
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** ECDSA with P-256: what every Kubernetes client and server accepts, and quick to make. */
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** Makes a certificate authority of its own (RFC 5280): self-signed, signs nothing but end entities. */
export async function createCa(commonName: string, notBefore: Date, notAfter: Date): Promise<KeyPair> {
  const keys = await generateKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: nameOf(commonName, []),
    notBefore,
    notAfter,
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: certificate.toString('pem'), key: await exportKey(keys.privateKey) };
}

/**
 * Makes a key and its certificate, signed by the CA.
 * @throws when the CA's texts are no PEM of an ECDSA P-256 pair
 */
export async function issueCertificate(ca: KeyPair, request: CertificateRequest): Promise<KeyPair> {
  const authority = new X509Certificate(ca.certificate);
  const keys = await generateKeys();
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: nameOf(request.commonName, request.organizations ?? []),
    issuer: authority.subject,
    notBefore: request.notBefore,
    notAfter: request.notAfter,
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: await importKey(ca.key),
    extensions: [...(await extensionsOf(request, authority)), await SubjectKeyIdentifierExtension.create(keys.publicKey)],
  });
  return { certificate: certificate.toString('pem'), key: await exportKey(keys.privateKey) };
}

/** When a PEM certificate is valid, in milliseconds since 1970; of several in one text, the first. */
export function validityOf(certificate: string): { readonly notBeforeMs: number; readonly notAfterMs: number } {
  const { notBefore, notAfter } = new X509Certificate(certificate);
  return { notBeforeMs: notBefore.getTime(), notAfterMs: notAfter.getTime() };
}

async function extensionsOf({ usages, dnsNames = [], ipAddresses = [] }: CertificateRequest, ca: X509Certificate): Promise<Extension[]> {
  const purposes = { server: ExtendedKeyUsage.serverAuth, client: ExtendedKeyUsage.clientAuth };
  const names = [
    ...dnsNames.map((value) => ({ type: 'dns' as const, value })),
    ...ipAddresses.map((value) => ({ type: 'ip' as const, value })),
  ];
  return [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension(usages.map((usage) => purposes[usage])),
    await AuthorityKeyIdentifierExtension.create(ca),
    ...(names.length > 0 ? [new SubjectAlternativeNameExtension(names)] : []),
  ];
}

function generateKeys(): Promise<CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']) as Promise<CryptoKeyPair>;
}

async function exportKey(key: CryptoKey): Promise<string> {
  return `${PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY')}\n`;
}

function importKey(pem: string): Promise<CryptoKey> {
  const [bytes] = PemConverter.decode(pem);
  if (bytes === undefined) throw new Error('the private key is no PEM text');
  return webcrypto.subtle.importKey('pkcs8', bytes, ALGORITHM, false, ['sign']);
}

function nameOf(commonName: string, organizations: readonly string[]): string {
  const parts = [...organizations.map((each) => ({ O: [each] })), { CN: [commonName] }];
  return new Name(parts).toString();
}

/** RFC 5280 §4.1.2.2: positive, up to 20 octets. */
function serialNumber(): string {
  return Buffer.from(webcrypto.getRandomValues(new Uint8Array(16)).map((byte, i) => (i === 0 ? (byte & 0x7f) | 1 : byte))).toString('hex');
}
