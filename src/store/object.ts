import { createHash, randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { z } from 'zod';
import { defaultGateway, validateGateway, type FieldError, type Gateway } from '../api/gateway.ts';
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

/** A field error that keeps the path in steps too, so that its line can be found. */
export interface ObjectError extends FieldError {
  readonly steps: readonly PropertyKey[];
}

export type ParsedObject<K extends Kind> = { readonly object: ObjectOf<K> } | { readonly errors: readonly ObjectError[] };

/**
 * Checks a value against its kind's schema and, for Gateways, fills the defaults and checks the contract of `validateGateway`.
 * A field that is null counts as absent, as everywhere in Kubernetes. All violations are reported, not only the first.
 */
export function parseObject<K extends Kind>(kind: K, value: unknown): ParsedObject<K> {
  const result = SCHEMAS[kind].safeParse(withoutNulls(value), { reportInput: true });
  if (!result.success) return { errors: result.error.issues.map(toObjectError) };
  const object = withNamespace(result.data);
  if (object.kind !== 'Gateway') return { object: object as ObjectOf<K> };
  const gateway = defaultGateway(object as Gateway);
  const errors = validateGateway(gateway).map((error) => ({ ...error, steps: stepsOf(error.path) }));
  return errors.length > 0 ? { errors } : { object: gateway as ObjectOf<K> };
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

/** `spec.endpoints[0].port`; keys that are no plain words stand in brackets. */
export function formatPath(steps: readonly PropertyKey[]): string {
  return steps.reduce<string>((path, step) => {
    if (typeof step === 'string' && /^[\w-]+$/.test(step)) return path === '' ? step : `${path}.${step}`;
    return `${path}[${String(step)}]`;
  }, '');
}

function stepsOf(path: string): PropertyKey[] {
  return [...path.matchAll(/\[([^\]]+)\]|[^.[\]]+/g)].map(([word, inBrackets = word]) =>
    /^\d+$/.test(inBrackets) ? Number(inBrackets) : inBrackets,
  );
}

function toObjectError(issue: z.core.$ZodIssue): ObjectError {
  const missing = issue.code === 'invalid_type' && issue.input === undefined;
  const message = missing ? 'is required' : issue.message.replace(/^Invalid input: /, '');
  return { path: formatPath(issue.path), steps: issue.path, message };
}

function withNamespace(object: StoredObject): StoredObject {
  if (!isNamespaced(object.kind) || object.metadata.namespace) return object;
  return { ...object, metadata: { ...object.metadata, namespace: 'default' } } as StoredObject;
}

function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== 'object' || value === null) return value;
  const fields = Object.entries(value).filter(([, field]) => field !== null);
  return Object.fromEntries(fields.map(([key, field]) => [key, withoutNulls(field)]));
}

function jsonOf(value: unknown): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}
