import { AGENT_FIELD_MANAGER } from '../api/names.ts';
import { messageOf, UserError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { ClusterStore } from '../store/cluster-store.ts';
import { mirrorDir } from '../store/mirror/copy-file.ts';
import { createMirrorStore } from '../store/mirror/mirror-store.ts';
import { isKube, openKube, openStore } from '../store/open-store.ts';
import type { AgentMetrics } from './agent-metrics.ts';

export interface ClusterOptions {
  readonly store: string | undefined;
  readonly stateDir: string;
  readonly env: NodeJS.ProcessEnv;
  readonly metrics: AgentMetrics;
  readonly log: Logger;
}

/** While the API is away each kind fails every half minute: the log tells the first failure and then one in so many. */
const LOG_EVERY = 20;

/**
 * Opens the store that the agent works on. Before a Kubernetes API stands a copy on disk, so that the agent starts without it too.
 * @throws {UserError} when none is given or known
 */
export async function openCluster({ store: text, stateDir, env, metrics, log }: ClusterOptions): Promise<ClusterStore> {
  if (text === undefined)
    throw new UserError([{ source: '--store', message: 'is required: kube, kube:FILE or, without a cluster, dir:/etc/raven/manifests' }]);
  if (!isKube(text)) return openStore(text);
  let failures = 0;
  const api = await openKube(text, {
    env,
    userAgent: 'raven-agent',
    fieldManager: AGENT_FIELD_MANAGER,
    onRequest: (record) => {
      if (record.code !== undefined && record.code < 500) failures = 0;
      metrics.onRequest(record);
    },
    onFailure: (kind, error) => {
      if (failures++ % LOG_EVERY === 0) log.warn({ kind, error: messageOf(error) }, 'the API server cannot be followed; trying again');
    },
  });
  const mirror = createMirrorStore({ store: api, dir: mirrorDir(stateDir), kinds: ['Gateway', 'TunnelEndpoint'], log });
  metrics.connect({
    startedMs: Date.now(),
    lastContactMs: () => api.lastContactMs(),
    mirrored: () => mirror.mirrored(),
    now: () => Date.now(),
  });
  return mirror;
}
