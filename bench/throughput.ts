import { fileURLToPath } from 'node:url';
import { parseAgentOptions } from '../src/agent/options.ts';
import { netnsExec } from '../src/drivers/exec/exec.ts';
import { messageOf } from '../src/lib/errors.ts';
import { eventually, Lab } from '../test/lab/harness.ts';
import { type DataPath, endOf } from './hand-made/ends.ts';
import { createHandMade, type Driver } from './hand-made/hand-made.ts';
import { LOADS, type Load, type Pair, type Run, runLoad } from './load.ts';
import { median, middleHalf, printTable, round } from './table.ts';

const TOPOLOGY = fileURLToPath(new URL('two-regions.yaml', import.meta.url));
/** The first of each is the gateway. */
const [EDGE, CLOUD] = [
  ['edge1', 'edge2'],
  ['cloud1', 'cloud2'],
] as const;

export interface ThroughputOptions {
  readonly drivers: readonly Driver[];
  /** Of one measurement. */
  readonly seconds: number;
  readonly rounds: number;
}

/** Raven against the same tunnels made by hand between the same kind of nodes behind the same kind of NAT, in turns within one run. */
export async function benchThroughput({ drivers, seconds, rounds }: ThroughputOptions): Promise<void> {
  for (const driver of drivers) {
    const refusal = refusalOf(driver);
    if (refusal !== undefined) {
      process.stdout.write(`\n${driver}: not measured: ${refusal}\n`);
      continue;
    }
    const ours = await Lab.up(TOPOLOGY, '--vpn-driver', driver, '--timeout', '200');
    try {
      await compare(ours, { driver, seconds, rounds });
    } finally {
      await ours.down();
    }
  }
}

/** What the agents would say to a driver that they do not have; a lab would only wait for them in vain. */
function refusalOf(driver: Driver): string | undefined {
  try {
    parseAgentOptions({ node: CLOUD[0], vpnDriver: driver }, {});
  } catch (error) {
    return messageOf(error)
      .split('\n')
      .find((line) => line.startsWith('--vpn-driver'));
  }
  return undefined;
}

interface Comparison {
  readonly driver: Driver;
  readonly seconds: number;
  readonly rounds: number;
}

async function compare(ours: Lab, { driver, seconds, rounds }: Comparison): Promise<void> {
  const bare = await Lab.up(TOPOLOGY, '--no-raven');
  try {
    const dataPath = await dataPathOf(ours);
    const caller = endOf(await bare.node(EDGE[0]), await bare.node(EDGE[1]));
    const called = endOf(await bare.node(CLOUD[0]), await bare.node(CLOUD[1]));
    const removeHandMade = await createHandMade({ caller, called }, driver, dataPath);
    try {
      const rows = await rowsOf(ours, bare);
      for (let i = 0; i < rounds; i++) for (const row of rows) await measure(row, seconds, i % 2 === 0);
      printTable(
        `${driver}, ${dataPath} data path: Raven against by hand, pod to pod, sent from behind a NAT; medians of ${rounds} runs of ${seconds} s in turns; ratios run by run, the middle half of them in brackets`,
        ['from → to', 'load', 'unit', 'Raven', 'by hand', 'ratio', 'CPU s/GB', 'by hand', 'ratio'],
        rows.map(format),
      );
    } finally {
      await removeHandMade();
    }
  } finally {
    await bare.down();
  }
}

/** A user-space tunnel has a TUN device, whatever the driver. */
async function dataPathOf(lab: Lab): Promise<DataPath> {
  const tuns = await netnsExec((await lab.node(CLOUD[0])).netns)(['ip', '-br', 'link', 'show', 'type', 'tun']);
  return tuns.trim() === '' ? 'kernel' : 'user';
}

interface Row {
  readonly name: string;
  readonly load: Load;
  readonly byRaven: Pair;
  readonly byHand: Pair;
  readonly runs: { readonly raven: Run[]; readonly hand: Run[] };
}

/** Every kind of node to every kind, once each way is open. */
async function rowsOf(ours: Lab, bare: Lab): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [i, from] of EDGE.entries()) {
    for (const [j, to] of CLOUD.entries()) {
      const [byRaven, byHand] = [await pairOf(ours, from, to), await pairOf(bare, from, to)];
      const name = `${kindOf(i)} → ${kindOf(j)}`;
      rows.push(...LOADS.map((load) => ({ name, load, byRaven, byHand, runs: { raven: [], hand: [] } })));
    }
  }
  return rows;
}

function kindOf(position: number): string {
  return position === 0 ? 'gateway' : 'ordinary';
}

async function pairOf(lab: Lab, fromNode: string, toNode: string): Promise<Pair> {
  const [from, to] = [await lab.podOn(fromNode), await lab.podOn(toNode)];
  const toIp = to.ips[0] ?? '';
  await eventually(`${from.name} reaches ${to.name}`, () => netnsExec(from.netns)(['ping', '-c', '1', '-W', '1', toIp]), 60_000);
  return { fromNetns: from.netns, toNetns: to.netns, toIp };
}

/** Whoever comes second finds warmer caches and a warmer processor: they take turns in that too. */
async function measure({ load, byRaven, byHand, runs }: Row, seconds: number, handFirst: boolean): Promise<void> {
  if (handFirst) runs.hand.push(await runLoad(byHand, load, seconds));
  runs.raven.push(await runLoad(byRaven, load, seconds));
  if (!handFirst) runs.hand.push(await runLoad(byHand, load, seconds));
}

/** Each run is compared with its neighbour: what else the machine does changes both, but slowly. */
function format({ name, load, runs }: Row): string[] {
  const figures = (key: keyof Run, digits: number): string[] => {
    const [raven, byHand] = [runs.raven.map((run) => run[key]), runs.hand.map((run) => run[key])];
    const ratios = raven.map((value, i) => value / (byHand[i] ?? Number.NaN));
    const [low, high] = middleHalf(ratios);
    return [
      round(median(raven), digits),
      round(median(byHand), digits),
      `${round(median(ratios), 2)} (${round(low, 2)}–${round(high, 2)})`,
    ];
  };
  return [name, load.name, load.unit, ...figures('rate', load.unit === 'kpps' ? 1 : 0), ...figures('cpuPerGb', 1)];
}
