import { type Kind, RESOURCES } from '../../api/kinds.ts';
import { KubeApiError, type KubeClient } from './kube-client.ts';
import { resourcePath } from './resource-path.ts';
import { trim } from './trim.ts';

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
  /** Null for none, in some versions of the API server. */
  readonly items: readonly RawObject[] | null;
}

/** As client-go: the API server holds no more than this many objects in memory for one answer. */
const PAGE = '500';

/**
 * All objects of a kind and the version of the whole list; `onPage` is called for each answer. When the API server has forgotten the version that the
 * first pages are of, the list is asked for again in one piece, as client-go does: that one cannot expire.
 * @throws {KubeApiError} 404 when the cluster does not know the kind
 */
export async function listRaw(
  client: KubeClient,
  { kind, namespace, fieldSelector, signal }: ListRequest,
  onPage?: () => void,
): Promise<{ readonly version: string; readonly items: readonly RawObject[] }> {
  const ask = async (limit: string | undefined, next: string | undefined): Promise<Page> => {
    const query = { limit, continue: next, fieldSelector };
    const path = resourcePath(kind, undefined, namespace);
    const page = await client.request<Page>({ method: 'GET', path, query, ...(signal && { signal }) });
    onPage?.();
    return { ...page, items: (page.items ?? []).map((item) => trim(kind, withKind(kind, item))) };
  };
  const pages = [await ask(PAGE, undefined)];
  for (let next = pages[0]?.metadata.continue; next; next = pages.at(-1)?.metadata.continue) {
    try {
      pages.push(await ask(PAGE, next));
    } catch (error) {
      if (!isGone(error)) throw error;
      pages.splice(0, pages.length, await ask(undefined, undefined));
    }
  }
  const items = pages.flatMap((page) => page.items ?? []);
  return { version: pages.at(-1)?.metadata.resourceVersion ?? '', items };
}

/** The API server no longer has the version that was asked for: as an answer, or within a watch. */
export function isGone(error: unknown): boolean {
  return error instanceof KubeApiError && (error.code === 410 || error.reason === 'Expired');
}

/** No such resource, rather than no such object: a list never ends so when the kind is served. */
export function isAbsent(error: unknown): boolean {
  return error instanceof KubeApiError && error.code === 404;
}

/** Items of a list of built-in kinds carry neither apiVersion nor kind. */
function withKind(kind: Kind, item: RawObject): RawObject {
  return 'kind' in item ? item : { apiVersion: RESOURCES[kind].apiVersion, kind, ...item };
}
