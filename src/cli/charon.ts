import { type Command, Option } from 'commander';
import { LOG_LEVELS, type LogLevel } from '../lib/logger-levels.ts';

export function addCharonCommand(program: Command): void {
  program
    .command('charon')
    .description('run charon, the IPsec daemon, or wireguard-go for an agent in another container (raven agent --charon external)')
    .option('--run-dir <dir>', "the same as the agent's: here they find each other", '/run/raven')
    .option('--drain-timeout <seconds>', 'after a signal run on so long at most, while an agent with --drain is still at work', '0')
    .addOption(new Option('--log-level <level>', 'of this program; charon has its own').choices(LOG_LEVELS).default('info'))
    .addHelpText('after', '\nTunnels outlive the agent. Either starts when the agent wants it, and again when it ends.')
    .action(async (options: { runDir: string; logLevel: LogLevel; drainTimeout: string }) => {
      const { runCharon } = await import('../agent/run-charon.ts');
      await runCharon(options);
    });
}
