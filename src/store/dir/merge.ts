import type { FieldError } from '../../api/field-error.ts';
import type { Kind } from '../../api/kinds.ts';
import type { Problem } from '../../lib/errors.ts';
import { parseObject, type StoredObject, withResourceVersion } from '../object.ts';
import type { ManifestObject } from './manifest.ts';
import type { StateEntry } from './state-folder.ts';
import type { Fields } from './state-file.ts';

export interface Merged {
  /** Undefined: there is no such object. */
  readonly object: StoredObject | undefined;
  readonly problems: readonly Problem[];
}

/**
 * One object from what a person wrote and what Raven added. The person's word counts for everything but the status; an
 * addition to an object that is in no manifest (any more) counts for nothing.
 *
 * @param lastGood returned again while what Raven keeps is not valid
 */
export function mergeObject(
  kind: Kind,
  person: ManifestObject | undefined,
  state: StateEntry | undefined,
  lastGood: StoredObject | undefined,
): Merged {
  const problems = state?.problem === undefined ? [] : [state.problem];
  const n = state?.n ?? 0;
  if (state?.value === undefined) return { object: person && withResourceVersion(person.object, n), problems };
  if (person === undefined) {
    if (state.isOverlay) return { object: undefined, problems };
    const parsed = parseObject(kind, state.value);
    if ('errors' in parsed) return { object: lastGood, problems: [...problems, ...problemsOf(state, parsed.errors)] };
    return { object: withResourceVersion(parsed.object, n), problems };
  }
  const repeated = {
    source: state.file,
    message: `${kind} ${person.object.metadata.name} is in ${person.file}:${person.line} too: only the status here is used`,
  };
  const all = state.isOverlay ? problems : [...problems, repeated];
  const parsed = parseObject(kind, overlay(person.object, state.value));
  if ('errors' in parsed) return { object: withResourceVersion(person.object, n), problems: [...all, ...problemsOf(state, parsed.errors)] };
  return { object: withResourceVersion(parsed.object, n), problems: all };
}

/** What is stored for an object with this status: the whole of it, or, for a person's, only what Raven adds. */
export function stateOf(object: StoredObject, isPersons: boolean): Fields {
  const { resourceVersion: _, ...metadata } = object.metadata;
  if (!isPersons) return { ...object, metadata };
  const { name, uid, creationTimestamp } = metadata;
  return {
    apiVersion: object.apiVersion,
    kind: object.kind,
    metadata: { name, uid, creationTimestamp },
    status: 'status' in object ? object.status : undefined,
  };
}

function overlay(object: StoredObject, { metadata, status }: Fields): unknown {
  const { uid, creationTimestamp } = metadata as Fields;
  return { ...object, metadata: { uid, creationTimestamp, ...object.metadata }, status };
}

function problemsOf({ file }: StateEntry, errors: readonly FieldError[]): Problem[] {
  return errors.map(({ path, message }) => ({ source: file, path, message }));
}
