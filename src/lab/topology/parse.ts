import { isNode, LineCounter, parseDocument } from 'yaml';
import type { Document } from 'yaml';
import type { z } from 'zod';
import { messageOf, type Problem, UserError } from '../../lib/errors.ts';
import { checkTopology } from './check.ts';
import { resolveTopology, type Topology } from './resolve.ts';
import { type TopologyFile, topologySchema } from './schema.ts';

/**
 * Reads a topology file's text.
 * @param source name of the file, for messages
 * @throws {UserError} naming file, line and field path of everything that is wrong
 */
export function parseTopology(text: string, source: string): Topology {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    throw new UserError(document.errors.map(({ pos, message }) => ({ source, line: lines.linePos(pos[0]).line, message })));
  }
  const at = (path: readonly PropertyKey[], message: string): Problem => {
    const line = lineOf(document, lines, path);
    return { source, ...(line !== undefined && { line }), path: formatPath(path), message };
  };
  const file = parseFile(document, at);
  const misfits = checkTopology(file);
  if (misfits.length > 0) throw new UserError(misfits.map(({ path, message }) => at(path, message)));
  return resolveTopology(file);
}

function parseFile(document: Document, at: (path: readonly PropertyKey[], message: string) => Problem): TopologyFile {
  const result = topologySchema.safeParse(plainValue(document, at) ?? {});
  if (result.success) return result.data;
  const problems = result.error.issues.flatMap(explain).map(({ path, message }) => at(path, message));
  throw new UserError(problems.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0)));
}

/** Aliases that multiply are a known way to fill memory; yaml counts and then throws. */
function plainValue(document: Document, at: (path: readonly PropertyKey[], message: string) => Problem): unknown {
  try {
    return document.toJS();
  } catch (error) {
    throw new UserError([at([], messageOf(error))], { cause: error });
  }
}

/** Zod names the object that has an unknown field; a person looks for the field. */
function explain(issue: z.core.$ZodIssue): { path: PropertyKey[]; message: string }[] {
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => ({ path: [...issue.path, key], message: 'unknown field' }));
  if (issue.code === 'invalid_union') return [{ path: issue.path, message: closest(issue) }];
  if (issue.code === 'invalid_value')
    return [{ path: issue.path, message: `must be ${issue.values.map((value) => JSON.stringify(value)).join(', ')}` }];
  if (issue.code === 'invalid_type' && issue.message.endsWith('received undefined')) return [{ path: issue.path, message: 'is required' }];
  return [{ path: issue.path, message: issue.message.replace(/^Invalid input: /, '') }];
}

/** Unions are `pods`, a number or a list, and what there may be one of each family of. */
function closest(issue: z.core.$ZodIssueInvalidUnion): string {
  const deeper = issue.errors.flat().find(({ path, code }) => path.length > 0 || code === 'too_big' || code === 'too_small');
  const standard = issue.path.at(-1) === 'pods' ? 'must be a number of pods or a list of their names' : 'must be text, or a list of texts';
  return deeper?.message.replace(/^Invalid input: /, '') ?? standard;
}

/** The line of a field, or of the nearest thing around it that is written down. */
function lineOf(document: Document, lines: LineCounter, path: readonly PropertyKey[]): number | undefined {
  for (let length = path.length; length >= 0; length--) {
    const node = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return lines.linePos(node.range[0]).line;
  }
  return undefined;
}

/** `regions[0].nodes[1].name` */
function formatPath(path: readonly PropertyKey[]): string {
  return path.map((part, i) => (typeof part === 'number' ? `[${part}]` : `${i === 0 ? '' : '.'}${String(part)}`)).join('');
}
