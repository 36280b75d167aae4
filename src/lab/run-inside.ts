import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { UserError } from '../lib/errors.ts';
import { netnsInode } from './netns.ts';
import { labPaths } from './paths.ts';
import { CONTROL } from './plan/control.ts';
import { INTERNET, netnsName } from './plan/names.ts';
import type { LabState } from './state.ts';

/**
 * Runs a command inside a node, pod, router or the internet of a lab, with our own standard input and outputs.
 * @returns its exit code; 128 + n after signal n, as shells do
 */
export async function runInside(lab: LabState, member: string, argv: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const { routers, nodes, pods } = lab.topology;
  const members = [...nodes, ...pods, ...routers].map(({ name }) => name);
  members.push(INTERNET, ...(lab.kubernetes === undefined ? [] : [CONTROL]));
  if (!members.includes(member)) {
    throw new UserError(`lab ${lab.name} has no ${member}, but: ${members.join(', ')}`);
  }
  if (argv.length === 0) throw new UserError('say what to run: raven lab exec NAME -- COMMAND…');
  const netns = netnsName(lab.name, member);
  if ((await netnsInode(netns)) === undefined) throw new UserError(`${member} is down; start its node with: raven lab start`);
  // Ctrl-C goes to the whole foreground group: the command decides what it means.
  const ignore = (): void => undefined;
  for (const signal of ['SIGINT', 'SIGQUIT'] as const) process.on(signal, ignore);
  try {
    return await new Promise((resolve, reject) => {
      const child = spawn('ip', ['netns', 'exec', netns, ...argv], { stdio: 'inherit', env: { ...env, ...environmentOf(lab, env) } });
      child.on('error', reject);
      child.on('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
    });
  } finally {
    for (const signal of ['SIGINT', 'SIGQUIT'] as const) process.off(signal, ignore);
  }
}

/** In a lab on Kubernetes `kubectl` is found and is the administrator's. */
function environmentOf({ name, kubernetes }: LabState, { PATH = '' }: NodeJS.ProcessEnv): Readonly<Record<string, string>> {
  if (kubernetes === undefined) return {};
  return { KUBECONFIG: labPaths(name).adminKubeconfig, PATH: `${dirname(kubernetes.kubectl)}:${PATH}` };
}
