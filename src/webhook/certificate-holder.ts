import type { KeyPair } from '../net/certificate.ts';

/** The certificate that is served now: set by the certificate manager, followed by the server. */
export interface CertificateHolder {
  /** Undefined until the first is set. */
  get(): KeyPair | undefined;
  set(pair: KeyPair): void;
  /** Calls back for each certificate from now on. */
  follow(callback: (pair: KeyPair) => void): void;
}

export function createCertificateHolder(): CertificateHolder {
  let current: KeyPair | undefined;
  const followers: ((pair: KeyPair) => void)[] = [];
  return {
    get: () => current,
    set: (pair) => {
      current = pair;
      for (const follower of followers) follower(pair);
    },
    follow: (callback) => void followers.push(callback),
  };
}
