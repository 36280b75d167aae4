import type { Command } from 'commander';
import { LOG_LEVELS } from '../lib/logger-levels.ts';

export function addControllerCommand(program: Command): void {
  program
    .command('controller')
    .description('elect the gateways of all regions and keep the status of their Gateway objects')
    .requiredOption('--store <dir:DIR>', 'where the cluster objects are')
    .option('--once', 'write everything once, print a line for each Gateway that changed, and exit')
    .option('--log-level <level>', LOG_LEVELS.join(', '), 'info')
    .action(async (options: Record<string, string | boolean | undefined>) => {
      const { runController } = await import('../controller/run.ts');
      await runController(options);
    });
}
