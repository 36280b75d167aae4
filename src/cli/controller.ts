import type { Command } from 'commander';
import { LOG_LEVELS } from '../lib/logger-levels.ts';

/** @param env where KUBECONFIG is looked for */
export function addControllerCommand(program: Command, env: NodeJS.ProcessEnv): void {
  program
    .command('controller')
    .description('elect the gateways of all regions and keep the status of their Gateway objects')
    .option('--store <store>', 'where the cluster objects are: kube, kube:FILE (a kubeconfig) or dir:DIR (manifests)', 'kube')
    .option('--once', 'write everything once, print a line for each Gateway that changed, and exit')
    .option('--log-level <level>', LOG_LEVELS.join(', '), 'info')
    .action(async (options: Record<string, string | boolean | undefined>) => {
      const { runController } = await import('../controller/run.ts');
      await runController(options, env);
    });
}
