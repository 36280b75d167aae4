import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Kind, ObjectOf } from '../../api/kinds.ts';
import { messageOf } from '../../lib/errors.ts';
import { parseObject } from '../object.ts';

/** Raised when an older program could misread what a newer one writes; a copy of another version is made anew. */
const VERSION = 1;
const FORMAT = 'raven-mirror';

const headerSchema = z.object({
  format: z.literal(FORMAT),
  version: z.literal(VERSION),
  kind: z.string(),
  objects: z.int(),
  sha256: z.string(),
});

/** The objects of a copy, or in words why it cannot be used. `skipped`: those that this program's schema does not accept. */
export type ParsedCopy<K extends Kind> =
  | { readonly objects: readonly ObjectOf<K>[]; readonly skipped: readonly string[] }
  | { readonly problem: string };

/** One line that says what follows, with the SHA-256 of it, then one line of JSON for each object. */
export function formatCopy<K extends Kind>(kind: K, objects: Iterable<ObjectOf<K>>): string {
  const lines = Array.from(objects, (object) => `${JSON.stringify(object)}\n`);
  const body = lines.join('');
  return `${JSON.stringify({ format: FORMAT, version: VERSION, kind, objects: lines.length, sha256: sha256(body) })}\n${body}`;
}

/** Reads what `formatCopy` wrote. Anything else, also a part of it, is a problem and never an exception. */
export function parseCopy<K extends Kind>(kind: K, text: string): ParsedCopy<K> {
  const end = text.indexOf('\n');
  const header = headerSchema.safeParse(jsonOf(text.slice(0, end === -1 ? undefined : end)));
  if (!header.success) return { problem: `is no copy of version ${VERSION}` };
  if (header.data.kind !== kind) return { problem: `holds ${header.data.kind} objects instead of ${kind}` };
  const body = text.slice(end + 1);
  if (end === -1 || sha256(body) !== header.data.sha256) return { problem: 'is damaged: its checksum is wrong' };
  return parseLines(kind, body.split('\n').slice(0, -1));
}

function parseLines<K extends Kind>(kind: K, lines: readonly string[]): ParsedCopy<K> {
  const objects: ObjectOf<K>[] = [];
  const skipped: string[] = [];
  for (const line of lines) {
    const parsed = parseObject(kind, jsonOf(line));
    if ('object' in parsed) objects.push(parsed.object);
    else skipped.push(parsed.errors.map(({ path, message }) => `${path}: ${message}`).join('; '));
  }
  return { objects, skipped };
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    return messageOf(error);
  }
}
