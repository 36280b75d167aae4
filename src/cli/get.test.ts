import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { UserError } from '../lib/errors.ts';
import { gateway, lease, node, tunnelEndpoint } from '../store/conformance.ts';
import { openDirStore } from '../store/dir/dir-store.ts';
import { createMemoryStore } from '../store/memory.ts';
import type { StoredObject } from '../store/object.ts';
import { formatAge } from './age.ts';
import { addGetCommand } from './get.ts';
import { type GetRequest, parseResource, renderGet } from './get-run.ts';
import { formatTable } from './table.ts';

const NOW = Date.parse('2024-01-01T01:00:00Z');
const created = { creationTimestamp: '2024-01-01T00:00:00Z', uid: 'u' };
const link = { gateway: 'edge', path: 'direct' as const };
const objects: readonly StoredObject[] = [
  {
    ...gateway,
    metadata: { name: 'cloud', ...created },
    status: {
      nodes: [{ nodeName: 'a1', privateIP: '192.0.2.1', subnets: ['10.1.1.0/24', '10.1.2.0/24'] }],
      activeEndpoints: [
        { nodeName: 'a1', type: 'tunnel' },
        { nodeName: 'a2', type: 'proxy' },
      ],
    },
  },
  { ...gateway, metadata: { name: 'edge', creationTimestamp: '2024-01-01T00:59:15Z' } },
  {
    ...tunnelEndpoint,
    metadata: { name: 'a1', ...created },
    spec: {
      ...tunnelEndpoint.spec,
      addresses: [
        { type: 'Private', ip: '192.0.2.1', port: 4500 },
        { type: 'Public', ip: '2001:db8::1', port: 4500 },
      ],
    },
    status: {
      links: [
        { ...link, peer: 'b1', state: 'Up' },
        { ...link, peer: 'c1', state: 'Connecting' },
      ],
      conditions: [],
    },
  },
  {
    ...node,
    spec: { podCIDRs: ['10.1.1.0/24', 'fd00::/64'] },
    status: {
      addresses: [{ type: 'InternalIP', address: '192.0.2.1' }],
      conditions: [{ type: 'Ready', status: 'True', reason: '', message: '' }],
    },
  },
  { ...node, metadata: { name: 'x', ...created }, spec: { unschedulable: true } },
  { ...lease, metadata: { ...lease.metadata, ...created } },
  { ...lease, metadata: { name: 'a1', ...created } },
  {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name: 'cloud.1', ...created },
    involvedObject: { kind: 'Gateway', name: 'cloud' },
    type: 'Normal',
    reason: 'ActiveEndpointElected',
    message: 'a1 is\nactive',
    lastTimestamp: '2024-01-01T00:57:00Z',
  },
];

async function get(resource: string, rest: Partial<GetRequest> = {}) {
  const request: GetRequest = { resource, name: undefined, store: '', ...rest };
  return renderGet(createMemoryStore(objects), parseResource(resource), request, NOW);
}
const printed = async (resource: string, rest?: Partial<GetRequest>) => (await get(resource, rest)).stdout;

describe('raven get', () => {
  it('prints gateways with what an operator asks first', async () => {
    expect(await printed('gateways')).toMatchInlineSnapshot(`
      "NAME    ACTIVE   PEERS   NODES   AGE
      cloud   a1,a2    1/2     1       60m
      edge    <none>   0/0     0       45s
      "
    `);
    expect(await printed('gw', { name: 'cloud', output: 'wide' })).toMatchInlineSnapshot(`
      "NAME    ACTIVE   PEERS   NODES   AGE   ENDPOINTS   SUBNETS
      cloud   a1,a2    1/2     1       60m   a1          10.1.1.0/24,10.1.2.0/24
      "
    `);
  });

  it('prints the other kinds', async () => {
    expect((await Promise.all(['tunnelendpoint', 'Nodes', 'leases', 'events'].map((each) => printed(each)))).join('\n'))
      .toMatchInlineSnapshot(`
      "NAME   GATEWAY   DATAPATH   ADDRESSES                           LINKS   AGE
      a1     cloud     user       192.0.2.1:4500,[2001:db8::1]:4500   1/2     60m

      NAME   STATUS                       REGION   INTERNAL-IP   PODCIDR                 AGE
      a1     Ready                        cloud    192.0.2.1     10.1.1.0/24,fd00::/64   60m
      x      Unknown,SchedulingDisabled   <none>   <none>        <none>                  60m

      NAMESPACE         NAME   HOLDER   RENEWED   AGE
      default           a1     a1       60m       60m
      kube-node-lease   a1     a1       60m       60m

      NAMESPACE   LAST SEEN   TYPE     REASON                  OBJECT          MESSAGE
      default     3m          Normal   ActiveEndpointElected   gateway/cloud   a1 is active
      "
    `);
    expect(await printed('te', { output: 'wide' })).toContain('b1=Up,c1=Connecting');
  });

  it('prints a List in JSON, as kubectl does, and the bare object with a name', async () => {
    const list = JSON.parse(await printed('gateways', { output: 'json' }));
    expect({ ...list, items: list.items.length }).toEqual({ apiVersion: 'v1', kind: 'List', items: 2, metadata: { resourceVersion: '' } });
    expect(Object.keys(list)).toEqual(['apiVersion', 'kind', 'items', 'metadata']);
    expect(JSON.parse(await printed('gateway', { name: 'cloud', output: 'json' }))).toMatchObject({
      kind: 'Gateway',
      metadata: { name: 'cloud' },
    });
    expect(parse(await printed('gateway', { name: 'cloud', output: 'yaml' }))).toMatchObject({
      kind: 'Gateway',
      metadata: { name: 'cloud' },
    });
    expect(JSON.parse(await printed('lease', { name: 'a1', output: 'json' })).items).toHaveLength(2);
    expect(JSON.parse(await printed('lease', { name: 'a1', namespace: 'default', output: 'json' })).kind).toBe('Lease');
  });

  it('says what is not there, and what is not known', async () => {
    expect(await get('gateway', { name: 'x', output: 'json' })).toEqual({
      found: false,
      stdout: '',
      stderr: 'Error from store: gateways "x" not found\n',
    });
    expect(() => parseResource('pods')).toThrow(
      new UserError(
        '"pods" is not known; there are: gateways, tunnelendpoints, nodes, leases, events, configmaps, services, endpointslices, blockaffinities',
      ),
    );
    const empty = await renderGet(createMemoryStore(), 'Node', { resource: 'nodes', name: undefined, store: '' }, NOW);
    expect(empty).toEqual({ found: true, stdout: '', stderr: 'No resources found\n' });
  });

  it('warns of problems and prints the rest', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'raven-get-'));
    await writeFile(join(dir, 'a.yaml'), stringify(gateway));
    await writeFile(join(dir, 'b.yaml'), 'a: [');
    const store = await openDirStore(dir);
    const { stdout, stderr } = await renderGet(store, 'Gateway', { resource: 'gw', name: undefined, store: '' }, NOW);
    await store.close();
    await rm(dir, { recursive: true });
    expect(stdout).toMatch(/^cloud +<none> +0\/0 +0 +<unknown>$/m);
    expect(stderr).toMatch(/^warning: .*\/b\.yaml:1: is no YAML: .*\n$/);
  });

  it('says in its help where additions are kept', () => {
    const program = new Command().configureOutput({ writeOut: (text) => void (help += text) });
    let help = '';
    addGetCommand(program, {});
    program.commands[0]?.outputHelp();
    expect(help).toContain('DIR/raven-state/<Kind>/');
  });
});

describe('formatTable', () => {
  it('lines up by characters and keeps each row on one line', () => {
    expect(
      formatTable(
        ['A', 'B'],
        [
          ['✓ ok', 'x\ny'],
          ['', 'z'],
        ],
      ),
    ).toBe('A      B\n✓ ok   x y\n       z\n');
    expect(formatTable(['A'], [])).toBe('A\n');
  });
});

describe('formatAge', () => {
  it.each([
    [-5_000, '0s'],
    [119_000, '119s'],
    [200_000, '3m20s'],
    [300_000, '5m'],
    [3_600_000, '60m'],
    [5 * 3_600_000 + 720_000, '5h12m'],
    [3 * 86_400_000 + 4 * 3_600_000, '3d4h'],
    [200 * 86_400_000, '200d'],
    [Number.NaN, '<unknown>'],
  ])('%d ms is %s', (ms, text) => expect(formatAge(ms)).toBe(text));
});
