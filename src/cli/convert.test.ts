import { describe, expect, it } from 'vitest';
import { convertManifests } from './convert-run.ts';

const REGION = `# the shop
apiVersion: raven.openyurt.io/v1beta1
kind: Gateway
metadata:
  name: b
spec:
  endpoints:
    - nodeName: b1
      type: tunnel
      port: 4501
`;
const OTHER = `# stays
apiVersion: v1
kind: Service # as it is
metadata: { name: x }
`;
const convert = (text: string, to: 'v1alpha1' | 'v1beta1', format: 'yaml' | 'json' = 'yaml'): string =>
  convertManifests([{ name: 'x.yaml', text }], to, format).text;

describe('raven convert', () => {
  it('converts Gateways and leaves everything else as it is', () => {
    expect(convert(`${REGION}---\n${OTHER}`, 'v1alpha1')).toMatchInlineSnapshot(`
      "# the shop
      apiVersion: raven.openyurt.io/v1alpha1
      kind: Gateway
      metadata:
        name: b
        annotations:
          raven.openyurt.io/v1beta1-fields: '{"spec":{},"endpoints":[{"nodeName":"b1","type":"tunnel","port":4501}]}'
      spec:
        endpoints:
          - nodeName: b1
      ---
      # stays
      apiVersion: v1
      kind: Service # as it is
      metadata: { name: x }
      "
    `);
  });

  it('comes back to where it was', () => {
    const objects = convert(REGION, 'v1beta1', 'json');
    expect(convert(convert(REGION, 'v1alpha1'), 'v1beta1', 'json')).toBe(objects);
    const list = JSON.stringify({ apiVersion: 'raven.openyurt.io/v1beta1', kind: 'GatewayList', items: [JSON.parse(objects)] });
    expect(JSON.parse(convert(list, 'v1alpha1', 'json'))).toMatchObject({
      apiVersion: 'raven.openyurt.io/v1alpha1',
      items: [{ apiVersion: 'raven.openyurt.io/v1alpha1', spec: { endpoints: [{ nodeName: 'b1' }] } }],
    });
  });

  it('reads JSON that is indented with tabs', () => {
    const text = JSON.stringify(JSON.parse(convert(REGION, 'v1beta1', 'json')), undefined, '\t');
    expect(convertManifests([{ name: 'x.json', text }], 'v1beta1', 'json').text).toBe(convert(REGION, 'v1beta1', 'json'));
  });

  it('counts the Gateways, also in lists, so that a file without any is noticed', () => {
    const count = (text: string): number => convertManifests([{ name: 'x.yaml', text }], 'v1alpha1', 'yaml').gateways;
    const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [JSON.parse(convert(REGION, 'v1beta1', 'json'))] });
    expect([count(OTHER), count(`${REGION}---\n${OTHER}`), count(list)]).toEqual([0, 1, 1]);
  });

  it('converts nothing when something is wrong', () => {
    expect(() => convert(`${REGION}---\n${REGION.replace('tunnel', 'ipsec')}`, 'v1alpha1')).toThrow(
      'x.yaml:20: spec.endpoints[0].type: must be tunnel or proxy, not "ipsec"',
    );
  });
});
