import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { checkPsk } from './psk.ts';

describe('checkPsk', () => {
  it.each([
    ['', /empty/],
    [' \n\t', /empty/],
    ['OPENYURT-RAVEN-AGENT-VPN-PSK\n', /published sample/],
    ['openyurt-raven', /published sample/],
    ['change-me-change-me-change-me-now', /placeholder/],
    ['<insert the secret of the cluster here>', /placeholder/],
    ['sample-secret-0123456789', /placeholder/],
    ['0123456789abcdef', /16 characters, at least 20/],
    ['a'.repeat(64), /only 1 different/],
    ['abcdefghij'.repeat(4), /repeated/],
    ['first line of the secret 0123456789\nsecond line', /one line/],
    ['0123456789abcdefghijklmnopqrstuvwxyz '.repeat(200) + 'end', /longer than/],
  ])('refuses %j', (text, message) => {
    const result = checkPsk(text);
    expect(result.ok).toBe(false);
    expect(result).toHaveProperty('message', expect.stringMatching(message));
    expect(result).toHaveProperty('message', expect.stringContaining('openssl rand'));
  });

  test.prop([fc.uint8Array({ minLength: 32, maxLength: 64 })])(
    'accepts what `openssl rand` prints, in hex and base64, with its newline',
    (bytes) => {
      fc.pre(new Set(bytes).size > 16);
      for (const encoding of ['hex', 'base64'] as const) {
        const psk = Buffer.from(bytes).toString(encoding);
        expect(checkPsk(`${psk}\n`)).toEqual({ ok: true, psk });
      }
    },
  );

  test.prop([fc.string({ maxLength: 80 })])('never repeats the secret in its message', (text) => {
    const result = checkPsk(text);
    fc.pre(!result.ok && text.trim().length > 6);
    if (!result.ok) expect(result.message).not.toContain(text.trim());
  });
});
