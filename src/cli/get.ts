import { type Command, Option } from 'commander';

export interface GetOptions {
  readonly store: string;
  readonly output?: 'json' | 'yaml' | 'wide';
  readonly namespace?: string;
}

/** @param env where KUBECONFIG is looked for */
export function addGetCommand(program: Command, env: NodeJS.ProcessEnv): void {
  program
    .command('get')
    .description('the objects as stored: gateways (gw), tunnelendpoints (te), nodes, services, leases, events …')
    .argument('<kind>', 'singular or plural')
    .argument('[name]', 'only this one')
    .option('--store <store>', 'where the cluster objects are: kube, kube:FILE (a kubeconfig) or dir:DIR (manifests)', 'kube')
    .addOption(new Option('-o, --output <format>', 'instead of a table').choices(['json', 'yaml', 'wide']))
    .option('-n, --namespace <namespace>', 'of leases and events; default: all')
    .addHelpText(
      'after',
      '\nIn a directory, your own manifests are only read. What Raven adds to them (status, and objects of its own) is in\nDIR/raven-state/<Kind>/, one file for each object.\n\nExit code 1 when there is no object of that name.',
    )
    .action(async (kind: string, name: string | undefined, options: GetOptions) => {
      const { runGet } = await import('./get-run.ts');
      if (!(await runGet({ ...options, resource: kind, name }, env))) process.exitCode = 1;
    });
}
