import { createHash, randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { checkGateway } from '../api/check-gateway.ts';
import { type FieldError, fieldErrorOf, withoutNulls } from '../api/field-error.ts';
import { type Kind, type ObjectOf, RESOURCES, SCHEMAS } from '../api/kinds.ts';
import { formatTime } from '../lib/clock.ts';

export type StoredObject = ObjectOf<Kind>;

export function isNamespaced(kind: Kind): boolean {
  return RESOURCES[kind].namespaced;
}

/** Where an object is, in one text: equal for two objects exactly when Kubernetes would call them the same. An absent namespace is `default`. */
export function keyOf(kind: Kind, name: string, namespace?: string): string {
  return `${kind}/${isNamespaced(kind) ? namespace || 'default' : ''}/${name}`;
}

export function keyOfObject({ kind, metadata: { name, namespace } }: StoredObject): string {
  return keyOf(kind, name, namespace);
}

export type ParsedObject<K extends Kind> = { readonly object: ObjectOf<K> } | { readonly errors: readonly FieldError[] };

/**
 * Checks a value against its kind's schema and, for Gateways of either version, fills the defaults and checks the contract.
 * A field that is null counts as absent, as everywhere in Kubernetes. All violations are reported, not only the first.
 */
export function parseObject<K extends Kind>(kind: K, value: unknown): ParsedObject<K> {
  if (kind === 'Gateway') {
    const checked = checkGateway(value);
    return 'errors' in checked ? checked : { object: checked.gateway as ObjectOf<K> };
  }
  const result = SCHEMAS[kind].safeParse(withoutNulls(value), { reportInput: true });
  return result.success ? { object: withNamespace(result.data) as ObjectOf<K> } : { errors: result.error.issues.map(fieldErrorOf) };
}

/**
 * As `parseObject`, for objects that the program itself made.
 * @throws {Error} when it is not valid: a bug, not the user's doing
 */
export function requireValid<K extends Kind>(kind: K, value: unknown): ObjectOf<K> {
  const parsed = parseObject(kind, jsonOf(value));
  if ('errors' in parsed) throw new Error(parsed.errors.map(({ path, message }) => `${kind} ${path}: ${message}`).join('\n'));
  return parsed.object;
}

/** The object as it is created: with the uid and time that the API server would give it, unless it has some. */
export function newObject<K extends Kind>(kind: K, object: ObjectOf<K>, nowMs: number): ObjectOf<K> {
  const { resourceVersion: _, ...metadata } = object.metadata;
  const { uid = randomUUID(), creationTimestamp } = metadata;
  return requireValid(kind, { ...object, metadata: { ...metadata, uid, creationTimestamp: creationTimestamp ?? formatTime(nowMs) } });
}

/** What `ClusterStore.apply` makes of an object that is there: uid, creation time and status stay. */
export function replaceAllButStatus<K extends Kind>(kind: K, found: ObjectOf<K>, object: ObjectOf<K>): ObjectOf<K> {
  const { uid, creationTimestamp } = found.metadata;
  const status = 'status' in found ? found.status : undefined;
  return requireValid(kind, { ...object, metadata: { ...object.metadata, uid, creationTimestamp }, status });
}

/** Sets `metadata.resourceVersion`: `n` is the number of the stored version, the rest tells apart what was merged into it. */
export function withResourceVersion<T extends StoredObject>(object: T, n: number): T {
  const { resourceVersion: _, ...metadata } = object.metadata;
  const hash = createHash('sha1')
    .update(JSON.stringify({ ...object, metadata }))
    .digest('hex');
  return { ...object, metadata: { ...metadata, resourceVersion: `${n}-${hash.slice(0, 12)}` } };
}

/** Whether two values are the same JSON, whatever the order of their keys. */
export function isSameJson(a: unknown, b: unknown): boolean {
  return isDeepStrictEqual(jsonOf(a), jsonOf(b));
}

function withNamespace(object: StoredObject): StoredObject {
  if (!isNamespaced(object.kind) || object.metadata.namespace) return object;
  return { ...object, metadata: { ...object.metadata, namespace: 'default' } } as StoredObject;
}

function jsonOf(value: unknown): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}
