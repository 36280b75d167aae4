import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { type Cidr, compareCidrs } from './cidr.ts';
import { formatEndpoint, parseEndpoint } from './endpoint.ts';
import { formatIp } from './ip.ts';
import { formatWgDump, parseWgDump, type WgDevice, type WgPeer } from './wg-dump.ts';
import { parseWgKey, type WgKey } from './wg-key.ts';

const key = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('base64') as WgKey);
const ip = fc.oneof(
  fc.bigInt({ min: 0n, max: 0xffffffffn }).map((value) => formatIp({ family: 4, value })),
  fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }).map((value) => formatIp({ family: 6, value })),
);
const endpoint = fc.record({ ip, port: fc.integer({ min: 0, max: 65_535 }) });
const count = fc.nat({ max: 2 ** 31 });
const peer: fc.Arbitrary<WgPeer> = fc.record({
  publicKey: key,
  presharedKey: fc.option(key, { nil: undefined }),
  endpoint: fc.option(endpoint, { nil: undefined }),
  allowedIps: fc
    .subarray(['10.1.0.0/24', '10.2.0.0/16', '0.0.0.0/0', 'fd00::/64', '::/0'] as readonly string[] as Cidr[])
    .map((all) => all.toSorted(compareCidrs)),
  latestHandshakeS: count,
  rxBytes: count,
  txBytes: count,
  keepaliveS: fc.integer({ min: 0, max: 65_535 }),
});
const device: fc.Arbitrary<WgDevice> = fc.record({
  publicKey: fc.option(key, { nil: undefined }),
  listenPort: fc.integer({ min: 0, max: 65_535 }),
  fwmark: count,
  peers: fc.array(peer, { maxLength: 4 }),
});

/** Printed by wireguard-tools 1.0.20210914, with other keys. */
const REAL = [
  'wPqL2DlHyvVlnbHmjUKmCv3gVnDRzg4qf4Xy1H0gsEY=\tNOyNGehP+hTa8DHfWKe1DTPARA1/FIkPnpjG9u/ocSg=\t4500\toff',
  'RQlSr12EcT/H8ck8/FettABtxk214LF7FSHLSfjpNjY=\t(none)\t198.51.100.2:4500\t10.244.4.0/23,10.244.3.0/24\t1764086335\t1264\t980\toff',
  'GW4C1tv+0M+u8IjYlHzPuFAZWTZ4BVlo7Q9RYY9xfEI=\t(none)\t[2001:db8::1]:1\t(none)\t0\t0\t148\t25',
  '',
].join('\n');

describe('wg show dump', () => {
  it('is read as printed, without the private key', () => {
    const parsed = parseWgDump(REAL);
    expect(parsed).toMatchObject({ publicKey: 'NOyNGehP+hTa8DHfWKe1DTPARA1/FIkPnpjG9u/ocSg=', listenPort: 4500, fwmark: 0 });
    expect(parsed.peers.map(({ allowedIps, keepaliveS }) => [allowedIps.join(), keepaliveS])).toEqual([
      ['10.244.3.0/24,10.244.4.0/23', 0],
      ['', 25],
    ]);
    expect(parsed.peers.map((each) => each.endpoint && formatEndpoint(each.endpoint))).toEqual(['198.51.100.2:4500', '[2001:db8::1]:1']);
    expect(JSON.stringify(parsed)).not.toContain('wPqL2');
    expect(parseWgDump('(none)\t(none)\t0\toff\n')).toEqual({ publicKey: undefined, listenPort: 0, fwmark: 0, peers: [] });
  });

  test.prop([device])('comes back from its text', (value) => {
    expect(parseWgDump(formatWgDump(value))).toEqual(value);
  });

  test.prop([fc.oneof(fc.string(), fc.stringMatching(/^[\w+/=\t\n(),.:]*$/))])('that is none is refused without repeating it', (text) => {
    try {
      parseWgDump(text);
    } catch (error) {
      expect((error as Error).message).toMatch(/^wg show: line \d+ of the dump has another form than expected$/);
    }
  });

  it.each(['', 'a\tb\tc', 'k\tk\tport\toff', 'k\tk\t1\toff\nx'])('refuses %j', (text) => {
    expect(() => parseWgDump(text)).toThrow(/^wg show: line/);
  });
});

describe('keys and endpoints', () => {
  test.prop([fc.uint8Array({ maxLength: 40 })])('a key has 32 bytes', (bytes) => {
    expect(parseWgKey(Buffer.from(bytes).toString('base64')) !== undefined).toBe(bytes.length === 32);
  });

  test.prop([endpoint])('an endpoint comes back from its text', (value) => {
    expect(parseEndpoint(formatEndpoint(value))).toEqual(value);
  });

  it.each(['(none)', '192.0.2.1', '192.0.2.1:70000', '2001:db8::1:4500', '[192.0.2.1]', '1.2.3:4'])('%s is no endpoint', (text) => {
    expect(parseEndpoint(text)).toBeUndefined();
  });
});
