import { readFile } from 'node:fs/promises';
import type { OutgoingHttpHeaders } from 'node:http';
import type { RequestOptions } from 'node:https';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { messageOf, UserError } from '../../lib/errors.ts';
import { tryStat } from '../dir/walk.ts';

/** Where the kubeconfig is looked for, as kubectl does. */
export interface KubeConfigSource {
  /** A kubeconfig file, given by name. */
  readonly file?: string;
  readonly context?: string;
  readonly env: {
    /** One file, or several with `:` between; they are merged. */
    readonly KUBECONFIG?: string | undefined;
    readonly HOME?: string | undefined;
    readonly KUBERNETES_SERVICE_HOST?: string | undefined;
    readonly KUBERNETES_SERVICE_PORT?: string | undefined;
  };
}

/** An API server, and how requests prove who sends them. */
export interface ClusterAccess {
  readonly server: URL;
  /** Where this came from, for messages. */
  readonly source: string;
  /** TLS material and headers for a request; tokens that rotate are read again. `refresh` ignores what is remembered. */
  readonly options: (refresh: boolean) => Promise<RequestOptions>;
}

/** Where Kubernetes mounts a pod's identity (docs: "Accessing the Kubernetes API from a Pod"). */
const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';
/** A projected token is replaced on disk well before it expires; client-go reads it again as often. */
const TOKEN_AGE_MS = 60_000;

/**
 * Finds the API server: the file that was named, else `KUBECONFIG`, else `~/.kube/config`, else the service account of the pod that we run in.
 * @throws {UserError} when there is none of these, or it cannot be read
 */
export async function findCluster(source: KubeConfigSource): Promise<ClusterAccess> {
  const { file, env } = source;
  if (file !== undefined) return fromKubeconfig([file], source);
  if (env.KUBECONFIG) return fromKubeconfig(env.KUBECONFIG.split(':').filter(Boolean), source);
  const home = join(env.HOME ?? '', '.kube/config');
  if (env.HOME && tryStat(home) !== undefined) return fromKubeconfig([home], source);
  if (env.KUBERNETES_SERVICE_HOST) return fromServiceAccount(env.KUBERNETES_SERVICE_HOST, env.KUBERNETES_SERVICE_PORT ?? '443');
  throw new UserError([
    {
      source: '--store',
      message: `no Kubernetes cluster is known: KUBECONFIG is not set, there is no ${home}, and this is not a pod; name one: --store kube:FILE`,
    },
  ]);
}

/**
 * Several files are merged as kubectl does: the first that names something counts, and those that are not there do not.
 * Loads the official client's kubeconfig reader only here: a pod needs none of its 25 MiB.
 */
async function fromKubeconfig(named: readonly string[], { context }: KubeConfigSource): Promise<ClusterAccess> {
  const { KubeConfig } = await import('@kubernetes/client-node/dist/config.js');
  const present = named.filter((file) => tryStat(file) !== undefined);
  const files = present.length > 0 ? present : named;
  const parts = files.map((file) => {
    try {
      const part = new KubeConfig();
      part.loadFromFile(file);
      return part;
    } catch (error) {
      throw new UserError([{ source: file, message: `no kubeconfig: ${messageOf(error)}` }], { cause: error });
    }
  });
  const source = files.join(':');
  const config = new KubeConfig();
  config.loadFromOptions({
    clusters: firstOfEachName(parts.flatMap((part) => part.clusters)),
    users: firstOfEachName(parts.flatMap((part) => part.users)),
    contexts: firstOfEachName(parts.flatMap((part) => part.contexts)),
    currentContext: context ?? parts.map(({ currentContext }) => currentContext).find(Boolean) ?? '',
  });
  const cluster = config.getCurrentCluster();
  if (cluster === null || !URL.canParse(cluster.server)) {
    throw new UserError([{ source, message: `context ${JSON.stringify(config.getCurrentContext())} names no cluster with a server` }]);
  }
  const tokenFile = await findTokenFile(files, config.getCurrentUser()?.name);
  const token = tokenFile === undefined ? undefined : remembered(() => readFile(tokenFile, 'utf8'));
  return {
    server: new URL(cluster.server),
    source,
    options: async (refresh) => {
      const options: RequestOptions = {};
      await config.applyToHTTPSOptions(options);
      // Its own agent would open a connection for each request.
      delete options.agent;
      if (token === undefined) return options;
      return {
        ...options,
        headers: { ...(options.headers as OutgoingHttpHeaders), authorization: `Bearer ${(await token(refresh)).trim()}` },
      };
    },
  };
}

function firstOfEachName<T extends { readonly name: string }>(all: readonly T[]): T[] {
  const seen = new Map<string, T>();
  for (const each of all) if (!seen.has(each.name)) seen.set(each.name, each);
  return [...seen.values()];
}

const users = z.object({
  users: z.array(z.object({ name: z.string(), user: z.object({ tokenFile: z.string().optional() }).nullish() })).nullish(),
});

/** `users[].user.tokenFile`, which client-go reads, relative to the kubeconfig, and prefers to `token`; the official client here does not know it. */
async function findTokenFile(files: readonly string[], userName: string | undefined): Promise<string | undefined> {
  const { parse } = await import('yaml');
  for (const file of files) {
    const parsed = users.safeParse(parse(await readFile(file, 'utf8')));
    const found = parsed.data?.users?.find(({ name }) => name === userName);
    // The first of several files that names the user counts.
    if (found !== undefined) return found.user?.tokenFile && resolve(dirname(file), found.user.tokenFile);
  }
  return undefined;
}

function fromServiceAccount(host: string, port: string): ClusterAccess {
  return {
    server: new URL(`https://${host.includes(':') ? `[${host}]` : host}:${port}`),
    source: SERVICE_ACCOUNT,
    options: remembered(async () => {
      try {
        const [ca, token] = await Promise.all(['ca.crt', 'token'].map((name) => readFile(join(SERVICE_ACCOUNT, name), 'utf8')));
        return { ca, headers: { authorization: `Bearer ${(token ?? '').trim()}` } };
      } catch (error) {
        throw new UserError([{ source: SERVICE_ACCOUNT, message: `the pod's service account cannot be read: ${messageOf(error)}` }]);
      }
    }),
  };
}

/** What `load` gave within the last minute, unless `refresh` says that it is known to be wrong. */
function remembered<T>(load: () => Promise<T>): (refresh: boolean) => Promise<T> {
  let known: { readonly value: T; readonly readAtMs: number } | undefined;
  return async (refresh) => {
    if (known === undefined || refresh || Date.now() - known.readAtMs >= TOKEN_AGE_MS)
      known = { value: await load(), readAtMs: Date.now() };
    return known.value;
  };
}
