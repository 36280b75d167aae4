import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { UserError } from '../../lib/errors.ts';
import { planLab } from '../plan/lab-plan.ts';
import { parseTopology } from './parse.ts';
import { topologyJsonSchema } from './schema.ts';

const projectDir = join(import.meta.dirname, '../../..');
const topologiesDir = join(projectDir, 'topologies');

function complaint(text: string): string {
  try {
    parseTopology(text, 't.yaml');
    return '';
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
}

describe('shipped topologies', () => {
  const shipped = readdirSync(topologiesDir).filter((file) => file.endsWith('.yaml'));

  it('are all there', () =>
    expect(shipped.toSorted()).toEqual(['dual.yaml', 'mini.yaml', 'ports.yaml', 'rig.yaml', 'shared-lan.yaml', 'six.yaml', 'wide.yaml']));

  it.each(shipped)('%s is valid and named as its file', (file) => {
    expect(parseTopology(readFileSync(join(topologiesDir, file), 'utf8'), file).name).toBe(file.replace('.yaml', ''));
  });

  it('come with a JSON Schema that is current (vitest -u writes it)', async () => {
    await expect(`${JSON.stringify(topologyJsonSchema(), undefined, 2)}\n`).toMatchFileSnapshot(
      join(topologiesDir, 'topology.schema.json'),
    );
  });

  it('dual and six have what they are for', () => {
    const read = (name: string) => parseTopology(readFileSync(join(topologiesDir, `${name}.yaml`), 'utf8'), name);
    expect(read('dual').pods.map(({ name, ips }) => `${name} ${ips.join()}`)).toEqual([
      'pod-a1 10.244.1.2,fd00:10:244:1::2',
      'pod-a2 10.244.2.2,fd00:10:244:2::2',
      'pod-b1 10.244.3.2,fd00:10:244:3::2',
      'pod-b2 10.244.4.2,fd00:10:244:4::2',
      'pod-c1 10.244.5.2,fd00:10:244:5::2',
      'pod-d1 10.244.9.2',
    ]);
    const six = read('six');
    expect(six.nodes.map(({ name, ips }) => `${name} ${ips.join()}`)).toContain('b1 2001:db8:b::a');
    expect(six.routers.flatMap(({ lans }) => lans.map(({ routerIp }) => routerIp))).toContain('2001:db8:b::fe');
  });

  it('rig is the rig of the requirements', () => {
    const rig = parseTopology(readFileSync(join(topologiesDir, 'rig.yaml'), 'utf8'), 'rig.yaml');
    expect(rig.nodes.map(({ name, region, ips, gateway }) => `${region}/${name} ${ips.join()}${gateway ? ' gateway' : ''}`)).toEqual([
      'a/a1 203.0.113.1 gateway',
      'a/a2 203.0.113.2',
      'b/b1 192.168.1.10 gateway',
      'b/b2 192.168.1.11',
      'b/b3 192.168.1.12 gateway',
      'c/c1 192.168.1.10 gateway',
      'c/c2 192.168.1.11',
    ]);
    expect(rig.pods.map(({ name, ips }) => `${name} ${ips.join()}`)).toContain('pod-b2 10.244.4.2');
  });
});

describe('docs/lab.md', () => {
  it('has the table of all fields, word for word', () => {
    const docs = readFileSync(join(projectDir, 'docs/lab.md'), 'utf8');
    expect(docs).toContain(fieldRows('', topologyJsonSchema() as JsonSchema).join('\n'));
  });
});

interface JsonSchema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
}

/** The rows of a Markdown table: one for each field, objects before what is in them. */
function fieldRows(prefix: string, { properties = {}, required = [] }: JsonSchema): string[] {
  return Object.entries(properties).flatMap(([name, field]) => {
    if (name === '$schema') return [];
    const path = `${prefix}${name}${field.type === 'array' ? '[]' : ''}`;
    const type =
      field.enum?.map((value) => JSON.stringify(value)).join(', ') ?? field.anyOf?.map((each) => each.type).join(' or ') ?? field.type;
    const isPlain = field.default !== undefined && JSON.stringify(field.default) !== '{}';
    const standard = required.includes(name) ? '**required**' : isPlain ? `\`${JSON.stringify(field.default)}\`` : '';
    const row = `| \`${path}\` | ${type} | ${standard} | ${field.description ?? ''} |`;
    return [row, ...fieldRows(`${path}.`, field.items ?? field)];
  });
}

const NODE = '    nodes: [{ name: n1 }]';

describe('a broken topology is answered with file, line and field', () => {
  it.each([
    ['an empty file', '', ['t.yaml: name: is required', 't.yaml: regions: is required']],
    ['no YAML', 'name: x\nregions: [', ['t.yaml:2: Flow sequence in block collection must be sufficiently indented and end with a ]']],
    ['a list', '- a', ['t.yaml:1: expected object, received array']],
    [
      'an unknown field',
      `name: x\nregions:\n  - name: a\n    lan: 10.0.0.0/24\n    colour: red\n${NODE}`,
      ['t.yaml:5: regions[0].colour: unknown field'],
    ],
    [
      'a bad name',
      `name: X\nregions:\n  - name: a\n    lan: 10.0.0.0/24\n${NODE}`,
      ['t.yaml:1: name: must be lower-case letters, digits and inner hyphens'],
    ],
    [
      'a network with host bits',
      `name: x\nregions:\n  - name: a\n    lan: 10.0.0.1/24\n${NODE}`,
      [
        't.yaml:4: regions[0].lan: must be a network such as 192.168.1.0/24 or 2001:db8::/64, with no host bits set and in its shortest form',
      ],
    ],
    [
      'a wrong choice',
      `name: x\nregions:\n  - name: a\n    lan: 10.0.0.0/24\n    router: { nat: full }\n${NODE}`,
      ['t.yaml:5: regions[0].router.nat: must be "none", "cone", "symmetric"'],
    ],
    [
      'pods that are neither number nor names',
      'name: x\nregions:\n  - name: a\n    lan: 10.0.0.0/24\n    nodes: [{ name: n1, pods: yes }]',
      ['t.yaml:5: regions[0].nodes[0].pods: must be a number of pods or a list of their names'],
    ],
    [
      'a name given twice',
      'name: x\nregions:\n  - name: a\n    lan: 10.0.0.0/24\n    nodes:\n      - name: n1\n      - name: n1\n        pods: 0',
      ['t.yaml:7: regions[0].nodes[1].name: the name n1 is already that of a node'],
    ],
    [
      'a reserved name',
      'name: x\nregions:\n  - name: a\n    lan: 10.0.0.0/24\n    nodes:\n      - name: eth0',
      ['t.yaml:6: regions[0].nodes[0].name: the name eth0 is reserved for a network device'],
    ],
    ['no LAN', `name: x\nregions:\n  - name: a\n${NODE}`, ['t.yaml:3: regions[0]: lan is required (or router.sameAs)']],
    [
      'NAT without an address',
      `name: x\nregions:\n  - name: a\n    lan: 10.0.0.0/24\n    router:\n      nat: cone\n${NODE}`,
      ['t.yaml:6: regions[0].router: publicIp is required with NAT'],
    ],
    [
      'a router of a region that is not there',
      `name: x\nregions:\n  - name: a\n    router: { sameAs: b }\n${NODE}`,
      ['t.yaml:4: regions[0].router.sameAs: there is no other region b'],
    ],
    [
      'an address outside the LAN',
      'name: x\nregions:\n  - name: a\n    lan: 10.0.0.0/24\n    nodes:\n      - name: n1\n        ip: 10.0.1.1',
      ["t.yaml:7: regions[0].nodes[0].ip: 10.0.1.1 is outside the region's LAN 10.0.0.0/24"],
    ],
    [
      "the router's address",
      'name: x\nregions:\n  - name: a\n    lan: 10.0.0.0/24\n    nodes:\n      - name: n1\n        ip: 10.0.0.254',
      ["t.yaml:7: regions[0].nodes[0].ip: 10.0.0.254 is the router's address in 10.0.0.0/24"],
    ],
    [
      'an address given twice',
      'name: x\nregions:\n  - name: a\n    lan: 10.0.0.0/24\n    nodes:\n      - { name: n1, ip: 10.0.0.1 }\n      - { name: n2, ip: 10.0.0.1 }',
      ['t.yaml:7: regions[0].nodes[1].ip: 10.0.0.1 is already that of node n1'],
    ],
    [
      'overlapping pod networks',
      'name: x\nregions:\n  - name: a\n    lan: 10.0.0.0/24\n    nodes:\n      - { name: n1, podCidr: 10.244.0.0/23 }\n      - { name: n2, podCidr: 10.244.1.0/24 }',
      ['t.yaml:7: regions[0].nodes[1].podCidr: 10.244.1.0/24 overlaps that of node n1 (10.244.0.0/23); allowOverlap: true permits it'],
    ],
    [
      'public networks that overlap',
      `name: x\nregions:\n  - name: a\n    lan: 203.0.113.0/24\n${NODE}\n  - name: b\n    lan: 10.0.0.0/24\n    router: { nat: cone, publicIp: 203.0.113.9 }\n    nodes: [{ name: n2 }]`,
      ['t.yaml:8: regions[1].router.publicIp: 203.0.113.9/32 on the internet belongs to region a (203.0.113.0/24)'],
    ],
    [
      'a forward to a node elsewhere',
      `name: x\nregions:\n  - name: a\n    lan: 10.0.0.0/24\n    router: { nat: cone, publicIp: 1.1.1.1, forwards: [{ publicPort: 1, node: n2, port: 1 }] }\n${NODE}`,
      ['t.yaml:5: regions[0].router.forwards[0].node: there is no node n2 behind this router'],
    ],
    [
      'services that do not fit',
      `name: x\nregions:\n  - name: a\n    lan: 10.0.0.0/24\n${NODE}\nservices:\n  - { name: s, clusterIP: 10.1.0.1, port: 80, pods: [pod-n1] }\n  - { name: u, clusterIP: 10.1.0.1, port: 80, pods: [pod-n1] }`,
      [
        't.yaml:7: services[0].clusterIP: 10.1.0.1 is outside serviceCidr 10.96.0.0/16',
        't.yaml:8: services[1].clusterIP: 10.1.0.1 is outside serviceCidr 10.96.0.0/16',
        't.yaml:8: services[1].port: 10.1.0.1:80/TCP is already that of s',
      ],
    ],
    [
      'a service without its pod',
      `name: x\nregions:\n  - name: a\n    lan: 10.0.0.0/24\n${NODE}\nservices:\n  - { name: s, clusterIP: 10.96.0.1, port: 80, pods: [pod-n2] }\ndns: { pod: p, clusterIP: 10.96.0.2 }`,
      ['t.yaml:7: services[0].pods[0]: there is no pod pod-n2', 't.yaml:8: dns.pod: there is no pod p'],
    ],
    [
      'two networks of one family',
      `name: x\nclusterCidr: [10.244.0.0/16, 10.245.0.0/16]\nregions:\n  - name: a\n    lan: 10.0.0.0/24\n${NODE}`,
      ['t.yaml:2: clusterCidr: must be one of each family'],
    ],
    [
      'a pod network of a family that the cluster does not have',
      'name: x\nregions:\n  - name: a\n    lan: 10.0.0.0/24\n    nodes:\n      - { name: n1, podCidr: [10.244.1.0/24, fd00:1::/64] }',
      ['t.yaml:6: regions[0].nodes[0].podCidr: fd00:1::/64 is outside clusterCidr 10.244.0.0/16'],
    ],
    [
      'a cluster network without room for a /64 for each node',
      `name: x\nclusterCidr: fd00:1::/64\nserviceCidr: fd00:2::/112\nregions:\n  - name: a\n    lan: 2001:db8::/64\n${NODE}`,
      [
        't.yaml:2: clusterCidr: fd00:1::/64 is too narrow for a /64 for each node',
        't.yaml:7: regions[0].nodes[0].podCidr: fd00:1:0:1::/64 is outside clusterCidr fd00:1::/64',
      ],
    ],
    [
      'translation of IPv6',
      `name: x\nregions:\n  - name: a\n    lan: 2001:db8::/64\n    router: { nat: cone, publicIp: 1.1.1.1, forwards: [{ publicPort: 1, node: n1, port: 1 }] }\n${NODE}`,
      [
        't.yaml:5: regions[0].router.publicIp: is only for routers with an IPv4 LAN: IPv6 is not translated',
        't.yaml:5: regions[0].router.forwards: is only for routers with NAT in front of an IPv4 LAN',
      ],
    ],
    [
      'an IPv6 address that is written in another way than the kernel does',
      'name: x\nregions:\n  - name: a\n    lan: 2001:db8::/64\n    nodes:\n      - { name: n1, ip: "2001:DB8::0:1" }',
      ['t.yaml:6: regions[0].nodes[0].ip: must be an address such as 192.168.1.10 or 2001:db8::a, in its shortest form'],
    ],
  ])('%s', (_, text, expected) => expect(complaint(text).split('\n')).toEqual(expected));

  it('overlapping pod networks are fine when asked for', () => {
    const nodes = '    nodes: [{ name: n1, podCidr: 10.244.1.0/24 }, { name: n2, podCidr: 10.244.1.0/24 }]';
    expect(complaint(`name: x\nallowOverlap: true\nregions:\n  - name: a\n    lan: 10.0.0.0/24\n${nodes}`)).toBe('');
  });
});

describe('property', () => {
  test.prop([fc.string()])('any text is parsed or refused as wrong input', (text) => {
    complaint(text);
  });

  const anything = fc.oneof(
    fc.string(),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.constantFrom('a', 'n1', '10.0.0.0/24', '10.0.0.1'),
  );
  const region = fc.record(
    {
      name: anything,
      lan: anything,
      router: fc.record({ nat: anything, sameAs: anything }),
      nodes: fc.array(fc.record({ name: anything, ip: anything, pods: anything })),
    },
    { requiredKeys: [] },
  );
  test.prop([fc.array(region)])('any field is accepted or refused as wrong input, and what is accepted can be planned', (regions) => {
    const text = JSON.stringify({ name: 'x', regions });
    if (complaint(text) === '') expect(planLab(parseTopology(text, 't.yaml'), 'x').length).toBeGreaterThan(2);
  });

  test.prop([fc.integer({ min: 1, max: 20 }), fc.integer({ min: 0, max: 3 })])(
    'nodes without addresses get different ones',
    (count, pods) => {
      const nodes = Array.from({ length: count }, (_, i) => ({ name: `n${i}`, pods }));
      const topology = parseTopology(JSON.stringify({ name: 'x', regions: [{ name: 'a', lan: '10.0.0.0/24', nodes }] }), 't.yaml');
      const ips = [...topology.nodes, ...topology.pods].flatMap(({ ips: own }) => own);
      expect(new Set(ips).size).toBe(ips.length);
    },
  );
});
