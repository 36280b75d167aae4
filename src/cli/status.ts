import type { Command } from 'commander';

export function addStatusCommand(program: Command): void {
  program
    .command('status')
    .description('gateways, tunnel endpoints and tunnels: how, since when, round trip')
    .requiredOption('--store <dir:DIR>', 'where the cluster objects are')
    .option('-o, --output <format>', 'text or json', 'text')
    .addHelpText('after', '\nExit code 1 when a region has no active gateway or a tunnel is not up.')
    .action(async (options: { store: string; output: string }) => {
      const { runStatus } = await import('./status-run.ts');
      if (!(await runStatus(options))) process.exitCode = 1;
    });
}
