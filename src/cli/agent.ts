import type { Command } from 'commander';
import { DEFAULT_NAMESPACE, DEFAULT_RUN_DIR, HEALTH_PORT, METRICS_PORT } from '../api/names.ts';
import { LOG_LEVELS } from '../lib/logger-levels.ts';

/** @param env where NODE_NAME, NODE_IP and VPN_CONNECTION_PSK are looked for, and KUBECONFIG */
export function addAgentCommand(program: Command, env: NodeJS.ProcessEnv): void {
  program
    .command('agent')
    .description('run on one node: make its routes, tunnels and firewall entries equal to what the Gateways ask for')
    .option('--node <name>', "this machine's Node (default: NODE_NAME)")
    .option('--store <store>', 'where the cluster objects are: kube, kube:FILE (a kubeconfig) or dir:DIR (manifests)')
    .option(
      '--psk-file <file>',
      'file with the secret that all gateways share (default: what VPN_CONNECTION_PSK holds); optional with WireGuard',
    )
    .option('--vpn-driver <driver>', 'how tunnels are made: ipsec, wireguard; the same on all gateways', 'ipsec')
    .option('--charon <where>', 'own: the agent starts charon, or wireguard-go; external: `raven charon` runs it', 'own')
    .option('--forward-node-ip <bool>', "carry the nodes' own addresses between regions too", 'false')
    .option('--metric-bind-addr <address>', '[HOST]:PORT for Prometheus, 0 for none; HOST is NODE_IP or else loopback', `:${METRICS_PORT}`)
    .option('--health-bind-addr <address>', '[HOST]:PORT for /healthz and /readyz, 0 for none; HOST is loopback', `:${HEALTH_PORT}`)
    .option('--state-dir <dir>', 'what survives a reboot, also a copy of the cluster objects', '/var/lib/raven')
    .option('--run-dir <dir>', 'pid files and sockets', DEFAULT_RUN_DIR)
    .option('--sysctl-dir <dir>', "the kernel's settings; a container without privileges sees its own /proc/sys read-only", '/proc/sys')
    .option('--namespace <namespace>', "Raven's own: of the agent's Lease", DEFAULT_NAMESPACE)
    .option('--drain', 'when told to stop, let another gateway of the region take over first')
    .option('--drain-timeout <seconds>', 'how long that may take', '30')
    .option('--log-level <level>', LOG_LEVELS.join(', '), 'info')
    .option('--cleanup', 'remove all that the agent made on this machine, print it, and exit')
    .addHelpText(
      'after',
      '\nStopping the agent removes nothing: packets go on. Only --cleanup takes things down. A second signal ends it at once.',
    )
    .action(async (options: Record<string, string | boolean | undefined>) => {
      const { runAgent } = await import('../agent/run.ts');
      await runAgent(options, env);
    });
}
