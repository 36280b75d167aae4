import { describe, expect, it } from 'vitest';
import { extendSpan, type HeardSpan, isStale, silenceOf } from './agent-leases.ts';

const S = 1000;
const SILENT = 'its agent has not renewed its Lease';

/** A region whose agents' renewals come at given seconds. */
function region() {
  const renewed = new Map<string, number>();
  let span: HeardSpan | undefined;
  return {
    renew: (node: string, second: number): void => {
      renewed.set(node, second * S);
      span = extendSpan(span, second * S);
    },
    silence: (node: string, hasEndpoint = false): string | undefined => silenceOf({ renewedMs: renewed.get(node), span, hasEndpoint }),
  };
}

describe('silence of agents', () => {
  it('is found in one that does not renew while another does', () => {
    const { renew, silence } = region();
    for (const second of [0, 10, 20, 30]) renew('b1', second);
    for (let second = 0; second <= 60; second += 10) renew('b3', second);
    expect(silence('b1')).toBeUndefined();
    renew('b3', 61);
    expect([silence('b1'), silence('b3')]).toEqual([SILENT, undefined]);
    renew('b1', 62);
    expect(silence('b1')).toBeUndefined();
  });

  it('is nobody’s while nobody of the region gets through, nor while they come back one after the other', () => {
    const { renew, silence } = region();
    renew('b1', 0);
    renew('b3', 8);
    expect([silence('b1'), silence('b3')]).toEqual([undefined, undefined]);
    renew('b3', 600);
    renew('b3', 629);
    expect(silence('b1')).toBeUndefined();
    renew('b3', 631);
    expect(silence('b1')).toBe(SILENT);
  });

  it('is not looked for where no agent ever wrote a Lease, nor in a gateway whose older agent writes none', () => {
    const { renew, silence } = region();
    expect(silence('b1')).toBeUndefined();
    for (let second = 0; second <= 60; second += 10) renew('b3', second);
    expect(silence('b1', true)).toBeUndefined();
    expect(silence('b1')).toBe('no agent of Raven was ever heard on it');
  });

  it('tells by the clock only what is too old to build on, and that not for ever: agents may have been replaced by older ones', () => {
    expect([undefined, 25, 26, 179, 180].map((age) => isStale(age && 1000 * S, (1000 + (age ?? 0)) * S))).toEqual([
      false,
      false,
      true,
      true,
      false,
    ]);
  });
});
