import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { formatProblem } from '../../lib/errors.ts';
import { parseManifest } from './manifest.ts';

const GATEWAY = `apiVersion: raven.openyurt.io/v1beta1
kind: Gateway
metadata:
  name: cloud
spec:
  endpoints:
    - nodeName: a1
      type: tunnel
      port: 4500
`;

function keys(text: string, file = 'x.yaml'): string[] {
  return parseManifest(text, file).objects.map(({ key, line }) => `${key} line ${line}`);
}

function problems(text: string, file = 'x.yaml'): string {
  return parseManifest(text, file).problems.map(formatProblem).join('\n');
}

describe('parseManifest', () => {
  it('reads several documents, empty ones between them, and knows their lines', () => {
    expect(keys(`---\n${GATEWAY}---\n---\n# nothing\n---\n${GATEWAY.replace('cloud', 'edge')}`)).toEqual([
      'Gateway//cloud line 2',
      'Gateway//edge line 15',
    ]);
  });

  it('reads lists, of JSON too, with tabs', () => {
    const item = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'a1' } };
    expect(
      keys(
        JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [item, { ...item, metadata: { name: 'a2' } }] }, undefined, '\t'),
        'x.json',
      ),
    ).toEqual(['Node//a1 line 5', 'Node//a2 line 12']);
    expect(keys(`kind: NodeList\napiVersion: v1\nitems:\n- ${JSON.stringify(item)}`)).toEqual(['Node//a1 line 4']);
  });

  it('passes over what is not for Raven', () => {
    const others = [
      'kind: Deployment\napiVersion: apps/v1',
      'kind: Gateway\napiVersion: gateway.networking.k8s.io/v1\nspec: {}',
      'replicas: 3',
      '',
      '# only words',
    ];
    expect(parseManifest(others.join('\n---\n'), 'x.yaml')).toMatchObject({ objects: [], problems: [], uncertain: false });
  });

  it('takes null for absent, as Kubernetes does', () => {
    expect(keys(`${GATEWAY}      publicIP: null\nstatus: null\n`)).toHaveLength(1);
    expect(keys(GATEWAY.replace('name: cloud', 'name: cloud\n  creationTimestamp: null'))).toHaveLength(1);
  });

  it('names each violation with line and path', () => {
    const text = GATEWAY.replace('4500', '"4500"').replace('tunnel', 'vpn').replace('    - nodeName: a1', '    - publicIP: nowhere');
    expect(problems(`# first\n---\n${text}`)).toMatchInlineSnapshot(`
      "x.yaml:9: spec.endpoints[0].nodeName: is required
      x.yaml:11: spec.endpoints[0].port: expected number, received string"
    `);
    expect(problems(GATEWAY.replace('4500', '70000').replace('tunnel', 'vpn'))).toMatchInlineSnapshot(`
      "x.yaml:8: spec.endpoints[0].type: must be tunnel or proxy, not "vpn"
      x.yaml:9: spec.endpoints[0].port: must be 0 to 65535"
    `);
    const annotated = GATEWAY.replace(
      'name: cloud',
      'name: cloud\n  annotations:\n    raven.openyurt.io/extra-allowed-source-cidrs: 10.0.0.0/99',
    );
    expect(problems(annotated)).toBe(
      'x.yaml:6: metadata.annotations[raven.openyurt.io/extra-allowed-source-cidrs]: "10.0.0.0/99" is no CIDR',
    );
  });

  it('finds the line in JSON and in lists', () => {
    const list = {
      apiVersion: 'v1',
      kind: 'List',
      items: [{ apiVersion: 'v1', kind: 'Node', metadata: { name: 'a1', labels: { x: 1 } } }],
    };
    expect(problems(JSON.stringify(list, undefined, '\t'), 'x.json')).toBe(
      'x.json:11: items[0].metadata.labels.x: expected string, received number',
    );
    expect(problems('{"kind": "Node",\n "apiVersion" "v1"}', 'x.json')).toMatch(/^x\.json:2: is no JSON: /);
    expect(problems('{"kind": "Node",\n\n', 'x.json')).toMatch(/^x\.json:\d: is no JSON: /);
  });

  it('reads the older version as the newer, and shows problems where they were written', () => {
    const old = GATEWAY.replace('v1beta1', 'v1alpha1').replace(/ +type: tunnel\n +port: 4500\n/, '');
    expect(parseManifest(old, 'x.yaml').objects[0]?.object).toEqual(
      expect.objectContaining({
        apiVersion: 'raven.openyurt.io/v1beta1',
        spec: expect.objectContaining({ endpoints: [{ nodeName: 'a1', type: 'tunnel', port: 4500 }], tunnelConfig: { Replicas: 1 } }),
      }),
    );
    expect(problems(old.replace('nodeName: a1', 'publicIP: here'))).toBe('x.yaml:7: spec.endpoints[0].nodeName: is required');
    expect(problems(old.replace('nodeName: a1', 'nodeName: a1\n      publicIP: here'))).toBe(
      'x.yaml:8: spec.endpoints[0].publicIP: "here" is no IP address',
    );
  });

  it('says which versions it reads where it finds another, and keeps the identity', () => {
    const { problems: found, invalid } = parseManifest(GATEWAY.replace('v1beta1', 'v2'), 'x.yaml');
    expect(found.map(formatProblem)).toEqual([
      'x.yaml:1: apiVersion: raven.openyurt.io/v2 is not read here, raven.openyurt.io/v1beta1 or raven.openyurt.io/v1alpha1 is needed',
    ]);
    expect([...invalid]).toEqual(['Gateway//cloud']);
  });

  it('names misspelt and missing kinds and names, and then knows that something may be missing', () => {
    expect(problems(GATEWAY.replace('kind: Gateway', 'kind: Gatewya'))).toBe('x.yaml:2: kind: Gatewya is no kind of raven.openyurt.io');
    expect(problems(GATEWAY.replace('kind: Gateway\n', ''))).toBe('x.yaml:1: kind: is required');
    expect(problems(GATEWAY.replace('apiVersion: raven.openyurt.io/v1beta1\n', ''))).toBe(
      'x.yaml:1: apiVersion: is required: raven.openyurt.io/v1beta1',
    );
    expect(problems(GATEWAY.replace('  name: cloud', '  labels: {}'))).toBe('x.yaml:3: metadata.name: is required');
    expect(parseManifest(GATEWAY.replace('  name: cloud', '  labels: {}'), 'x.yaml').uncertain).toBe(true);
    expect(problems('just a word')).toBe('x.yaml:1: is no object');
  });

  it.each([
    ['a repeated key', `${GATEWAY}kind: Gateway\n`, 'x.yaml:10: is no YAML: Map keys must be unique'],
    ['a tab', GATEWAY.replace('    - nodeName', '\t- nodeName'), 'x.yaml:7: is no YAML: Tabs are not allowed as indentation'],
    ['an unclosed bracket', 'a: [1,\nb: 2', 'x.yaml:2: is no YAML: '],
    ['an unknown alias', 'a: *b', 'x.yaml:1: is no YAML: '],
  ])('names %s with its line', (_, text, message) => {
    expect(problems(text)).toContain(message);
  });

  it('is not brought down by aliases that grow without bound, or by deep nesting', () => {
    const levels = Array.from({ length: 12 }, (__, i) => `l${i + 1}: &l${i + 1} [${`*l${i},`.repeat(12)}]`);
    expect(parseManifest(['l0: &l0 [x]', ...levels].join('\n'), 'x.yaml').uncertain).toBe(true);
    expect(parseManifest('['.repeat(20_000), 'x.yaml').uncertain).toBe(true);
    expect(parseManifest('['.repeat(200_000), 'x.json').uncertain).toBe(true);
  });

  test.prop([
    fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.json(),
      fc.uint8Array().map((bytes) => Buffer.from(bytes).toString('utf8')),
    ),
    fc.constantFrom('x.yaml', 'x.json'),
  ])('never throws, whatever the text is', (text, file) => {
    parseManifest(text, file);
  });

  test.prop([fc.nat(GATEWAY.length)])(
    'yields from a truncated text either the object or doubt, or nothing before it has an apiVersion',
    (length) => {
      const { objects, uncertain, invalid } = parseManifest(GATEWAY.slice(0, length), 'x.yaml');
      expect(objects.length + invalid.size > 0 || uncertain || length <= 'apiVersion:'.length).toBe(true);
    },
  );
});
