import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type LabNode, must } from './harness.ts';

/** Runs `wg` on a node. In a lab wireguard-go listens in a view of the file system of its own, one for each node. */
export async function wgOf(node: LabNode, ...args: string[]): Promise<string> {
  const agent = node.processes.find(({ program }) => program === 'agent');
  const file = join(dirname(agent?.log ?? ''), 'run', 'wireguard-go.pid');
  const pid = (await readFile(file, 'utf8').catch(() => '')).trim();
  const view = pid === '' ? ['ip', 'netns', 'exec', node.netns] : ['nsenter', '--target', pid, '--net', '--mount'];
  return must([...view, 'wg', ...args] as [string, ...string[]]);
}
