import type { Command } from 'commander';
import { DEFAULT_NAMESPACE, HEALTH_PORT, METRICS_PORT, WEBHOOK_PORT } from '../api/names.ts';
import { LOG_LEVELS } from '../lib/logger-levels.ts';

/** @param env where KUBECONFIG is looked for */
export function addControllerCommand(program: Command, env: NodeJS.ProcessEnv): void {
  program
    .command('controller')
    .description('elect the gateways of all regions and keep the status of their Gateway objects')
    .option('--store <store>', 'where the cluster objects are: kube, kube:FILE (a kubeconfig) or dir:DIR (manifests)', 'kube')
    .option('--once', 'write everything once, print a line for each Gateway that changed, and exit')
    .option('--namespace <namespace>', "Raven's own: of its Lease, ConfigMaps, Services and certificate", DEFAULT_NAMESPACE)
    .option('--leader-elect', 'work only while holding the Lease, so that several replicas can run (default: in a cluster)')
    .option('--no-leader-elect', 'work at once: there is no other replica')
    .option(
      '--webhook-port <port>',
      `serve the admission and conversion webhooks, as ${WEBHOOK_PORT}, and see to their certificates; 0 for none`,
      '0',
    )
    .option('--metrics-bind-address <address>', `[HOST]:PORT for Prometheus, as :${METRICS_PORT}, 0 for none; HOST is loopback`, '0')
    .option(
      '--health-bind-address <address>',
      `[HOST]:PORT for /healthz and /readyz, as :${HEALTH_PORT}, 0 for none; HOST is loopback`,
      '0',
    )
    .option('--log-level <level>', LOG_LEVELS.join(', '), 'info')
    .action(async (options: Record<string, string | boolean | undefined>) => {
      const { runController } = await import('../controller/run.ts');
      await runController(options, env);
    });
}
