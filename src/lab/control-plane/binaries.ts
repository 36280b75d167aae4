import { createHash } from 'node:crypto';
import { accessSync, constants, readdirSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Programs of a real cluster; `scripts/setup.sh kube` builds them once into a cache. */
export const KUBE_PROGRAMS = ['etcd', 'kube-apiserver', 'kubectl', 'kube-proxy', 'flanneld', 'coredns', 'helm'] as const;
export type KubeProgram = (typeof KUBE_PROGRAMS)[number];

export interface KubeEnvironment {
  /** Folder with ready-made `etcd` and `kube-apiserver`; the name that controller-runtime's envtest uses. */
  readonly KUBEBUILDER_ASSETS?: string | undefined;
  readonly RAVEN_CACHE?: string | undefined;
  readonly XDG_CACHE_HOME?: string | undefined;
  readonly HOME?: string | undefined;
  readonly PATH?: string | undefined;
}

export interface KubeBinaries {
  /** Path of each program that was found. */
  readonly paths: ReadonlyMap<KubeProgram, string>;
  /** Where they were looked for, in that order. */
  readonly folders: readonly string[];
}

/** Looks in KUBEBUILDER_ASSETS, in the cache of `scripts/setup.sh kube`, and on PATH, for each program on its own. */
export function findKubeBinaries(env: KubeEnvironment, checkout: string): KubeBinaries {
  const folders = [env.KUBEBUILDER_ASSETS, cacheFolder(env, checkout), ...(env.PATH ?? '').split(delimiter)].filter(
    (each) => !!each,
  ) as string[];
  const found = KUBE_PROGRAMS.map((program) => [program, folders.map((folder) => join(folder, program)).find(isProgram)] as const);
  return { paths: new Map(found.filter((each): each is [KubeProgram, string] => each[1] !== undefined)), folders };
}

/** Names of the programs that are wanted and not there. */
export function missingKubePrograms({ paths }: KubeBinaries, wanted: readonly KubeProgram[] = KUBE_PROGRAMS): KubeProgram[] {
  return wanted.filter((program) => !paths.has(program));
}

/** The folder that `scripts/setup.sh kube` builds into: its name follows from the modules' versions. */
function cacheFolder({ RAVEN_CACHE, XDG_CACHE_HOME, HOME = '' }: KubeEnvironment, checkout: string): string | undefined {
  const base = RAVEN_CACHE || join(XDG_CACHE_HOME || join(HOME, '.cache'), 'raven');
  const key = modulesKey(join(checkout, 'scripts/kube-tools'));
  return key && join(base, `kube-${key}`);
}

/** SHA-256 of all go.mod files, then all go.sum files, in the order of their folders' names; the set-up script does the same. */
function modulesKey(folder: string): string | undefined {
  try {
    const tools = readdirSync(folder, { withFileTypes: true }).filter((each) => each.isDirectory());
    const names = tools.map(({ name }) => name).toSorted();
    const hash = createHash('sha256');
    for (const file of ['go.mod', 'go.sum']) for (const name of names) hash.update(readFileSync(join(folder, name, file)));
    return hash.digest('hex').slice(0, 12);
  } catch {
    return undefined;
  }
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
