import type { Command } from 'commander';
import { DEFAULT_RUN_DIR } from '../api/names.ts';

/** @param env where KUBECONFIG is looked for */
export function addPlanCommand(program: Command, env: NodeJS.ProcessEnv): void {
  program
    .command('plan')
    .description('what a node would carry, in the syntax of ip, bridge, nft and swanctl; changes nothing')
    .option('--store <store>', 'where the cluster objects are: kube, kube:FILE (a kubeconfig) or dir:DIR (manifests)', 'kube')
    .requiredOption('--node <name>', 'the Node')
    .option('--forward-node-ip', "as when that node's agent has --forward-node-ip true")
    .option('-o, --output <format>', 'text or json', 'text')
    .option('--run-dir <dir>', "the agent's: the endpoints that it chose by itself count", DEFAULT_RUN_DIR)
    .option('--diff', "only what would change in this machine's kernel (run it on the node)")
    .addHelpText('after', '\nWith --diff: exit code 0 when the kernel is as planned, 1 when something would change.')
    .action(async (options: { store: string; node: string; output: string; runDir: string; forwardNodeIp?: boolean; diff?: boolean }) => {
      const { runPlan } = await import('./plan-run.ts');
      if (!(await runPlan(options, env))) process.exitCode = 1;
    });
}
