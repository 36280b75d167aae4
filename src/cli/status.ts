import type { Command } from 'commander';
import { DEFAULT_NAMESPACE } from '../api/names.ts';

/** @param env where KUBECONFIG is looked for */
export function addStatusCommand(program: Command, env: NodeJS.ProcessEnv): void {
  program
    .command('status')
    .description('gateways, tunnel endpoints and tunnels: how, since when, round trip')
    .option('--store <store>', 'where the cluster objects are: kube, kube:FILE (a kubeconfig) or dir:DIR (manifests)', 'kube')
    .option('-n, --namespace <namespace>', "Raven's own: of the agents' Leases", DEFAULT_NAMESPACE)
    .option('-o, --output <format>', 'text or json', 'text')
    .addHelpText('after', '\nExit code 1 when a region has no active gateway or a tunnel is not up.')
    .action(async (options: { store: string; namespace: string; output: string }) => {
      const { runStatus } = await import('./status-run.ts');
      if (!(await runStatus(options, env))) process.exitCode = 1;
    });
}
