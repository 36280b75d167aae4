import { type Kind, KINDS } from '../../src/api/kinds.ts';
import type { StoredObject } from '../../src/store/object.ts';
import { findCluster } from '../../src/store/kube/cluster-access.ts';
import { createKubeClient } from '../../src/store/kube/create-kube-client.ts';
import { KubeApiError, type KubeClient } from '../../src/store/kube/kube-client.ts';
import { resourcePath } from '../../src/store/kube/resource-path.ts';

/** Speaks to the API server as the user of a kubeconfig. */
export async function openClient(kubeconfig: string): Promise<KubeClient> {
  return createKubeClient(await findCluster({ file: kubeconfig, env: {} }), { userAgent: 'raven-test' });
}

/** Creates an object, status included, as a person and the programs of a cluster would. */
export async function createObject(client: KubeClient, object: StoredObject): Promise<void> {
  const { kind, metadata } = object;
  const path = resourcePath(kind, undefined, metadata.namespace ?? (kind === 'Lease' ? 'default' : undefined));
  const created = await client.request<StoredObject>({ method: 'POST', path, body: object });
  if (!('status' in object) || object.status === undefined) return;
  const body = { ...object, metadata: created.metadata };
  await client.request({ method: 'PUT', path: `${resourcePath(kind, metadata.name, metadata.namespace)}/status`, body });
}

/** Kinds whose objects the tests make. */
const OURS: readonly Kind[] = ['Node', 'Gateway', 'TunnelEndpoint', 'Lease', 'Event', 'ConfigMap', 'Service', 'EndpointSlice'];

/** Deletes all objects of our kinds but those that belong to the API server itself. */
export async function deleteObjects(client: KubeClient, kinds: readonly Kind[] = OURS): Promise<void> {
  for (const kind of kinds.filter((each) => KINDS.includes(each))) {
    const { items } = await client.request<{ items: StoredObject[] }>({ method: 'GET', path: resourcePath(kind) });
    for (const { metadata } of items.filter((each) => !isSystem(kind, each))) {
      await client.request({ method: 'DELETE', path: resourcePath(kind, metadata.name, metadata.namespace) }).catch(ignoreNotFound);
    }
  }
}

function isSystem(kind: Kind, { metadata: { name, namespace } }: StoredObject): boolean {
  if (kind === 'ConfigMap') return name === 'kube-root-ca.crt' || namespace === 'kube-system';
  if (kind === 'Lease') return namespace === 'kube-system';
  return (kind === 'Service' || kind === 'EndpointSlice') && name === 'kubernetes';
}

function ignoreNotFound(error: unknown): void {
  if (!(error instanceof KubeApiError && error.code === 404)) throw error;
}
