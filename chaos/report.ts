import { formatTable, median, percentile } from '../bench/table.ts';
import type { Fault } from './fault.ts';
import type { Driver, Store } from './rig.ts';
import type { Round } from './round.ts';
import { judge, lostIn } from './verdict.ts';

/** All rounds on one rig. */
export interface RigReport {
  readonly driver: Driver;
  readonly store: Store;
  readonly rounds: readonly Round[];
}

const COLUMNS = [
  'fault',
  'for',
  'b→a ms',
  'a→b ms',
  'b→c ms',
  'c→b ms',
  'p95',
  'worst',
  'lost',
  'worst lost',
  'healing ms',
  'healing lost',
  'TCP',
  'stall s',
  'exact s',
  'stale',
  'foreign',
  '',
];

/** One table for each rig. Pure. */
export function formatReports(reports: readonly RigReport[], faults: readonly Fault[]): string {
  return [...reports.map((report) => formatReport(report, faults)), formatWorst(reports, faults)].join('\n');
}

function formatReport({ driver, store, rounds }: RigReport, faults: readonly Fault[]): string {
  const done = faults.flatMap((fault) => {
    const of = rounds.filter((round) => round.fault === fault.name);
    return of.length === 0 ? [] : [{ fault, of }];
  });
  const most = Math.max(0, ...done.map(({ of }) => of.length));
  const title = `${driver}, ${store} store: medians of ${most} round${most === 1 ? '' : 's'}, longest time without an answer`;
  const notes = done.flatMap(({ fault, of }) => {
    const verdicts = of.map((round) => judge(fault, round));
    const said = [
      ...new Set(
        verdicts.flatMap(({ failures, excesses }) => [...failures.map((each) => `✗ ${each}`), ...excesses.map((each) => `! ${each}`)]),
      ),
    ];
    return said.map((each) => `${fault.name}: ${each}\n`);
  });
  return `${formatTable(
    title,
    COLUMNS,
    done.map(({ fault, of }) => rowOf(fault, of)),
  )}${notes.length === 0 ? '' : `\n${notes.join('')}`}`;
}

function rowOf(fault: Fault, rounds: readonly Round[]): string[] {
  const ways = (rounds[0]?.pings ?? []).map((_, way) => median(rounds.map(({ pings }) => pings[way]?.outageMs ?? Number.NaN)));
  const all = rounds.flatMap(({ pings }) => pings.map(({ outageMs }) => outageMs));
  const lost = rounds.map(({ pings }) => lostIn(pings));
  const healing = rounds.flatMap(({ pingsHealing }) => pingsHealing.map(({ outageMs }) => outageMs));
  const streams = rounds.flatMap((round) => round.streams);
  const exact = rounds.map(({ exactAfterMs }) => exactAfterMs ?? Number.POSITIVE_INFINITY);
  const verdicts = rounds.map((round) => judge(fault, round));
  const mark = verdicts.some(({ failures }) => failures.length > 0)
    ? '✗'
    : verdicts.some(({ excesses }) => excesses.length > 0)
      ? '!'
      : '✓';
  return [
    fault.name,
    fault.requirement,
    ...(ways.length === 4 ? ways.map(whole) : ['–', '–', '–', '–']),
    whole(percentile(all, 0.95)),
    whole(Math.max(...all)),
    whole(median(lost)),
    whole(Math.max(...lost)),
    whole(Math.max(...healing)),
    whole(Math.max(...rounds.map(({ pingsHealing }) => lostIn(pingsHealing)))),
    `${streams.filter(({ alive }) => alive).length}/${streams.length}`,
    seconds(Math.max(...streams.map(({ longestStallMs }) => longestStallMs))),
    seconds(Math.max(...exact)),
    String(rounds.reduce((sum, { stale }) => sum + stale.length, 0)),
    String(rounds.reduce((sum, { foreign }) => sum + foreign.length, 0)),
    mark,
  ];
}

/** The three longest times without an answer, of faults that packets should have survived. */
function formatWorst(reports: readonly RigReport[], faults: readonly Fault[]): string {
  const cases = reports.flatMap(({ driver, store, rounds }) =>
    rounds.flatMap((round) => {
      const fault = faults.find(({ name }) => name === round.fault);
      if (fault === undefined || fault.expected.traffic === 'healed') return [];
      return round.pings.map((ping) => ({
        ...ping,
        fault,
        where: `${driver}, ${store}`,
        carriers: `${round.carrier} → ${round.carrierThen ?? 'none'}`,
      }));
    }),
  );
  // One for each fault and rig: its ways mostly suffer together.
  const ofEach = Map.groupBy(cases, ({ where, fault }) => `${where}/${fault.name}`);
  const rows = [...ofEach.values()]
    .flatMap((all) => all.toSorted((a, b) => b.outageMs - a.outageMs).slice(0, 1))
    .toSorted((a, b) => b.outageMs - a.outageMs)
    .slice(0, 3)
    .map(({ where, fault, way, outageMs, lost, carriers }) => [where, fault.name, way, whole(outageMs), whole(lost), carriers, fault.what]);
  return formatTable('three worst', ['rig', 'fault', 'way', 'ms', 'lost', 'carrier', 'what happened'], rows);
}

function whole(value: number): string {
  return Number.isFinite(value) ? value.toFixed(0) : '–';
}

function seconds(ms: number): string {
  return Number.isFinite(ms) ? (ms / 1000).toFixed(1) : 'never';
}
