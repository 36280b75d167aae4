import { type Document, isMap, isScalar, isSeq, LineCounter, parseAllDocuments } from 'yaml';
import { formatPath, stepsOf } from '../../api/field-error.ts';
import { type Kind, KINDS, RESOURCES, servedVersions } from '../../api/kinds.ts';
import { API_GROUP } from '../../api/names.ts';
import { messageOf, type Problem } from '../../lib/errors.ts';
import { keyOf, keyOfObject, parseObject, type StoredObject } from '../object.ts';

/** An object and the place where a person wrote it. */
export interface ManifestObject {
  readonly key: string;
  readonly object: StoredObject;
  readonly file: string;
  readonly line: number | undefined;
}

export interface Manifest {
  readonly objects: readonly ManifestObject[];
  readonly problems: readonly Problem[];
  /** How many documents and list items were of kinds that Raven does not know. */
  readonly passedOver: number;
  /** Keys of objects that are there but not valid. */
  readonly invalid: ReadonlySet<string>;
  /** Something in the file has no known identity: nobody can say which objects are missing from it. */
  readonly uncertain: boolean;
}

/** One value of a file, and where its parts stand. */
interface Part {
  readonly value: unknown;
  readonly steps: readonly PropertyKey[];
  readonly lineOf: (steps: readonly PropertyKey[]) => number | undefined;
}

type Fields = Readonly<Record<string, unknown>>;

/**
 * Reads all Raven objects of a YAML or JSON text: several documents, `kind: List` and `GatewayList` and its like too. Documents
 * of kinds that Raven does not know are passed over. Never throws, whatever the text is.
 *
 * @param file names the text in problems; a name that ends in `.json` is taken for JSON
 */
export function parseManifest(text: string, file: string): Manifest {
  const objects: ManifestObject[] = [];
  const problems: Problem[] = [];
  const invalid = new Set<string>();
  let uncertain = false;
  let passedOver = 0;

  function complain(part: Part, steps: readonly PropertyKey[], message: string): void {
    const line = part.lineOf([...part.steps, ...steps]);
    const path = formatPath([...part.steps, ...steps]);
    problems.push({ source: file, ...(line !== undefined && { line }), ...(path !== '' && { path }), message });
  }

  function read(part: Part): void {
    const { value } = part;
    if (value === null || value === undefined) return;
    if (!isFields(value)) return reject(part, [], 'is no object');
    const { apiVersion, kind } = value;
    if (typeof kind !== 'string') {
      // Settings of some other tool have neither; half of a manifest has one.
      if (apiVersion !== undefined) reject(part, ['kind'], 'is required');
      else passedOver++;
      return;
    }
    const { items } = value;
    if (kind.endsWith('List') && Array.isArray(items)) {
      for (const [i, item] of items.entries()) read({ value: item, steps: [...part.steps, 'items', i], lineOf: part.lineOf });
      return;
    }
    const version = typeof apiVersion === 'string' ? apiVersion : undefined;
    if (isKind(kind)) readKind(part, kind, version, value);
    else if (version?.startsWith(`${API_GROUP}/`)) reject(part, ['kind'], `${kind} is no kind of ${API_GROUP}`);
    else passedOver++;
  }

  function readKind(part: Part, kind: Kind, version: string | undefined, value: Fields): void {
    const wanted = RESOURCES[kind].apiVersion;
    const served = servedVersions(kind);
    // Others have a Gateway too, for instance gateway.networking.k8s.io.
    if (version !== undefined && groupOf(version) !== groupOf(wanted)) {
      passedOver++;
      return;
    }
    const identity = identify(kind, value);
    if (identity === undefined) uncertain = true;
    else invalid.add(identity);
    if (version === undefined) return complain(part, ['apiVersion'], `is required: ${wanted}`);
    if (!served.includes(version)) return complain(part, ['apiVersion'], `${version} is not read here, ${served.join(' or ')} is needed`);
    const parsed = parseObject(kind, value);
    if ('errors' in parsed) {
      for (const { path, message } of parsed.errors) complain(part, stepsOf(path), message);
      return;
    }
    const key = keyOfObject(parsed.object);
    invalid.delete(key);
    objects.push({ key, object: parsed.object, file, line: part.lineOf(part.steps) });
  }

  function reject(part: Part, steps: readonly PropertyKey[], message: string): void {
    uncertain = true;
    complain(part, steps, message);
  }

  try {
    const { parts, errors } = isJson(text, file) ? splitJson(text, file) : splitYaml(text, file);
    if (errors.length > 0) return { objects: [], problems: errors, passedOver, invalid: new Set(), uncertain: true };
    for (const part of parts) read(part);
    return { objects, problems, passedOver, invalid, uncertain };
  } catch (error) {
    // Nesting deeper than the stack.
    return { objects: [], problems: [{ source: file, message: messageOf(error) }], passedOver, invalid: new Set(), uncertain: true };
  }
}

interface Split {
  readonly parts: readonly Part[];
  /** Of the text itself; its parts are worth nothing then. */
  readonly errors: readonly Problem[];
}

function splitYaml(text: string, file: string): Split {
  const lines = new LineCounter();
  const documents = [...parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, merge: true, logLevel: 'error' })];
  const errors: Problem[] = [];
  const parts: Part[] = [];
  for (const document of documents) {
    const start = document.contents?.range?.[0] ?? 0;
    const fail = (offset: number, message: string): number =>
      errors.push({ source: file, line: lines.linePos(offset).line, message: `is no YAML: ${message}` });
    // The first error of a document says it all; the others follow from it.
    const [first] = document.errors;
    if (first !== undefined) fail(first.pos[0], first.message);
    else {
      try {
        parts.push({ value: document.toJS(), steps: [], lineOf: (steps) => lineOf(document, lines, steps) });
      } catch (error) {
        // An alias without an anchor, or ones that would grow without bound.
        fail(start, messageOf(error));
      }
    }
  }
  return { parts, errors };
}

/** JSON has a parser of its own: it is fifty times as fast, and YAML forbids the tabs that JSON may have. */
function splitJson(text: string, file: string): Split {
  let documents: Split | undefined;
  const lineOfSteps = (steps: readonly PropertyKey[]): number | undefined => {
    documents ??= splitYaml(text.replaceAll('\t', ' '), file);
    return documents.parts[0]?.lineOf(steps);
  };
  try {
    return { parts: [{ value: JSON.parse(text), steps: [], lineOf: lineOfSteps }], errors: [] };
  } catch (error) {
    const message = messageOf(error);
    const line = Number(/line (\d+) column/.exec(message)?.[1] ?? text.trimEnd().split('\n').length);
    return { parts: [], errors: [{ source: file, line, message: `is no JSON: ${message}` }] };
  }
}

function isJson(text: string, file: string): boolean {
  return /\.json$/i.test(file) && text.trim() !== '';
}

/** The line of the innermost node on the way to `steps` that exists: a missing field is shown at its parent. */
function lineOf(document: Document.Parsed | Document, lines: LineCounter, steps: readonly PropertyKey[]): number | undefined {
  let node: unknown = document.contents;
  let offset = document.contents?.range?.[0];
  for (const step of steps) {
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => (isScalar(key) ? String(key.value) : undefined) === String(step));
      if (pair === undefined) break;
      offset = isScalar(pair.key) ? (pair.key.range?.[0] ?? offset) : offset;
      node = pair.value;
    } else if (isSeq(node)) {
      const item: unknown = node.items[Number(step)];
      if (item === undefined) break;
      offset = (item as { range?: readonly number[] | null }).range?.[0] ?? offset;
      node = item;
    } else break;
  }
  return offset === undefined ? undefined : lines.linePos(offset).line;
}

function identify(kind: Kind, { metadata }: Fields): string | undefined {
  if (!isFields(metadata)) return undefined;
  const { name, namespace } = metadata;
  if (typeof name !== 'string' || name === '') return undefined;
  return keyOf(kind, name, typeof namespace === 'string' ? namespace : undefined);
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isKind(kind: string): kind is Kind {
  return (KINDS as readonly string[]).includes(kind);
}

function groupOf(apiVersion: string): string {
  return apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';
}
