import { X509Certificate } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import type { CertificateSituation, CertificateStep } from './certificate-plan.ts';
import { planCertificates, takeStep } from './certificate-plan.ts';
import { caBundleOf, type CertificateSet, formatSecretData, parseSecretData } from './certificate-set.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const START = Date.UTC(2026, 0, 1);
const names = { dnsNames: ['raven-webhook.kube-system.svc', 'raven-webhook.kube-system'], ipAddresses: ['192.0.2.10'] };

let fresh: CertificateSet;
let staged: CertificateSet;
let promoted: CertificateSet;
const STAGED_AT = START + 4 * 365 * DAY;

function situation(nowMs: number, set: CertificateSet | undefined, more: Partial<CertificateSituation> = {}): CertificateSituation {
  return { nowMs, set, names, trusted: set && caBundleOf(set), ...more };
}

beforeAll(async () => {
  fresh = await takeStep('create', situation(START, undefined));
  const renewed = await takeStep('renew-serving', situation(STAGED_AT, fresh));
  staged = await takeStep('stage-ca', situation(STAGED_AT, renewed));
  promoted = await takeStep('promote-ca', situation(STAGED_AT + HOUR, staged));
});

describe('planCertificates', () => {
  it('is content with what was just made, and lets no step follow itself', () => {
    expect(planCertificates(situation(START, undefined))).toBe('create');
    expect(planCertificates(situation(START, fresh))).toBeUndefined();
    expect(planCertificates(situation(STAGED_AT, staged))).toBeUndefined();
    expect(planCertificates(situation(STAGED_AT + HOUR, promoted))).toBeUndefined();
  });

  const life: [string, number, CertificateStep | undefined][] = [
    ['renews the serving certificate at two thirds of its life', START + 60 * DAY, 'renew-serving'],
    ['not before', START + 59 * DAY, undefined],
    ['makes a CA at two thirds of the life of the old one', STAGED_AT, 'stage-ca'],
    ['starts anew when the CA has run out', START + 6 * 365 * DAY, 'create'],
    ['starts anew when the CA is not valid yet: the clock was wrong when it was made', START - 2 * HOUR, 'create'],
  ];
  it.each(life)('%s', (_, nowMs, step) => {
    expect(planCertificates(situation(nowMs, fresh))).toBe(step);
  });

  it('lets a new CA sign only after an overlap in which everybody is known to trust it', () => {
    expect(planCertificates(situation(STAGED_AT + HOUR - 1, staged))).toBeUndefined();
    expect(planCertificates(situation(STAGED_AT + HOUR, staged, { trusted: undefined }))).toBeUndefined();
    expect(planCertificates(situation(STAGED_AT + HOUR, staged, { trusted: fresh.ca.certificate }))).toBeUndefined();
    expect(planCertificates(situation(STAGED_AT + HOUR, staged))).toBe('promote-ca');
  });

  it('lets it sign at once when the old one has run out', () => {
    expect(planCertificates(situation(START + 5 * 365 * DAY, staged, { trusted: undefined }))).toBe('promote-ca');
  });

  it('trusts the old CA until an overlap after nothing of it is served', async () => {
    expect(caBundleOf(promoted)).toBe(`${promoted.ca.certificate}\n${fresh.ca.certificate}\n`);
    expect(planCertificates(situation(STAGED_AT + 2 * HOUR, promoted))).toBe('drop-previous-ca');
    const dropped = await takeStep('drop-previous-ca', situation(STAGED_AT + 2 * HOUR, promoted));
    expect(dropped).toEqual({ ca: promoted.ca, serving: promoted.serving });
  });

  it('makes another serving certificate when it has to be good for another name', () => {
    for (const other of [
      { ...names, dnsNames: ['raven-webhook.other.svc'] },
      { ...names, ipAddresses: ['192.0.2.11'] },
    ])
      expect(planCertificates(situation(START, fresh, { names: other }))).toBe('renew-serving');
  });

  it('never promises to serve longer than the CA lives', async () => {
    const { serving, ca } = promoted;
    expect(new X509Certificate(serving!.certificate).verify(new X509Certificate(ca.certificate).publicKey)).toBe(true);
    const late = await takeStep('renew-serving', situation(START + 5 * 365 * DAY - HOUR, fresh));
    expect(new X509Certificate(late.serving!.certificate).validTo).toBe(new X509Certificate(fresh.ca.certificate).validTo);
  });
});

describe('the Secret', () => {
  it('gives back what was written', () => {
    for (const set of [fresh, staged, promoted]) expect(parseSecretData(formatSecretData(set))).toEqual(set);
  });

  it.each(['', 'bm8gUEVN', undefined])('without a readable CA counts as empty (%s)', (text) => {
    const { 'ca.key': _, ...rest } = formatSecretData(fresh);
    expect(parseSecretData(text === undefined ? rest : { ...rest, 'ca.key': text })).toBeUndefined();
  });

  it('with parts that do not belong together keeps what does', () => {
    const foreign = formatSecretData(promoted);
    const mixed = { ...formatSecretData(fresh), 'tls.crt': foreign['tls.crt']!, 'tls.key': foreign['tls.key']! };
    expect(parseSecretData(mixed)).toEqual({ ca: fresh.ca, serving: undefined });
    expect(parseSecretData({ ...mixed, 'next-ca.crt': 'eA==', 'previous-ca.crt': 'eA==' })).toEqual({ ca: fresh.ca, serving: undefined });
    expect(planCertificates(situation(START, parseSecretData(mixed)))).toBe('renew-serving');
  });
});
