import { decode, encode, RECURSION_DESIRED, type Packet } from 'dns-packet';
import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { answerDns, parseZone } from './dns-server.ts';

const zone = parseZone(
  '{"web.shop.svc.cluster.local": ["10.96.0.10", "fd00::a"], "api.shop.svc.cluster.local.": "10.96.0.11"}',
  'zone.json',
);

function ask(name: string, type: 'A' | 'AAAA' = 'A'): Packet & { rcode?: string } {
  const reply = answerDns(encode({ type: 'query', id: 7, flags: RECURSION_DESIRED, questions: [{ type, name }] }), zone);
  return decode(reply!);
}

describe('answerDns', () => {
  it('answers with the address of a service', () => {
    expect(ask('web.shop.svc.cluster.local')).toMatchObject({ id: 7, rcode: 'NOERROR', answers: [{ type: 'A', data: '10.96.0.10' }] });
    expect(ask('WEB.shop.SVC.cluster.local').answers).toHaveLength(1);
    expect(ask('api.shop.svc.cluster.local').answers).toMatchObject([{ data: '10.96.0.11' }]);
  });

  it('answers IPv6 questions, and a missing type without an error', () => {
    expect(ask('web.shop.svc.cluster.local', 'AAAA').answers).toMatchObject([{ type: 'AAAA', data: 'fd00::a' }]);
    expect(ask('api.shop.svc.cluster.local', 'AAAA')).toMatchObject({ rcode: 'NOERROR', answers: [] });
  });

  it('knows which names do not exist', () => {
    expect(ask('nobody.shop.svc.cluster.local')).toMatchObject({ rcode: 'NXDOMAIN', answers: [] });
  });

  test.prop([fc.uint8Array({ maxLength: 80 })])('keeps silent or answers, but never throws on garbage', (bytes) => {
    expect(() => answerDns(Buffer.from(bytes), zone)).not.toThrow();
  });
});

describe('parseZone', () => {
  it('names the file and the name that is wrong', () => {
    expect(() => parseZone('[]', 'zone.json')).toThrow('zone.json: is no JSON object of names and addresses');
    expect(() => parseZone('{"a.b": ["10.96.0.300"]}', 'zone.json')).toThrow('zone.json: a.b: must be an IP address or a list of them');
  });
});
