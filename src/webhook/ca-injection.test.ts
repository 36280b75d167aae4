import { describe, expect, it } from 'vitest';
import { injectable, planInjection } from './ca-injection.ts';

const metadata = { resourceVersion: '7' };
const wanted = Buffer.from('CA').toString('base64');
const version = { op: 'test', path: '/metadata/resourceVersion', value: '7' };

describe('planInjection', () => {
  it('changes the bundle of every webhook that has another one, of just the object that was read', () => {
    const webhooks = [{ clientConfig: { caBundle: wanted } }, { clientConfig: { url: 'https://192.0.2.10/validate' } }];
    expect(planInjection(injectable.parse({ metadata, webhooks }), 'CA')).toEqual([
      version,
      { op: 'add', path: '/webhooks/1/clientConfig/caBundle', value: wanted },
    ]);
  });

  it('changes the bundle of a conversion', () => {
    const spec = { conversion: { strategy: 'Webhook', webhook: { clientConfig: { service: {}, caBundle: 'T0xE' } } } };
    expect(planInjection(injectable.parse({ metadata, spec }), 'CA')).toEqual([
      version,
      { op: 'add', path: '/spec/conversion/webhook/clientConfig/caBundle', value: wanted },
    ]);
  });

  it.each([
    ['a CustomResourceDefinition without a webhook', { metadata, spec: { conversion: { strategy: 'None' } } }],
    ['a configuration without webhooks', { metadata, webhooks: null }],
    ['what is right already', { metadata, webhooks: [{ clientConfig: { caBundle: wanted } }] }],
  ])('leaves %s alone', (_, object) => {
    expect(planInjection(injectable.parse(object), 'CA')).toEqual([]);
  });
});
