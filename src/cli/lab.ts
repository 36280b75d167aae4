import { type Command, Option } from 'commander';
import { VPN_DRIVERS } from '../domain/node-plan.ts';
import { addMatrixCommand } from '../lab/matrix/command.ts';

const NAME = ['--name <lab>', 'which lab; default: the only one there is'] as const;

/**
 * `raven lab …`: regions, NATs and pods as network namespaces of this machine, with the real programs in them.
 * @param env where KUBEBUILDER_ASSETS and PATH are looked for
 */
export function addLabCommands(program: Command, env: NodeJS.ProcessEnv): void {
  const lab = program.command('lab').description('build whole clusters of regions out of network namespaces, and try things on them');
  addUp(lab, env);
  lab
    .command('ls')
    .description('what is in a lab: nodes, pods, routers, their namespaces, programs and logs')
    .option(...NAME)
    .option('-o, --output <format>', 'text or json (docs/lab.md)', 'text')
    .action(async (flags: { name?: string; output: string }) => (await import('../lab/commands.ts')).lsCommand(flags));
  lab
    .command('exec')
    .description('run a command inside a node, pod or router; its exit code is ours')
    .argument('<member>', 'node, pod, router, internet, or control (the API server of a lab with --store kube)')
    .argument('<command...>', 'after --')
    .option(...NAME)
    .action(async (member: string, argv: string[], flags: { name?: string }) =>
      (await import('../lab/commands.ts')).execCommand(member, argv, flags, env),
    );
  addMatrixCommand(lab);
  addPower(lab);
  lab
    .command('down')
    .description('take a lab down, or what a crash left of it')
    .option(...NAME)
    .option('--all', 'all labs of this machine')
    .action(async (flags: { name?: string; all?: boolean }) => (await import('../lab/commands.ts')).downCommand(flags));
}

function addUp(lab: Command, env: NodeJS.ProcessEnv): void {
  lab
    .command('up')
    .description('build a lab, start its programs, and wait until the regions are connected')
    .argument('<file>', 'topology file, or the name of a shipped one: mini, rig, wide, ports, shared-lan, dual, six')
    .option('--name <lab>', "default: the topology's name")
    .addOption(new Option('--vpn-driver <driver>', "the agents' VPN driver").choices(VPN_DRIVERS))
    .option('--forward-node-ip', "the agents carry the nodes' own addresses between regions too")
    .option('--store <kind>', 'dir: a folder of manifests; kube: a real API server with kube-proxy, flannel and CoreDNS', 'dir')
    .option('--no-raven', 'start neither controller nor agents')
    .option('--no-wait', 'do not wait for tunnels')
    .option('--replace', 'take down a lab of the same name first')
    .option('--timeout <seconds>', 'how long to wait for tunnels', '60')
    .action(async (file: string, flags: Parameters<typeof import('../lab/commands.ts').upCommand>[1]) =>
      (await import('../lab/commands.ts')).upCommand(file, flags, env),
    );
}

function addPower(lab: Command): void {
  const target = 'a node (as if its power was cut), NODE/agent, NODE/charon, NODE/kubelet, POD/pod, controller or supervisor';
  for (const [action, description] of [
    ['kill', 'end a node or one program at once (SIGKILL)'],
    ['start', 'bring back a node or one program that is down'],
  ] as const) {
    lab
      .command(action)
      .description(description)
      .argument('<target>', target)
      .option(...NAME)
      .action(async (name: string, flags: { name?: string }) => (await import('../lab/commands.ts')).powerCommand(action, name, flags));
  }
}
