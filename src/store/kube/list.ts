import { type Kind, RESOURCES } from '../../api/kinds.ts';
import { KubeApiError, type KubeClient } from './kube-client.ts';
import { resourcePath } from './resource-path.ts';

export interface ListRequest {
  readonly kind: Kind;
  /** Only objects of this namespace; all when absent. */
  readonly namespace: string | undefined;
  /** As `kubectl get --field-selector`. */
  readonly fieldSelector: string | undefined;
  readonly signal?: AbortSignal;
}

export type RawObject = Readonly<Record<string, unknown>>;

interface Page {
  readonly metadata: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items: readonly RawObject[];
}

/** As client-go: the API server holds no more than this many objects in memory for one answer. */
const PAGE = '500';

/**
 * All objects of a kind and the version of the whole list; `onPage` is called for each answer.
 * @throws {KubeApiError} 404 when the cluster does not know the kind; 410 when the list changed too long ago between two pages
 */
export async function listRaw(
  client: KubeClient,
  { kind, namespace, fieldSelector, signal }: ListRequest,
  onPage?: () => void,
): Promise<{ readonly version: string; readonly items: readonly RawObject[] }> {
  const items: RawObject[] = [];
  let page: Page | undefined;
  do {
    const query = { limit: PAGE, continue: page?.metadata.continue, fieldSelector };
    const path = resourcePath(kind, undefined, namespace);
    page = await client.request<Page>({ method: 'GET', path, query, ...(signal && { signal }) });
    onPage?.();
    for (const item of page.items) items.push(withKind(kind, item));
  } while (page.metadata.continue);
  return { version: page.metadata.resourceVersion ?? '', items };
}

/** No such resource, rather than no such object: a list never ends so when the kind is served. */
export function isAbsent(error: unknown): boolean {
  return error instanceof KubeApiError && error.code === 404;
}

/** Items of a list of built-in kinds carry neither apiVersion nor kind. */
function withKind(kind: Kind, item: RawObject): RawObject {
  return 'kind' in item ? item : { apiVersion: RESOURCES[kind].apiVersion, kind, ...item };
}
