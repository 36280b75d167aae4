import { isDeepStrictEqual } from 'node:util';

/** RFC 6902 §4, as far as it is needed to turn one JSON document into another. */
export type PatchOperation =
  | { readonly op: 'add' | 'replace'; readonly path: string; readonly value: unknown }
  | { readonly op: 'remove'; readonly path: string };

/**
 * The operations that turn `before` into `after`: member by member, so that what is equal is not touched; a list of another length is replaced whole.
 * Empty when both are equal. A member that is undefined counts as absent, as in JSON.
 */
export function diffJson(before: unknown, after: unknown, path = ''): PatchOperation[] {
  if (isDeepStrictEqual(before, after)) return [];
  if (Array.isArray(before) && Array.isArray(after) && before.length === after.length) {
    return before.flatMap((each: unknown, index) => diffJson(each, after[index], `${path}/${index}`));
  }
  if (isObject(before) && isObject(after)) {
    const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
    return [...keys].flatMap((key) => diffMember(before, after, key, `${path}/${escape(key)}`));
  }
  return [{ op: 'replace', path, value: after }];
}

function diffMember(before: Members, after: Members, key: string, path: string): PatchOperation[] {
  const [old, wanted] = [valueOf(before, key), valueOf(after, key)];
  if (wanted === undefined) return old === undefined ? [] : [{ op: 'remove', path }];
  if (old === undefined) return [{ op: 'add', path, value: wanted }];
  return diffJson(old, wanted, path);
}

type Members = Readonly<Record<string, unknown>>;

/** Own members only: a document may call one `constructor`. */
function valueOf(members: Members, key: string): unknown {
  return Object.hasOwn(members, key) ? members[key] : undefined;
}

/** RFC 6901 §3. */
function escape(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}

function isObject(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
