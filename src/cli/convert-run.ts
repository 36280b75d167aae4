import { type Document, isMap, isScalar, parseAllDocuments } from 'yaml';
import { convertGateway, type GatewayVersion } from '../api/conversion.ts';
import { API_GROUP } from '../api/names.ts';
import { UserError } from '../lib/errors.ts';
import { parseManifest } from '../store/dir/manifest.ts';
import { type ManifestInput, readManifestInputs } from './manifest-input.ts';

export interface ConvertOptions {
  readonly filename: readonly string[];
  readonly to: GatewayVersion;
  readonly output: string;
}

/** Prints the converted manifests. @throws {UserError} with all problems, before anything is printed */
export async function runConvert({ filename, to, output }: ConvertOptions): Promise<void> {
  const inputs = await readManifestInputs(filename);
  const { text, gateways } = convertManifests(inputs, to, output === 'json' ? 'json' : 'yaml');
  process.stdout.write(text);
  // Whoever named the wrong file would take its unchanged text for an answer.
  if (gateways === 0) process.stderr.write('raven: no Gateway in there: everything is printed as it was\n');
}

export interface Converted {
  /** One YAML stream with all documents, or JSON: the object when there is just one, else a `List`. */
  readonly text: string;
  /** How many Gateways are in there, whether or not they had the wanted version before. */
  readonly gateways: number;
}

/** @throws {UserError} when an object is not valid */
export function convertManifests(inputs: readonly ManifestInput[], to: GatewayVersion, format: 'yaml' | 'json'): Converted {
  const manifests = inputs.map(({ name, text }) => parseManifest(text, name));
  const problems = manifests.flatMap((each) => each.problems);
  if (problems.length > 0) throw new UserError(problems);
  const documents = inputs
    .flatMap((input) => [...parseAllDocuments(asYaml(input), { merge: true, logLevel: 'error' })] as Document[])
    .filter(({ contents }) => contents !== null);
  for (const document of documents) convertDocument(document, to);
  const gateways = manifests.flatMap(({ objects }) => objects).filter(({ object }) => object.kind === 'Gateway').length;
  return { text: format === 'yaml' ? documents.map((each, i) => formatDocument(each, i > 0)).join('') : toJson(documents), gateways };
}

function toJson(documents: readonly Document[]): string {
  const objects = documents.map((each): unknown => each.toJS());
  const value = objects.length === 1 ? objects[0] : { apiVersion: 'v1', kind: 'List', items: objects };
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

/** JSON is YAML but for tabs between its words; inside of strings it has none. */
function asYaml({ name, text }: ManifestInput): string {
  return /\.json$/i.test(name) ? text.replaceAll('\t', ' ') : text;
}

function convertDocument(document: Document, to: GatewayVersion): void {
  const value: unknown = document.toJS();
  const converted = convertValue(value, to);
  // What stays as it is keeps its own text.
  if (converted === value) return;
  const comment = headComment(document);
  document.contents = document.createNode(converted) as Document['contents'];
  if (comment && document.contents !== null) document.contents.commentBefore = comment;
}

/** The comment above everything; the parser gives it to the first key when no empty line follows. */
function headComment({ contents }: Document): string | null | undefined {
  const [first] = isMap(contents) ? contents.items : [];
  return contents?.commentBefore ?? (isScalar(first?.key) ? first.key.commentBefore : undefined);
}

function convertValue(value: unknown, to: GatewayVersion): unknown {
  const { apiVersion, kind, items } = value as { apiVersion?: unknown; kind?: unknown; items?: unknown };
  if (typeof kind === 'string' && kind.endsWith('List') && Array.isArray(items)) {
    const converted = items.map((item) => convertValue(item, to));
    if (converted.every((item, i) => item === items[i])) return value;
    const ofGateways = kind === 'GatewayList' ? { apiVersion: `${API_GROUP}/${to}` } : {};
    return { ...(value as object), ...ofGateways, items: converted };
  }
  const isOurs = kind === 'Gateway' && String(apiVersion).startsWith(`${API_GROUP}/`);
  return isOurs ? convertGateway(value, to) : value;
}

function formatDocument(document: Document, isLater: boolean): string {
  const text = document.toString({ lineWidth: 0 });
  return isLater && !text.startsWith('---\n') ? `---\n${text}` : text;
}
