import type { Kind } from '../../api/kinds.ts';
import type { RawObject } from './list.ts';

/**
 * An object without what nobody here reads and everybody would keep in memory: who wrote which field, and of Nodes (some 15 KiB each in a cluster) all
 * status but addresses and conditions. Writers name the fields that are theirs, so that nothing of it is written back.
 */
export function trim(kind: Kind, object: RawObject): RawObject {
  const { metadata, status } = object;
  if (!isFields(metadata)) return object;
  const { managedFields: _, ...rest } = metadata;
  if (kind !== 'Node' || !isFields(status)) return { ...object, metadata: rest };
  const { addresses, conditions } = status;
  return { ...object, metadata: rest, status: { addresses, conditions } };
}

function isFields(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
