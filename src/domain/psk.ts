/** Secrets that everybody can read: the defaults and samples which the existing Go implementation published (openyurtio/raven, charts/raven-agent/values.yaml, pkg DefaultPSK). */
const PUBLISHED = [
  'OPENYURT-RAVEN-AGENT-VPN-PSK',
  'openyurt-raven',
  'alibaba-cloud-native',
  'vpn-connection-psk',
  'raven-agent-secret',
].map((text) => text.toLowerCase());

/** Signs of a template that nobody filled in. */
const PLACEHOLDER = /change[-_ ]?me|replace[-_ ]?(me|this)|^<.*>$|^\$\{?\w+\}?$|^(example|sample|your)[-_ ]/i;

/**
 * An attacker who answers an IKEv2 initiator can try secrets off line (RFC 7296 §2.15), so the secret itself must be out of reach of guessing.
 * 20 random letters and digits are 119 bits; the advice below gives 256.
 */
const MIN_CHARACTERS = 20;
/** 20 random hex digits show 8 or more different ones in 999 of 1000 cases; `aaaa…` or `abcabc…` show less. */
const MIN_DIFFERENT = 8;
/** VICI carries a value in 16 bits of length; nothing sensible comes near. */
const MAX_BYTES = 4096;

const ADVICE = 'make one with: openssl rand -hex 32';

/** Whether a text is fit to be the secret that all gateways share. White space around it does not count. */
export type PskCheck = { readonly ok: true; readonly psk: string } | { readonly ok: false; readonly message: string };

/** Judges the content of a PSK file. The message never repeats the secret. */
export function checkPsk(text: string): PskCheck {
  const psk = text.trim();
  const message = complaint(psk);
  return message === undefined ? { ok: true, psk } : { ok: false, message: `${message}; ${ADVICE}` };
}

function complaint(psk: string): string | undefined {
  if (psk === '') return 'the secret is empty';
  if (PUBLISHED.includes(psk.toLowerCase())) return 'this secret is a published sample, everybody knows it';
  if (PLACEHOLDER.test(psk)) return 'the secret looks like the placeholder of a template';
  if (/\p{Cc}/u.test(psk)) return 'the secret holds control characters or several lines; it must be one line of text';
  if (psk.length < MIN_CHARACTERS) return `the secret has ${psk.length} characters, at least ${MIN_CHARACTERS} are needed`;
  if (new TextEncoder().encode(psk).length > MAX_BYTES) return `the secret is longer than ${MAX_BYTES} bytes`;
  if (new Set(psk).size < MIN_DIFFERENT) return `the secret has only ${new Set(psk).size} different characters`;
  if (repeats(psk)) return 'the secret is one short text repeated';
  return undefined;
}

/** Whether the text is a shorter one, up to half its length, over and over. */
function repeats(text: string): boolean {
  const at = (text + text).indexOf(text, 1);
  return at < text.length && at <= text.length / 2;
}
