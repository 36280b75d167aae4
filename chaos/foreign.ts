import { addForeign } from '../test/lab/foreign.ts';
import { run } from '../test/lab/harness.ts';

/** What test/lab/foreign.ts puts on nodes, as the programs that made it print it. */
const LOOKS: readonly (readonly string[])[] = [
  ['ip', '-br', 'link', 'show', 'dev', 'rave0'],
  ['ip', '-d', 'link', 'show', 'group', '77'],
  ['ip', 'rule', 'show', 'lookup', '9026'],
  ['ip', 'route', 'show', 'table', '9026'],
  ['ip', 'route', 'show', '172.31.0.0/16'],
  ['ip', 'nexthop', 'show', 'id', '77'],
  ['ip', 'neigh', 'show', 'dev', 'rave0', 'nud', 'permanent'],
  ['ip', 'xfrm', 'policy', 'list', 'src', '172.30.1.0/24'],
  ['nft', '-s', 'list', 'table', 'inet', 'ravens'],
  ['nft', '-s', 'list', 'table', 'ip', 'raven'],
];

/** Other people's things on a node, as text (R27). */
export interface Foreign {
  readonly netns: string;
  readonly text: string;
}

/** Puts things of others, some of them close to ours, on a node that has none. */
export async function plantForeign(netns: string): Promise<Foreign> {
  await addForeign(netns);
  return { netns, text: await foreignText(netns) };
}

/** Lines that are not as they were. */
export async function foreignDamage({ netns, text }: Foreign): Promise<string[]> {
  const now = new Set((await foreignText(netns)).split('\n'));
  return text.split('\n').filter((line) => !now.has(line));
}

async function foreignText(netns: string): Promise<string> {
  const texts = await Promise.all(LOOKS.map(async (argv) => (await run(['ip', 'netns', 'exec', netns, ...argv])).stdout));
  return texts.join('');
}
