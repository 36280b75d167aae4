import { z } from 'zod';
import { DEFAULT_NAMESPACE } from '../api/names.ts';
import { UserError } from '../lib/errors.ts';
import { notKnown, parseFlags } from '../lib/flags.ts';
import { LOG_LEVELS } from '../lib/logger-levels.ts';
import { type BindAddress, requireBindAddress } from '../net/bind-address.ts';
import { isKube } from '../store/open-store.ts';

export interface ControllerRunOptions {
  readonly store: string;
  readonly once: boolean;
  readonly namespace: string;
  readonly leaderElect: boolean;
  /** Undefined: no webhooks are served. */
  readonly webhookPort: number | undefined;
  readonly metrics: BindAddress | 'off';
  readonly health: BindAddress | 'off';
  readonly logLevel: (typeof LOG_LEVELS)[number];
}

const schema = z.object({
  store: z.string().min(1),
  once: z.boolean().default(false),
  namespace: z.string().min(1).default(DEFAULT_NAMESPACE),
  leaderElect: z.boolean().optional(),
  webhookPort: z.coerce.number({ error: 'is no port' }).int('is no port').min(0, 'is no port').max(65_535, 'is no port').default(0),
  metricsBindAddress: z.string().default('0'),
  healthBindAddress: z.string().default('0'),
  logLevel: z.enum(LOG_LEVELS, { error: notKnown(LOG_LEVELS.join(', ')) }),
});

const LOOPBACK = '127.0.0.1';

/** @throws {UserError} naming every flag that is wrong */
export function parseControllerOptions(input: unknown): ControllerRunOptions {
  const { webhookPort, metricsBindAddress, healthBindAddress, leaderElect, ...rest } = parseFlags(schema, input);
  const isCluster = isKube(rest.store);
  for (const [flag, given] of Object.entries({ '--leader-elect': leaderElect === true, '--webhook-port': webhookPort > 0 }))
    if (given && !isCluster) throw new UserError([{ source: flag, message: 'is for clusters: --store kube' }]);
  return {
    ...rest,
    leaderElect: leaderElect ?? isCluster,
    webhookPort: webhookPort === 0 ? undefined : webhookPort,
    metrics: requireBindAddress('--metrics-bind-address', metricsBindAddress, LOOPBACK),
    health: requireBindAddress('--health-bind-address', healthBindAddress, LOOPBACK),
  };
}
