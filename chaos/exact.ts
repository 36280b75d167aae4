import { forEachConcurrently } from '../src/lab/concurrent.ts';
import { eventually, type LabNode, run } from '../test/lab/harness.ts';
import type { Rig } from './rig.ts';
import { staleSas } from './sas.ts';

/** Each look starts a program; more at a time than processors only wait for each other. */
const CONCURRENCY = 2;
const LOOK_MS = 500;

/** What is on a node and should not be, or the other way round, each as one line of text. */
export interface Deviation {
  readonly node: string;
  readonly what: string;
}

export interface Exactness {
  /** From the call until all was exact; undefined when it never was. */
  readonly afterMs: number | undefined;
  /** What was wrong at the end. */
  readonly deviations: readonly Deviation[];
}

/** Waits until what the kernels and VPN daemons of all running nodes hold is exactly what is planned, but not longer than `timeoutMs`. */
export async function exactness(rig: Rig, timeoutMs: number): Promise<Exactness> {
  const sinceMs = performance.now();
  let deviations: readonly Deviation[] = [];
  try {
    await eventually(
      'every node is as planned',
      async () => {
        deviations = await deviationsOf(rig);
        return deviations.length === 0;
      },
      timeoutMs,
      LOOK_MS,
    );
    return { afterMs: performance.now() - sinceMs, deviations };
  } catch (error) {
    return { afterMs: undefined, deviations: deviations.length > 0 ? deviations : [{ node: '', what: String(error) }] };
  }
}

async function deviationsOf(rig: Rig): Promise<Deviation[]> {
  const found: Deviation[] = [];
  await forEachConcurrently(await rig.runningNodes(), CONCURRENCY, async (node) => {
    const lines = [...(await driftOf(rig, node)), ...(await sasOf(rig, node))];
    found.push(...lines.map((what) => ({ node: node.name, what })));
  });
  return found.toSorted((a, b) => (a.node < b.node ? -1 : a.node > b.node ? 1 : 0));
}

/** What `raven plan --diff` would change; on a node without a region everything that is ours. */
async function driftOf(rig: Rig, node: LabNode): Promise<string[]> {
  try {
    return linesOf(await rig.lab.drift(node));
  } catch (error) {
    if (!String(error).includes('is in no region')) throw error;
    return remainsOf(node);
  }
}

async function remainsOf({ netns }: LabNode): Promise<string[]> {
  const look = async (...argv: [string, ...string[]]): Promise<string> => (await run(['ip', '-n', netns, ...argv])).stdout;
  const links = linesOf(await look('-br', 'link')).filter((line) => /^(raven|rvn-)/.test(line) && !line.startsWith('rave0'));
  const rules = linesOf(await look('-d', 'rule', 'show')).filter((line) => line.includes('proto 82'));
  const nexthops = linesOf(await look('nexthop', 'show', 'proto', '82'));
  const tables = linesOf((await run(['ip', 'netns', 'exec', netns, 'nft', 'list', 'tables'])).stdout);
  return [...links, ...rules, ...nexthops, ...tables.filter((line) => line.trim() === 'table inet raven')];
}

async function sasOf(rig: Rig, { name }: LabNode): Promise<string[]> {
  if (rig.driver !== 'ipsec') return [];
  // An ordinary node has no charon.
  const list = (what: string): Promise<string> => rig.swanctl(name, what).catch(() => '');
  return staleSas(await list('--list-conns'), await list('--list-sas'));
}

function linesOf(text: string): string[] {
  return text.split('\n').filter((line) => line.trim() !== '');
}
