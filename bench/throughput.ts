import { fileURLToPath } from 'node:url';
import { parseAgentOptions } from '../src/agent/options.ts';
import { netnsExec } from '../src/drivers/exec/exec.ts';
import { messageOf } from '../src/lib/errors.ts';
import { eventually, Lab } from '../test/lab/harness.ts';
import { type DataPath, endOf } from './hand-made/ends.ts';
import { createHandMade, type Driver, type HandMadeKind } from './hand-made/hand-made.ts';
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

/** What is compared: Raven, tunnels by hand with routes in a table of their own (Raven's are), and with routes among all others. */
const SYSTEMS = ['raven', 'table', 'main'] as const;
type System = (typeof SYSTEMS)[number];
const TITLES = { raven: 'Raven', table: 'by hand, own table', main: 'by hand' } as const;

async function compare(ours: Lab, { driver, seconds, rounds }: Comparison): Promise<void> {
  const dataPath = await dataPathOf(ours);
  await using table = await byHand({ driver, dataPath, routesIn: 'table' });
  await using main = await byHand({ driver, dataPath, routesIn: 'main' });
  const rows = await rowsOf({ raven: ours, table: table.lab, main: main.lab });
  for (let i = 0; i < rounds; i++) for (const row of rows) await measure(row, seconds, i);
  printTable(
    `${driver}, ${dataPath} data path: Raven against by hand, pod to pod, sent from behind a NAT; medians of ${rounds} runs of ${seconds} s in turns; ratios run by run, the middle half of them in brackets`,
    [
      'from → to',
      'load',
      'unit',
      ...Object.values(TITLES),
      ...RATIOS.map((than) => `Raven ÷ ${TITLES[than]}`),
      'CPU s/GB',
      ...RATIOS.map((than) => `÷ ${TITLES[than]}`),
    ],
    [...rows.map(format), ...medians(rows)],
  );
}

async function byHand(kind: HandMadeKind): Promise<{ readonly lab: Lab } & AsyncDisposable> {
  const lab = await Lab.up(TOPOLOGY, '--no-raven');
  try {
    const caller = endOf(await lab.node(EDGE[0]), await lab.node(EDGE[1]));
    const called = endOf(await lab.node(CLOUD[0]), await lab.node(CLOUD[1]));
    const remove = await createHandMade({ caller, called }, kind);
    return {
      lab,
      [Symbol.asyncDispose]: async () => {
        try {
          await remove();
        } finally {
          await lab.down();
        }
      },
    };
  } catch (error) {
    await lab.down();
    throw error;
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
  readonly pairs: Readonly<Record<System, Pair>>;
  readonly runs: Readonly<Record<System, Run[]>>;
}

/** Every kind of node to every kind, once each way is open. */
async function rowsOf(labs: Readonly<Record<System, Lab>>): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [i, from] of EDGE.entries()) {
    for (const [j, to] of CLOUD.entries()) {
      const pairs = {
        raven: await pairOf(labs.raven, from, to),
        table: await pairOf(labs.table, from, to),
        main: await pairOf(labs.main, from, to),
      };
      const name = `${kindOf(i)} → ${kindOf(j)}`;
      rows.push(...LOADS.map((load) => ({ name, load, pairs, runs: { raven: [], table: [], main: [] } })));
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
async function measure({ load, pairs, runs }: Row, seconds: number, round: number): Promise<void> {
  const first = round % SYSTEMS.length;
  for (const system of [...SYSTEMS.slice(first), ...SYSTEMS.slice(0, first)])
    runs[system].push(await runLoad(pairs[system], load, seconds));
}

/** With whom Raven is compared. */
const RATIOS = ['table', 'main'] as const;

function format({ name, load, runs }: Row): string[] {
  const digits = load.unit === 'kpps' ? 1 : 0;
  return [
    name,
    load.name,
    load.unit,
    ...SYSTEMS.map((system) => round(median(runs[system].map(({ rate }) => rate)), digits)),
    ...RATIOS.map((than) => spread(ratios(runs, than, 'rate'))),
    round(median(runs.raven.map(({ cpuPerGb }) => cpuPerGb))),
    ...RATIOS.map((than) => spread(ratios(runs, than, 'cpuPerGb'))),
  ];
}

/** One row: of all ratios of each column. */
function medians(rows: readonly Row[]): string[][] {
  const all = (key: keyof Run): string[] => RATIOS.map((than) => spread(rows.flatMap(({ runs }) => ratios(runs, than, key))));
  return [['all', '', '', '', '', '', ...all('rate'), '', ...all('cpuPerGb')]];
}

/** Each run is compared with its neighbour: what else the machine does changes both, but slowly. */
function ratios(runs: Row['runs'], than: System, key: keyof Run): number[] {
  return runs.raven.map((run, i) => run[key] / (runs[than][i]?.[key] ?? Number.NaN));
}

function spread(values: readonly number[]): string {
  const [low, high] = middleHalf(values);
  return `${round(median(values), 2)} (${round(low, 2)}–${round(high, 2)})`;
}
