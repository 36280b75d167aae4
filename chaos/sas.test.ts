import { describe, expect, it } from 'vitest';
import { staleSas } from './sas.ts';

/** As swanctl 5.9 prints them. */
const CONNECTIONS = `raven-b1: IKEv2, no reauthentication, rekeying every 14400s, dpd delay 5s
  local:  %any
  remote: %any
  local pre-shared key authentication:
    id: a1.raven
  remote pre-shared key authentication:
    id: b1.raven
  raven-c64529e9: TUNNEL, rekeying every 3600s, dpd action is none
    local:  0.0.0.0/0 ::/0
    remote: 10.244.3.0/24 10.244.4.0/23 10.244.6.0/24
`;
const sa = (connection: string, remote: string): string => `${connection}: #1, ESTABLISHED, IKEv2, 8e315181509fa88a_i* dff5252f9f1a2c70_r
  local  'a1.raven' @ 203.0.113.1[4500]
  remote 'b1.raven' @ 198.51.100.2[4500]
  AES_GCM_16-128/PRF_HMAC_SHA2_256/CURVE_25519
  established 235s ago, rekeying in 13425s
  raven-1a8fe88b: #19, reqid 1, INSTALLED, TUNNEL-in-UDP, ESP:AES_GCM_16-128/CURVE_25519
    installed 20s ago, rekeying in 3283s, expires in 3940s
    in  7e2c0df8, 5054749 bytes, 12391 packets,     0s ago
    out 5c0788a6, 5033475 bytes, 12257 packets,     0s ago
    local  0.0.0.0/0 ::/0
    remote ${remote}
`;

describe('staleSas', () => {
  it('accepts what a connection asks for, in any order of its selectors', () => {
    expect(staleSas(CONNECTIONS, sa('raven-b1', '10.244.4.0/23 10.244.3.0/24 10.244.6.0/24'))).toEqual([]);
  });

  it.each([
    ['whose connection is gone', sa('raven-d1', '10.244.9.0/24')],
    ['with selectors of an older plan', sa('raven-b1', '10.244.3.0/24 10.244.4.0/23')],
  ])('names one %s', (_, sas) => {
    expect(staleSas(CONNECTIONS, sas)).toEqual([expect.stringContaining('SA that no connection asks for: raven-')]);
  });

  it('finds nothing where nothing is', () => {
    expect(staleSas('', '')).toEqual([]);
  });
});
