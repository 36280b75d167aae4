import type { Command } from 'commander';
import { LOG_LEVELS } from '../lib/logger-levels.ts';

export function addAgentCommand(program: Command): void {
  program
    .command('agent')
    .description('run on one node: make its routes, tunnels and firewall entries equal to what the Gateways ask for')
    .requiredOption('--node <name>', "this machine's Node")
    .option('--store <dir:DIR>', 'where the cluster objects are')
    .option('--psk-file <file>', 'file with the secret that all gateways share')
    .option('--vpn-driver <driver>', 'how tunnels are made: ipsec', 'ipsec')
    .option('--state-dir <dir>', 'what survives a reboot', '/var/lib/raven')
    .option('--run-dir <dir>', 'pid files and sockets', '/run/raven')
    .option('--log-level <level>', LOG_LEVELS.join(', '), 'info')
    .option('--cleanup', 'remove all that the agent made on this machine, print it, and exit')
    .addHelpText('after', '\nStopping the agent removes nothing: packets go on. Only --cleanup takes things down.')
    .action(async (options: Record<string, string | boolean | undefined>) => {
      const { runAgent } = await import('../agent/run.ts');
      await runAgent(options);
    });
}
