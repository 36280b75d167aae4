import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { parse } from 'yaml';
import { gatewayCrd, tunnelEndpointCrd } from '../../src/api/crd.ts';
import type { StoredObject } from '../../src/store/object.ts';
import { tunnelEndpoint } from '../../src/store/conformance.ts';
import type { KubeClient } from '../../src/store/kube/kube-client.ts';
import { kubectl } from './api-server.ts';
import { createObject, deleteObjects, openClient } from './clients.ts';

type Fields = Record<string, unknown>;

const { kubeconfig, missing } = inject('kube');

function fixture(name: string): { text: string; object: Fields & { spec: Fields } } {
  const text = readFileSync(fileURLToPath(new URL(`fixtures/${name}.yaml`, import.meta.url)), 'utf8');
  return { text, object: parse(text) as Fields & { spec: Fields } };
}

async function stored(resource: string, name: string): Promise<Fields & { metadata: Fields }> {
  return JSON.parse(await kubectl(kubeconfig, ['get', resource, name, '-o', 'json'])) as Fields & { metadata: Fields };
}

describe.skipIf(missing !== undefined)("Raven's kinds on a real API server", () => {
  let client: KubeClient;

  beforeAll(async () => {
    client = await openClient(kubeconfig);
  });

  afterAll(async () => {
    await deleteObjects(client, ['Gateway', 'TunnelEndpoint']);
    await client.close();
  });

  it('are established, with no complaint about their schemas', async () => {
    const names = [gatewayCrd(), tunnelEndpointCrd()].map(({ metadata }) => `crd/${metadata.name}`);
    const { items } = JSON.parse(await kubectl(kubeconfig, ['get', ...names, '-o', 'json'])) as {
      items: { status: { conditions: { type: string; status: string }[] } }[];
    };
    for (const { status } of items) {
      const said = Object.fromEntries(status.conditions.map(({ type, status: value }) => [type, value]));
      expect(said).toMatchObject({ Established: 'True', NamesAccepted: 'True' });
      expect(said).not.toHaveProperty('NonStructuralSchema');
    }
  });

  it('are accepted as they are checked in, with conversion by webhook', async () => {
    const file = fileURLToPath(new URL('../../deploy/crds', import.meta.url));
    const printed = await kubectl(kubeconfig, ['apply', '--server-side', '--dry-run=server', '--force-conflicts', '-f', file]);
    expect(printed.trim().split('\n')).toHaveLength(2);
  });

  it('explain their fields', async () => {
    const explain = (field: string): Promise<string> => kubectl(kubeconfig, ['explain', field]);
    expect(await explain('gateways.spec.endpoints.underNAT')).toContain('behind a NAT');
    expect(await explain('tunnelendpoints.spec.underlayMtu')).toContain('MTU in bytes');
  });

  it('keep every field of a manifest for the Go implementation, in v1beta1', async () => {
    const { text, object } = fixture('gateway-v1beta1');
    await kubectl(kubeconfig, ['apply', '--validate=strict', '-f', '-'], text);
    expect(await stored('gw', 'gw-hangzhou')).toMatchObject({ apiVersion: object['apiVersion'], spec: object.spec });
    // Go writes lists that are nil as null.
    const nothing = { ...object, metadata: { name: 'gw-empty' }, spec: { endpoints: null } };
    await kubectl(kubeconfig, ['apply', '--validate=strict', '-f', '-'], JSON.stringify(nothing));
  });

  it('keep every field of a manifest for the Go implementation, in v1alpha1', async () => {
    const { text, object } = fixture('gateway-v1alpha1');
    await kubectl(kubeconfig, ['apply', '--validate=strict', '-f', '-'], text);
    expect(await stored('gateways.v1alpha1.raven.openyurt.io', 'gw-beijing')).toMatchObject({
      apiVersion: object['apiVersion'],
      spec: object.spec,
    });
  });

  it('keep status and spec apart, and every field of the status', async () => {
    const status = {
      nodes: [
        { nodeName: 'n1', privateIP: '192.0.2.1', subnets: ['10.1.0.0/24'] },
        { nodeName: 'n2', privateIP: '', subnets: null },
      ],
      activeEndpoints: [{ nodeName: 'n1', type: 'tunnel', port: 4500, underNAT: false, natType: 'x', publicPort: 1, config: { a: 'b' } }],
      active: 'n1',
      peers: '1/2',
      exposed: [{ nodeName: 'n1', type: 'tunnel', addresses: ['192.0.2.7'], port: 4500 }],
      conditions: [{ type: 'Ready', status: 'True', reason: 'R', message: 'm', lastTransitionTime: '2024-01-01T00:00:00Z' }],
    };
    await createObject(client, {
      ...fixture('gateway-v1beta1').object,
      metadata: { name: 'gw-status' },
      status,
    } as unknown as StoredObject);
    const before = await stored('gw', 'gw-status');
    expect(before['status']).toEqual(status);
    const path = '/apis/raven.openyurt.io/v1beta1/gateways/gw-status';
    await client.request({ method: 'PUT', path, body: { ...before, status: { active: 'other' } } });
    const after = await stored('gw', 'gw-status');
    expect(after['status']).toEqual(status);
    await client.request({ method: 'PUT', path: `${path}/status`, body: { ...after, spec: { exposeType: 'LoadBalancer' } } });
    expect((await stored('gw', 'gw-status'))['spec']).toEqual(before['spec']);
    expect(await columns('gw', 'gw-status')).toEqual({
      NAME: 'gw-status',
      ACTIVE: 'n1',
      PEERS: '1/2',
      EXPOSE: 'PublicIP',
      READY: 'True',
      AGE: expect.any(String),
    });
  });

  it('show tunnel endpoints as an operator asks for them', async () => {
    const status = { links: [], conditions: [], peers: '2/3', forwarding: { state: 'Ok' as const, since: '2026-01-01T00:00:00Z' } };
    await createObject(client, {
      ...tunnelEndpoint,
      metadata: { name: 'crd-a1' },
      spec: { ...tunnelEndpoint.spec, nodeName: 'crd-a1' },
      status,
    });
    const { gateway, dataPath, driver } = tunnelEndpoint.spec;
    const shown = {
      NAME: 'crd-a1',
      GATEWAY: gateway,
      DATAPATH: dataPath,
      PEERS: '2/3',
      FORWARDS: 'Ok',
      DRIVER: driver,
      AGE: expect.any(String) as unknown,
    };
    expect(await columns('te', 'crd-a1')).toEqual(shown);
  });

  it('are found under their category, and under their short names', async () => {
    const printed = await kubectl(kubeconfig, ['get', 'yurt', '-o', 'name']);
    expect(printed).toMatch(/^gateway\.raven\.openyurt\.io\//m);
    expect(printed).toMatch(/^tunnelendpoint\.raven\.openyurt\.io\//m);
  });

  it('refuse without any webhook what the contract forbids, and name the field', async () => {
    const tunnel = { nodeName: 'b1', type: 'tunnel' };
    const refusals: string[] = [];
    for (const spec of [
      { exposeType: 'NodePort' },
      { exposeType: 'PublicIP', endpoints: [{ ...tunnel, underNAT: true }] },
      { endpoints: [tunnel, { nodeName: 'b2', type: 'tunnel', underNAT: true }] },
      { endpoints: [{ ...tunnel, publicIP: 'b1.example.org' }] },
      { endpoints: [{ ...tunnel, type: 'vpn' }] },
      { endpoints: [{ ...tunnel, nodeName: '' }] },
      { endpoints: [{ type: 'tunnel' }] },
      { endpoints: [tunnel, tunnel] },
      { endpoints: [{ ...tunnel, port: 65536 }] },
      { endpoints: [{ ...tunnel, publicPort: -1 }] },
      { endpoints: [{ ...tunnel, port: '4500' }] },
      { proxyConfig: { Replicas: 2 }, endpoints: [{ ...tunnel, type: 'proxy' }] },
      { proxyConfig: { Replicas: 2 } },
      { tunnelConfig: { Replicas: -1 } },
      { proxyConfig: {} },
      { endpoints: Array.from({ length: 65 }, (_, i) => ({ ...tunnel, nodeName: `b${i}` })) },
    ])
      refusals.push(await refusal({ apiVersion: 'raven.openyurt.io/v1beta1', kind: 'Gateway', metadata: { name: 'bad' }, spec }));
    expect(refusals.join('\n')).toMatchInlineSnapshot(`
      "spec.exposeType: Invalid value: must be empty, PublicIP or LoadBalancer
      spec.endpoints: Invalid value: an endpoint of an exposed gateway must not be underNAT
      spec.endpoints: Invalid value: underNAT must be the same for all endpoints
      spec.endpoints[0].publicIP: Invalid value: must be empty or an IP address
      spec.endpoints[0].type: Invalid value: must be tunnel or proxy
      spec.endpoints[0].nodeName: Invalid value: must not be empty

      * spec.endpoints[0].nodeName: Required value
      * <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation
      spec.endpoints: Invalid value: a node must not be listed twice with the same type
      spec.endpoints[0].port: Invalid value: must be 0 to 65535
      spec.endpoints[0].publicPort: Invalid value: must be 0 to 65535

      * spec.endpoints[0].port: Invalid value: "string": spec.endpoints[0].port in body must be of type integer: "string"
      * <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation
      spec.proxyConfig.Replicas: Invalid value: must not exceed 1 and the number of proxy endpoints
      spec.proxyConfig.Replicas: Invalid value: must not exceed 1 and the number of proxy endpoints
      spec.tunnelConfig.Replicas: Invalid value: must not be negative

      * spec.proxyConfig.Replicas: Required value
      * <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation

      * spec.endpoints: Too many: 65: must have at most 64 items
      * <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"
    `);
  });

  it('refuse the same in v1alpha1', async () => {
    const refusals: string[] = [];
    for (const spec of [
      { exposeType: 'x' },
      { endpoints: [{ nodeName: 'b1', underNAT: true }], exposeType: 'LoadBalancer' },
      { endpoints: [{ nodeName: 'b1', publicIP: 'x' }] },
      { endpoints: [{}] },
    ])
      refusals.push(await refusal({ apiVersion: 'raven.openyurt.io/v1alpha1', kind: 'Gateway', metadata: { name: 'bad' }, spec }));
    expect(refusals.join('\n')).toMatchInlineSnapshot(`
      "spec.exposeType: Invalid value: must be empty, PublicIP or LoadBalancer
      spec.endpoints: Invalid value: an endpoint of an exposed gateway must not be underNAT
      spec.endpoints[0].publicIP: Invalid value: must be empty or an IP address

      * spec.endpoints[0].nodeName: Required value
      * <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"
    `);
  });

  it('refuse a TunnelEndpoint that speaks of another node', async () => {
    expect(await refusal({ ...tunnelEndpoint, metadata: { name: 'someone' } })).toMatchInlineSnapshot(
      `"spec.nodeName: Invalid value: must be the name of the object"`,
    );
  });

  it('let pass as many endpoints as there may be: the rules cost no more than allowed', async () => {
    const endpoints = Array.from({ length: 64 }, (_, i) => ({
      nodeName: `${'n'.repeat(240)}${i}`,
      type: 'tunnel',
      publicIP: '2001:db8::1',
    }));
    const object = {
      apiVersion: 'raven.openyurt.io/v1beta1',
      kind: 'Gateway',
      metadata: { name: 'full' },
      spec: { endpoints, exposeType: 'PublicIP' },
    };
    expect(await kubectl(kubeconfig, ['create', '--dry-run=server', '-f', '-'], JSON.stringify(object))).toContain('created');
  });
});

/** What a wide table shows of one object, by column. */
async function columns(resource: string, name: string): Promise<Fields> {
  const [titles = '', cells = ''] = (await kubectl(kubeconfig, ['get', resource, name, '-o', 'wide'])).split('\n');
  const values = cells.trim().split(/\s+/);
  return Object.fromEntries(
    titles
      .trim()
      .split(/\s+/)
      .map((title, i) => [title, values[i]]),
  );
}

/** The API server's words on why it does not create the object. */
async function refusal(object: unknown): Promise<string> {
  const args = ['create', '--dry-run=server', '--validate=ignore', '-f', '-'];
  return kubectl(kubeconfig, args, JSON.stringify(object)).then(
    () => 'created',
    (error: unknown) => String(error).replace(/^.*? is invalid: /s, ''),
  );
}
