import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Lab } from '../test/lab/harness.ts';
import { AGENT_FAULTS, endDaemon, restartAgent } from '../test/lab/restarts.ts';
import { startTraffic, type TrafficReport } from '../test/lab/traffic.ts';
import { median, printTable } from './table.ts';

type Driver = 'ipsec' | 'wireguard';

interface Fault {
  readonly what: string;
  readonly run: (lab: Lab, copies: string) => Promise<void>;
}

/** A gateway that is called, one that calls, an ordinary node. */
const NODES = ['a1', 'b1', 'b2'] as const;
const GATEWAYS = ['a1', 'b1'] as const;

const agentFaults: readonly Fault[] = NODES.flatMap((node) =>
  AGENT_FAULTS.map((fault) => ({ what: `agent of ${node}: ${fault}`, run: (lab, copies) => restartAgent(lab, node, fault, copies) })),
);
const daemonFaults: readonly Fault[] = GATEWAYS.flatMap((node) =>
  (['SIGTERM', 'SIGKILL'] as const).map((signal) => ({
    what: `daemon of ${node}: ${signal.slice(3)}`,
    run: async (lab) => {
      await endDaemon(lab, node, signal);
    },
  })),
);

/** What packets notice when programs end and come back: 100 pings a second each way and a TCP stream between ordinary nodes' pods of `rig`. */
export async function benchRestarts({ drivers, rounds }: { readonly drivers: readonly Driver[]; readonly rounds: number }): Promise<void> {
  const rows: (readonly (string | number)[])[] = [];
  for (const driver of drivers) rows.push(...(await measureDriver(driver, rounds)));
  printTable(
    `Programs end and come back under 100 pings/s each way and a TCP stream, ${rounds} rounds`,
    ['driver', 'fault', 'lost', 'outage median ms', 'worst ms', 'TCP alive', 'TCP worst stall ms'],
    rows,
  );
}

async function measureDriver(driver: Driver, rounds: number): Promise<(string | number)[][]> {
  const copies = await mkdtemp(join(tmpdir(), 'raven-restarts-'));
  const lab = await Lab.up('rig', '--vpn-driver', driver);
  try {
    const rows: (string | number)[][] = [];
    for (const fault of [...agentFaults, ...daemonFaults]) {
      const reports: TrafficReport[] = [];
      for (let i = 0; i < rounds; i++) reports.push(await underTraffic(lab, () => fault.run(lab, join(copies, `${rows.length}-${i}`))));
      rows.push(rowOf(driver, fault.what, reports));
      process.stderr.write(`${rows.at(-1)?.join('  ') ?? ''}\n`);
    }
    return rows;
  } finally {
    await lab.down();
    await rm(copies, { recursive: true, force: true });
  }
}

async function underTraffic(lab: Lab, work: () => Promise<void>): Promise<TrafficReport> {
  const traffic = await startTraffic(lab, 'b2', 'a2');
  await work();
  await traffic.flows();
  for (const name of NODES) await lab.settled(await lab.node(name));
  await traffic.flows();
  return traffic.stop();
}

function rowOf(driver: Driver, what: string, reports: readonly TrafficReport[]): (string | number)[] {
  const outages = reports.map(({ outageMs }) => outageMs);
  return [
    driver,
    what,
    reports.map(({ lost }) => lost).join(' '),
    median(outages),
    Math.max(...outages),
    reports.every(({ tcpAlive }) => tcpAlive) ? 'yes' : 'NO',
    Math.max(...reports.map(({ tcpStallMs }) => tcpStallMs)),
  ];
}
