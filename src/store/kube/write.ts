import type { Kind } from '../../api/kinds.ts';
import { ConflictError } from '../cluster-store.ts';
import type { StoredObject } from '../object.ts';
import { KubeApiError, type KubeClient, type KubeRequest } from './kube-client.ts';
import { resourcePath } from './resource-path.ts';
import type { Retried } from './retry.ts';

export interface WriterOptions {
  readonly client: KubeClient;
  /** Owner of the fields that are written (Kubernetes docs: "Server-Side Apply"). */
  readonly fieldManager: string;
  readonly retried: Retried;
}

/** Writes of whole objects and of statuses; each names the version that it replaces. */
export interface Writer {
  /** @throws {ConflictError} when it exists already */
  create(object: StoredObject): Promise<unknown>;
  /** All but the status. @throws {ConflictError} when it changed or is gone */
  replace(object: StoredObject): Promise<unknown>;
  /** @throws {ConflictError} when it changed or is gone */
  replaceStatus(object: StoredObject): Promise<unknown>;
  remove(kind: Kind, name: string, namespace?: string): Promise<void>;
}

const APPLY = 'application/apply-patch+yaml';

export function createWriter({ client, fieldManager, retried }: WriterOptions): Writer {
  const query = { fieldManager };
  /** `force`: Raven owns what it writes. The version in the body keeps two writers of the same object from overwriting each other. */
  const forced = { fieldManager, force: 'true' };

  function create(object: StoredObject): Promise<unknown> {
    const { kind, metadata } = object;
    const body = bodyOf(object, false);
    if (isPlain(kind)) return send({ method: 'POST', path: resourcePath(kind, undefined, metadata.namespace ?? 'default'), query, body });
    return createByApply(object, body);
  }

  /**
   * Apply creates what is not there, but would change what is, so it is asked for first. That leaves a moment in which two may create: the last one's
   * fields stay. Only the plain verbs exclude this, and they would own the fields in such a way that a later apply could not drop them.
   */
  async function createByApply({ kind, metadata: { name, namespace } }: StoredObject, body: unknown): Promise<unknown> {
    const path = resourcePath(kind, name, namespace);
    const found = await retried(() => client.request<StoredObject>({ method: 'GET', path })).catch(absent);
    if (found !== undefined) throw new ConflictError(`${kind} ${name} exists already`);
    return send({ method: 'PATCH', path, query: forced, contentType: APPLY, body });
  }

  function replace(object: StoredObject): Promise<unknown> {
    const { kind, metadata } = object;
    const path = resourcePath(kind, metadata.name, metadata.namespace);
    const body = bodyOf(object, true);
    if (isPlain(kind)) return send({ method: 'PUT', path, query, body });
    return send({ method: 'PATCH', path, query: forced, contentType: APPLY, body });
  }

  function replaceStatus(object: StoredObject): Promise<unknown> {
    const { kind, apiVersion, metadata } = object;
    const { name, namespace, uid, resourceVersion } = metadata;
    const status = 'status' in object ? (object.status ?? {}) : {};
    return send({
      method: 'PATCH',
      path: `${resourcePath(kind, name, namespace)}/status`,
      query: forced,
      contentType: APPLY,
      body: { apiVersion, kind, metadata: { name, ...(namespace && { namespace }), ...(uid && { uid }), resourceVersion }, status },
    });
  }

  async function remove(kind: Kind, name: string, namespace?: string): Promise<void> {
    await retried(() => client.request({ method: 'DELETE', path: resourcePath(kind, name, namespace) })).catch(absent);
  }

  async function send(request: KubeRequest): Promise<unknown> {
    try {
      return await retried(() => client.request(request));
    } catch (error) {
      // Not found when creating: there is no such namespace or kind, which reading again does not change.
      const isGone = error instanceof KubeApiError && error.code === 404 && hasVersion(request);
      if (isGone || (error instanceof KubeApiError && error.code === 409)) throw new ConflictError(error.message, { cause: error });
      throw error;
    }
  }

  return { create, replace, replaceStatus, remove };
}

/**
 * Leases decide who leads, so creating one must be exclusive; Events are written once. Both have one writer for all fields: the plain verbs do.
 */
function isPlain(kind: Kind): boolean {
  return kind === 'Lease' || kind === 'Event';
}

/** What goes over the wire: the server owns the rest. */
function bodyOf(object: StoredObject, withVersion: boolean): unknown {
  const { uid, creationTimestamp: _, resourceVersion, managedFields: __, generation: ___, ...metadata } = object.metadata;
  const { status: ____, ...rest } = object as StoredObject & { status?: unknown };
  return { ...rest, metadata: { ...metadata, ...(withVersion && { uid, resourceVersion }) } };
}

function hasVersion({ body }: KubeRequest): boolean {
  return (body as StoredObject).metadata.resourceVersion !== undefined;
}

function absent(error: unknown): undefined {
  if (error instanceof KubeApiError && error.code === 404) return undefined;
  throw error;
}
