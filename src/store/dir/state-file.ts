import { readFileSync } from 'node:fs';
import { parseDocument } from 'yaml';
import { messageOf } from '../../lib/errors.ts';

export type Fields = Readonly<Record<string, unknown>>;

export interface ObjectName {
  readonly name: string;
  readonly namespace: string | undefined;
}

interface Place {
  readonly base: string;
  readonly n: number;
  readonly file: string;
}

/** A version as its file says, or why it says nothing. */
export type ParsedState = Place &
  ((ObjectName & { readonly value: Fields | undefined; readonly isOverlay: boolean }) | { readonly problem: string });

/** Writers named in each file: enough for those who might look for their own a moment later. */
const HISTORY_LENGTH = 8;
const WRITERS = '# Writers, the newest first:';

/**
 * JSON below a comment: YAML to people and tools, and read many times faster than other YAML.
 * @param writers one word for each of the last versions, that of this version first
 */
export function formatState(body: Fields, writers: readonly string[]): string {
  const heading = '# Kept by Raven beside the manifests. To change the object, change its manifest.';
  return `${heading}\n${WRITERS} ${writers.slice(0, HISTORY_LENGTH).join(' ')}\n${JSON.stringify(body, undefined, 2)}\n`;
}

export function parseState(text: string, version: Place): ParsedState {
  try {
    const value = parseBody(text);
    const metadata = value?.['metadata'] as Fields | null | undefined;
    const name = metadata?.['name'];
    const namespace = metadata?.['namespace'];
    if (value === undefined || typeof name !== 'string') return { ...version, problem: 'has no metadata.name' };
    const isOverlay = Object.keys(value).every((key) => ['apiVersion', 'kind', 'metadata', 'status'].includes(key));
    const isDeleted = value['deleted'] === true;
    return {
      ...version,
      name,
      namespace: typeof namespace === 'string' ? namespace : undefined,
      value: isDeleted ? undefined : value,
      isOverlay,
    };
  } catch (error) {
    return { ...version, problem: `is no YAML: ${messageOf(error).split('\n')[0]}` };
  }
}

function parseBody(text: string): Fields | undefined {
  const body = text.replace(/^(#.*\n)*/, '');
  try {
    return JSON.parse(body) as Fields;
  } catch {
    // Somebody edited it.
    const document = parseDocument(text);
    if (document.errors[0] !== undefined) throw document.errors[0];
    const value: unknown = document.toJS();
    return typeof value === 'object' && value !== null ? (value as Fields) : undefined;
  }
}

/** Which object a state file's value is about. */
export function nameOf(value: Fields): ObjectName {
  const { name, namespace } = (value['metadata'] ?? {}) as Fields;
  return { name: String(name), namespace: typeof namespace === 'string' ? namespace : undefined };
}

/** The writers named in a state file; none when it is not there. */
export function writersOf(file: string | undefined): string[] {
  if (file === undefined) return [];
  try {
    const line = readFileSync(file, 'utf8')
      .split('\n')
      .find((each) => each.startsWith(WRITERS));
    return line?.slice(WRITERS.length).trim().split(' ') ?? [];
  } catch {
    return [];
  }
}
