import { type Kind, RESOURCES } from '../../api/kinds.ts';

/** `/api/v1/nodes`, `/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/x`; without a name: the collection, without a namespace: of all. */
export function resourcePath(kind: Kind, name?: string, namespace?: string): string {
  const { apiVersion, plural, namespaced } = RESOURCES[kind];
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const scope =
    namespaced && (namespace !== undefined || name !== undefined) ? `/namespaces/${encodeURIComponent(namespace || 'default')}` : '';
  return `${root}${scope}/${plural}${name === undefined ? '' : `/${encodeURIComponent(name)}`}`;
}
