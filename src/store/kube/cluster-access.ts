import { readFile } from 'node:fs/promises';
import type { RequestOptions } from 'node:https';
import { join } from 'node:path';
import { messageOf, UserError } from '../../lib/errors.ts';
import { tryStat } from '../dir/walk.ts';
import { remembered } from './remembered.ts';

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

/**
 * Finds the API server: the file that was named, else `KUBECONFIG`, else `~/.kube/config`, else the service account of the pod that we run in.
 * @throws {UserError} when there is none of these, or it cannot be read
 */
export async function findCluster(source: KubeConfigSource): Promise<ClusterAccess> {
  const { file, env } = source;
  if (file !== undefined) return kubeconfig([file], source);
  if (env.KUBECONFIG) return kubeconfig(env.KUBECONFIG.split(':').filter(Boolean), source);
  const home = join(env.HOME ?? '', '.kube/config');
  if (env.HOME && tryStat(home) !== undefined) return kubeconfig([home], source);
  if (env.KUBERNETES_SERVICE_HOST) return fromServiceAccount(env.KUBERNETES_SERVICE_HOST, env.KUBERNETES_SERVICE_PORT ?? '443');
  throw new UserError([
    {
      source: '--store',
      message: `no Kubernetes cluster is known: KUBECONFIG is not set, there is no ${home}, and this is not a pod; name one: --store kube:FILE`,
    },
  ]);
}

/** Loads the official client's kubeconfig reader only here: a pod needs none of its 25 MiB. */
async function kubeconfig(files: readonly string[], { context }: KubeConfigSource): Promise<ClusterAccess> {
  return (await import('./kubeconfig.ts')).fromKubeconfig(files, context);
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
