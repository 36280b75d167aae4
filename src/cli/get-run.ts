import { stringify } from 'yaml';
import type { Kind } from '../api/kinds.ts';
import { formatProblem, UserError } from '../lib/errors.ts';
import type { ClusterStore } from '../store/cluster-store.ts';
import { openStore } from '../store/open-store.ts';
import type { GetOptions } from './get.ts';
import { type Column, columnsOf } from './get-columns.ts';
import { formatTable } from './table.ts';

export interface GetRequest extends GetOptions {
  /** As typed: plural, singular or short. */
  readonly resource: string;
  readonly name: string | undefined;
}

export interface GetResult {
  readonly found: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

/** What people may write for each kind, in any case; the first is the one in messages. */
const WORDS: Readonly<Record<Kind, readonly string[]>> = {
  Gateway: ['gateways', 'gateway', 'gw'],
  TunnelEndpoint: ['tunnelendpoints', 'tunnelendpoint', 'te'],
  Node: ['nodes', 'node', 'no'],
  Lease: ['leases', 'lease'],
  Event: ['events', 'event', 'ev'],
  ConfigMap: ['configmaps', 'configmap', 'cm'],
  Service: ['services', 'service', 'svc'],
  EndpointSlice: ['endpointslices', 'endpointslice'],
  BlockAffinity: ['blockaffinities', 'blockaffinity'],
};

/** @returns whether the object asked for is there */
export async function runGet(request: GetRequest, env: NodeJS.ProcessEnv): Promise<boolean> {
  const kind = parseResource(request.resource);
  const store = await openStore(request.store, { kube: { env } });
  try {
    const { found, stdout, stderr } = await renderGet(store, kind, request, Date.now());
    process.stderr.write(stderr);
    process.stdout.write(stdout);
    return found;
  } finally {
    await store.close();
  }
}

/**
 * The kind that a word means.
 * @throws {UserError} when it means none
 */
export function parseResource(word: string): Kind {
  const match = Object.entries(WORDS).find(([, words]) => words.includes(word.toLowerCase()));
  if (match === undefined) {
    const known = Object.values(WORDS).map(([plural]) => plural);
    throw new UserError(`${JSON.stringify(word)} is not known; there are: ${known.join(', ')}`);
  }
  return match[0] as Kind;
}

/** What the command prints. Problems of the store are warnings: what could be read is shown all the same. */
export async function renderGet(
  store: ClusterStore,
  kind: Kind,
  { name, namespace, output }: GetRequest,
  nowMs: number,
): Promise<GetResult> {
  const all = await store.list(kind);
  const objects = all.filter(
    ({ metadata }) => (name ?? metadata.name) === metadata.name && (namespace ?? metadata.namespace) === metadata.namespace,
  );
  const warnings = store
    .problems()
    .map((problem) => `warning: ${formatProblem(problem)}\n`)
    .join('');
  if (name !== undefined && objects.length === 0) {
    return { found: false, stdout: '', stderr: `${warnings}Error from store: ${WORDS[kind][0]} ${JSON.stringify(name)} not found\n` };
  }
  // One of a name is shown as itself; without --namespace there may be several.
  const [first, ...others] = objects;
  const value =
    name !== undefined && others.length === 0
      ? first
      : { apiVersion: 'v1', kind: 'List', items: objects, metadata: { resourceVersion: '' } };
  if (output === 'json') return { found: true, stdout: `${JSON.stringify(value, undefined, 4)}\n`, stderr: warnings };
  if (output === 'yaml') return { found: true, stdout: stringify(value, { aliasDuplicateObjects: false }), stderr: warnings };
  if (objects.length === 0) return { found: true, stdout: '', stderr: `${warnings}No resources found\n` };
  const columns = columnsOf(kind, { nowMs, endpoints: kind === 'Gateway' ? await store.list('TunnelEndpoint') : [] });
  return { found: true, stdout: tableOf(objects, columns, output === 'wide'), stderr: warnings };
}

function tableOf<T>(objects: readonly T[], columns: readonly Column<T>[], isWide: boolean): string {
  const shown = columns.filter(({ wide }) => isWide || wide !== true);
  return formatTable(
    shown.map(({ title }) => title),
    objects.map((object) => shown.map(({ text }) => text(object) || '<none>')),
  );
}
