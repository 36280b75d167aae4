import type { Kind } from '../api/kinds.ts';
import { AGENT_FIELD_MANAGER } from '../api/names.ts';
import { UserError } from '../lib/errors.ts';
import type { ClusterStore } from './cluster-store.ts';
import { type DirStoreOptions, openDirStore } from './dir/dir-store.ts';
import { tryStat } from './dir/walk.ts';
import type { KubeClient, RequestRecord } from './kube/kube-client.ts';
import type { KubeStore } from './kube/kube-store.ts';

export interface OpenStoreOptions extends DirStoreOptions {
  /** For the kube store; without it only `dir:` can be opened. */
  readonly kube?: KubeOptions;
}

export interface KubeOptions {
  /** Variables that say where the cluster is, as kubectl reads them; `process.env` of the program. */
  readonly env: NodeJS.ProcessEnv;
  readonly userAgent?: string;
  readonly fieldManager?: string;
  /** Kinds of which only one namespace may be read. */
  readonly namespaces?: Partial<Readonly<Record<Kind, string>>>;
  readonly onRequest?: (record: RequestRecord) => void;
  readonly onFailure?: (kind: Kind, error: unknown, retryInMs: number) => void;
}

/**
 * Opens what `--store` names: `dir:DIR`, a directory of manifests; `kube`, the cluster that kubectl would speak to (in a pod: its own); or
 * `kube:FILE`, a kubeconfig.
 * @throws {UserError} when it is of another form, there is no such directory, or no cluster is known
 */
export async function openStore(text: string, options: OpenStoreOptions = {}): Promise<ClusterStore> {
  if (isKube(text) && options.kube !== undefined) return openKube(text, options.kube);
  const dir = storeDir(text);
  if (tryStat(dir) === undefined) throw new UserError([{ source: '--store', message: `there is no directory ${dir}` }]);
  if (tryStat(dir)?.isDirectory() !== true) throw new UserError([{ source: '--store', message: `${dir} is no directory` }]);
  return openDirStore(dir, options);
}

/** Whether `--store` names a Kubernetes API. */
export function isKube(text: string): boolean {
  return text === 'kube' || text.startsWith('kube:');
}

/**
 * Opens `kube` or `kube:FILE`; the first request finds out whether the API server answers.
 * @throws {UserError} when no cluster is known
 */
export async function openKube(text: string, options: KubeOptions): Promise<KubeStore> {
  const { createKubeStore } = await import('./kube/kube-store.ts');
  const { fieldManager = AGENT_FIELD_MANAGER, namespaces, onFailure } = options;
  const client = await openKubeClient(text, options);
  return createKubeStore({ client, fieldManager, ...(namespaces && { namespaces }), ...(onFailure && { onFailure }) });
}

/** As `openKube`, for what is no kind of a store. @throws {UserError} when no cluster is known */
export async function openKubeClient(text: string, { env, userAgent = 'raven', onRequest }: KubeOptions): Promise<KubeClient> {
  // Loaded only when needed: commands on a directory start without it.
  const [{ findCluster }, { createKubeClient }] = await Promise.all([
    import('./kube/cluster-access.ts'),
    import('./kube/create-kube-client.ts'),
  ]);
  const file = text.slice('kube:'.length);
  const access = await findCluster({ ...(file !== '' && { file }), env });
  return createKubeClient(access, { userAgent, ...(onRequest && { onRequest }) });
}

/**
 * The directory that `--store` names.
 * @throws {UserError} when it names none
 */
export function storeDir(text: string): string {
  const [, dir] = /^dir:(.+)$/.exec(text) ?? [];
  if (dir === undefined) {
    const message = `must be dir:DIR, a directory of manifests, kube, or kube:FILE, a kubeconfig; not ${JSON.stringify(text)}`;
    throw new UserError([{ source: '--store', message }]);
  }
  return dir;
}
