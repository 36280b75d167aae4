import { readFile } from 'node:fs/promises';
import type { Gateway } from '../src/api/gateway.ts';
import { diffKernel } from '../src/domain/kernel-diff.ts';
import type { NodePlan } from '../src/domain/node-plan.ts';
import { plan } from '../src/domain/plan.ts';
import { buildSnapshot } from '../src/domain/snapshot.ts';
import { hostExec } from '../src/drivers/exec/exec.ts';
import { createKernel } from '../src/drivers/kernel.ts';
import { syntheticFacts, syntheticGateway, syntheticGateways } from './synthetic.ts';
import { median, printTable, round } from './table.ts';

const ROUNDS = 15;
const NODE = 'region-1-node-0';

/** Cost of planning and of finding that nothing changed, on a gateway of region 1. Run it in a network namespace of its own: `unshare -n`. */
async function benchPlan(): Promise<void> {
  await hostExec(['ip', '-batch', '-'], {
    stdin:
      'link set lo up\nlink add eth0 type veth peer name far\naddress add 192.168.1.10/24 dev eth0\naddress add 10.0.10.1/24 dev far\nlink set eth0 up\nlink set far up\ntuntap add rvn-ipsec mode tun\nlink set rvn-ipsec up\n',
  });
  const rows: (string | number)[][] = [];
  for (const regions of [10, 100, 1000]) rows.push(await measure(regions));
  printTable(
    'Plan and resync on a gateway (10 nodes a region; user-space data path; CPU ms of the agent, and of ip/nft/bridge beside it; medians)',
    [
      'regions',
      'routes',
      'first plan',
      'plan, 1 Gateway changed',
      'plan, nothing changed',
      'first apply (wall)',
      'resync agent',
      'resync tools',
      'resync writes',
      'writes for 1 moved gateway',
    ],
    rows,
  );
}

async function measure(regions: number): Promise<(string | number)[]> {
  const gateways = syntheticGateways(regions);
  const planFor = (objects: readonly Gateway[]): NodePlan =>
    plan({ node: NODE, snapshot: buildSnapshot(objects, []), facts: syntheticFacts('eth0', 'user'), health: new Map() });
  const first = await cpuMs(() => planFor(gateways));
  const nothing: number[] = [];
  const changed: number[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    nothing.push((await cpuMs(() => planFor(gateways))).ms);
    const moved = gateways.with(5, syntheticGateway(5, (i + 1) % 2));
    changed.push((await cpuMs(() => planFor(moved))).ms);
  }
  const kernel = createKernel(hostExec);
  try {
    const target = planFor(gateways);
    const before = performance.now();
    const { failed } = await kernel.apply(diffKernel(await kernel.observe(), target));
    const applyMs = performance.now() - before;
    if (failed.length > 0) throw new Error(`could not set ${failed.length}: ${failed[0]?.error ?? ''}`);
    const own: number[] = [];
    const tools: number[] = [];
    let writes = 0;
    for (let i = 0; i < ROUNDS; i++) {
      const childrenBefore = await childrenCpuMs();
      const { ms, result } = await cpuMs(async () => diffKernel(await kernel.observe(), planFor(gateways)));
      own.push(ms);
      tools.push((await childrenCpuMs()) - childrenBefore);
      writes += result.length;
    }
    const movedWrites = diffKernel(await kernel.observe(), planFor(gateways.with(5, syntheticGateway(5, 1)))).length;
    return [
      regions,
      target.routes.length,
      round(first.ms),
      round(median(changed)),
      round(median(nothing)),
      `${round(applyMs / 1000, 2)} s`,
      round(median(own)),
      round(median(tools)),
      writes,
      movedWrites,
    ];
  } finally {
    await kernel.cleanup();
  }
}

async function cpuMs<T>(work: () => T | Promise<T>): Promise<{ ms: number; result: T }> {
  const before = process.cpuUsage();
  const result = await work();
  const { user, system } = process.cpuUsage(before);
  return { ms: (user + system) / 1000, result };
}

/** CPU of ended children, in clock ticks of 10 ms (`proc(5)`, fields 16 and 17). */
async function childrenCpuMs(): Promise<number> {
  const stat = await readFile('/proc/self/stat', 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[13]) + Number(fields[14])) * 10;
}

await benchPlan();
