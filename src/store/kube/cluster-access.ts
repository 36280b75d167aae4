import { readFile } from 'node:fs/promises';
import type { RequestOptions } from 'node:https';
import { join } from 'node:path';
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
  options(refresh: boolean): Promise<RequestOptions>;
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

/** Loads the official client's kubeconfig reader only here: a pod needs none of its 25 MiB. */
async function fromKubeconfig(files: readonly string[], { context }: KubeConfigSource): Promise<ClusterAccess> {
  const { KubeConfig } = await import('@kubernetes/client-node/dist/config.js');
  const config = new KubeConfig();
  for (const [i, file] of files.entries()) {
    try {
      const one = new KubeConfig();
      one.loadFromFile(file);
      if (i === 0) config.loadFromFile(file);
      else config.mergeConfig(one);
    } catch (error) {
      throw new UserError([{ source: file, message: `no kubeconfig: ${messageOf(error)}` }], { cause: error });
    }
  }
  const source = files.join(':');
  if (context !== undefined) config.setCurrentContext(context);
  const cluster = config.getCurrentCluster();
  if (cluster === null || !URL.canParse(cluster.server)) {
    throw new UserError([{ source, message: `context ${JSON.stringify(config.getCurrentContext())} names no cluster with a server` }]);
  }
  return {
    server: new URL(cluster.server),
    source,
    options: async () => {
      const options: RequestOptions = {};
      await config.applyToHTTPSOptions(options);
      // Its own agent would open a connection for each request.
      delete options.agent;
      return options;
    },
  };
}

function fromServiceAccount(host: string, port: string): ClusterAccess {
  let known: { readonly options: RequestOptions; readonly readAtMs: number } | undefined;
  return {
    server: new URL(`https://${host.includes(':') ? `[${host}]` : host}:${port}`),
    source: SERVICE_ACCOUNT,
    options: async (refresh) => {
      if (known !== undefined && !refresh && Date.now() - known.readAtMs < TOKEN_AGE_MS) return known.options;
      try {
        const [ca, token] = await Promise.all(['ca.crt', 'token'].map((name) => readFile(join(SERVICE_ACCOUNT, name), 'utf8')));
        known = { options: { ca, headers: { authorization: `Bearer ${(token ?? '').trim()}` } }, readAtMs: Date.now() };
      } catch (error) {
        throw new UserError([{ source: SERVICE_ACCOUNT, message: `the pod's service account cannot be read: ${messageOf(error)}` }]);
      }
      return known.options;
    },
  };
}
