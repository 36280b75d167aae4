import { describe, expect, it } from 'vitest';
import { parsePing, parseRecordRoute, parseTtlPing } from './icmp.ts';

// All outputs below were printed by ping of iputils 20221126.
const ANSWERED = `PING 10.2.0.2 (10.2.0.2) 56(84) bytes of data.
64 bytes from 10.2.0.2: icmp_seq=1 ttl=63 time=0.140 ms
64 bytes from 10.2.0.2: icmp_seq=2 ttl=63 time=0.059 ms

--- 10.2.0.2 ping statistics ---
2 packets transmitted, 2 received, 0% packet loss, time 60ms
rtt min/avg/max/mdev = 0.059/0.099/0.140/0.040 ms
`;
const REFUSED = `PING 10.3.0.2 (10.3.0.2) 56(84) bytes of data.
From 10.1.0.1 icmp_seq=1 Destination Net Unreachable

--- 10.3.0.2 ping statistics ---
1 packets transmitted, 0 received, +1 errors, 100% packet loss, time 0ms

`;
const EXPIRED = REFUSED.replace('Destination Net Unreachable', 'Time to live exceeded');
const RECORDED = `PING 10.2.0.2 (10.2.0.2) 56(124) bytes of data.
64 bytes from 10.2.0.2: icmp_seq=1 ttl=63 time=0.036 ms
RR: \t10.1.0.2
\t10.2.0.1
\t10.2.0.2
\t10.2.0.2
\t10.1.0.1
\t10.1.0.2


--- 10.2.0.2 ping statistics ---
1 packets transmitted, 1 received, 0% packet loss, time 0ms
`;

describe('reading ping', () => {
  it('takes the quickest round trip', () => {
    expect(parsePing(ANSWERED)).toEqual({ sent: 2, received: 2, rttMs: 0.059, error: undefined });
  });

  it('says who refused', () => {
    expect(parsePing(REFUSED).error).toBe('Destination Net Unreachable (said 10.1.0.1)');
  });

  it('says when nobody answered, and when ping itself failed', () => {
    expect(parsePing('3 packets transmitted, 0 received, 100% packet loss, time 109ms')).toMatchObject({
      sent: 3,
      received: 0,
      error: 'no answer',
    });
    expect(parsePing('ping: not installed').error).toBe('not installed');
  });

  it('reads the recorded route up to the target', () => {
    expect(parseRecordRoute(RECORDED, '10.2.0.2')).toEqual(['10.2.0.1']);
  });

  it('does not trust a record without the target: it was full before', () => {
    expect(parseRecordRoute(RECORDED, '10.9.9.9')).toBeUndefined();
    expect(parseRecordRoute(ANSWERED, '10.2.0.2')).toBeUndefined();
  });

  it('tells a router from the target', () => {
    expect(parseTtlPing(EXPIRED)).toEqual({ from: '10.1.0.1' });
    expect(parseTtlPing(EXPIRED.replace('Time to live exceeded', 'Time exceeded: Hop limit'))).toEqual({ from: '10.1.0.1' });
    expect(parseTtlPing(ANSWERED)).toBe('reached');
    expect(parseTtlPing(REFUSED)).toBeUndefined();
  });
});
