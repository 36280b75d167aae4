import { KubeConfig } from '@kubernetes/client-node/dist/config.js';
import { readFile } from 'node:fs/promises';
import type { OutgoingHttpHeaders } from 'node:http';
import type { RequestOptions } from 'node:https';
import { dirname, resolve } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { messageOf, UserError } from '../../lib/errors.ts';
import { tryStat } from '../dir/walk.ts';
import type { ClusterAccess } from './cluster-access.ts';
import { remembered } from './remembered.ts';

/**
 * The cluster that kubeconfig files name, merged as kubectl does: the first that names something counts, and those that are not there do not.
 * @param context instead of the current one
 * @throws {UserError} when they name no cluster
 */
export async function fromKubeconfig(named: readonly string[], context: string | undefined): Promise<ClusterAccess> {
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
  for (const file of files) {
    const parsed = users.safeParse(parse(await readFile(file, 'utf8')));
    const found = parsed.data?.users?.find(({ name }) => name === userName);
    // The first of several files that names the user counts.
    if (found !== undefined) return found.user?.tokenFile && resolve(dirname(file), found.user.tokenFile);
  }
  return undefined;
}
