import { ANCHOR_ADDRESS, ROUTE_PROTOCOL, VXLAN_DEVICE } from '../api/names.ts';
import { type Change, diffKernel, formatChange } from '../domain/kernel-diff.ts';
import { EMPTY_KERNEL_PLAN, type KernelPlan, type KernelState, managedSysctls, type Observed } from '../domain/kernel-state.ts';
import type { FdbEntry } from '../domain/node-plan.ts';
import { messageOf } from '../lib/errors.ts';
import { PROBE_RANGE } from '../net/probe-address.ts';
import { type BatchFailure, runBatch } from './batch.ts';
import { CommandError, type Exec } from './exec/exec.ts';
import { parseFdb } from './fdb/fdb.ts';
import { type Links, parseLinks } from './link/link.ts';
import { parseNeighbours } from './neigh/neigh.ts';
import { parseNexthops } from './nexthop/nexthop.ts';
import { listNft } from './nft/nft.ts';
import { listForeignRoutes, parseRoutes } from './route/route.ts';
import { parseRules } from './rule/rule.ts';
import { createSysctls, type Sysctls } from './sysctl/sysctl.ts';

/** The kernel of the network namespace that `exec` runs in, as far as it is ours. */
export interface Kernel {
  /** Lists what is ours. Four processes, one listing of each kind; writes nothing. */
  observe(options?: ObserveOptions): Promise<KernelState>;
  /** As `diffKernel`. */
  diff(state: KernelState, plan: KernelPlan): Change[];
  /** Carries out the changes in their order. What fails is told and does not stop the others; never rejects. */
  apply(changes: readonly Change[]): Promise<ApplyResult>;
  /**
   * Removes all that is ours, and nothing else. Idempotent.
   *
   * @returns what was removed, as commands
   * @throws when something could not be removed, after everything was tried
   */
  cleanup(): Promise<string[]>;
}

export interface ObserveOptions {
  /** Also look for routes of others in our tables: four more processes. */
  readonly foreignRoutes?: boolean;
}

export interface ApplyResult {
  readonly written: readonly Change[];
  readonly failed: readonly FailedChange[];
}

export interface FailedChange {
  readonly change: Change;
  readonly error: string;
}

export interface KernelOptions {
  readonly sysctlRoot?: string;
  /** For another network namespace than this process's own, whose /proc/sys cannot be seen from here. */
  readonly sysctls?: Sysctls;
  readonly log?: { warn(fields: object, message: string): void };
}

/** Listings that never fail, whatever is there: `neigh show dev raven0` and `route show table 9027` would. */
const LISTINGS = [
  'link show',
  `address show to ${ANCHOR_ADDRESS}/32`,
  `address show to ${PROBE_RANGE}`,
  'nexthop show',
  'rule show',
  'neigh show nud permanent',
  `route show table all proto ${ROUTE_PROTOCOL}`,
];
const LISTINGS_6 = ['nexthop show', 'rule show'];

export function createKernel(
  exec: Exec,
  { sysctlRoot = '/proc/sys', sysctls = createSysctls(sysctlRoot), log }: KernelOptions = {},
): Kernel {
  let reported = '';

  async function observe({ foreignRoutes = false }: ObserveOptions = {}): Promise<KernelState> {
    const [links = '', anchors = '', probeIps = '', nexthops = '', rules = '', neighbours = '', routes = ''] = await list(
      exec,
      ['ip', '-N', '-d', '-j'],
      LISTINGS,
    );
    const parsed = parseLinks(links, { anchors, probeIps });
    const [v6, fdb, nft, foreign] = await Promise.all([
      parsed.ipv6 ? list(exec, ['ip', '-6', '-N', '-j'], LISTINGS_6) : Promise.resolve(['[]', '[]']),
      listFdb(parsed),
      listNft(exec),
      foreignRoutes ? listForeignRoutes(exec) : Promise.resolve([]),
    ]);
    const [nexthops6 = '', rules6 = ''] = v6;
    const both = [parseRules(rules, 4), parseRules(rules6, 6)];
    const others = [...parsed.foreignLinks.map((name) => `ip link ${name}`), ...both.flatMap((each) => each.foreign), ...foreign];
    report(others);
    return {
      ...parsed,
      fdb,
      neighbours: parseNeighbours(neighbours),
      nexthops: parseNexthops(nexthops, nexthops6),
      routes: parseRoutes(routes),
      rules: both.flatMap((each) => each.rules),
      nft,
      sysctls: readSysctls(parsed),
      foreign: others,
    };
  }

  async function listFdb({ links }: Links): Promise<Observed<FdbEntry>[]> {
    if (!links.some(({ name }) => name === VXLAN_DEVICE)) return [];
    try {
      return parseFdb(await exec(['bridge', '-j', 'fdb', 'show', 'dev', VXLAN_DEVICE]));
    } catch (error) {
      // Gone since the listing of links.
      if (error instanceof CommandError && error.stderr.includes('Cannot find device')) return [];
      throw error;
    }
  }

  function readSysctls({ links }: Links): ReadonlyMap<string, string> {
    const keys = links.flatMap(({ name }) => managedSysctls(name));
    return new Map(
      keys.flatMap((key) => {
        const value = sysctls.read(key);
        return value === undefined ? [] : [[key, value] as const];
      }),
    );
  }

  function report(others: readonly string[]): void {
    const text = others.join('\n');
    if (text !== reported && others.length > 0)
      log?.warn({ foreign: others }, 'objects of others stand where ours do; they are left alone');
    reported = text;
  }

  async function apply(changes: readonly Change[]): Promise<ApplyResult> {
    const failed: FailedChange[] = [];
    for (const group of groupsOf(changes)) {
      for (const { index, error } of await run(group)) {
        const change = group[index];
        if (change !== undefined) failed.push({ change, error });
      }
    }
    const failures = new Set(failed.map(({ change }) => change));
    return { written: changes.filter((change) => !failures.has(change)), failed };
  }

  /** @param group changes of one tool and family */
  async function run(group: readonly Change[]): Promise<BatchFailure[]> {
    const [first] = group;
    const lines = group.map(({ text }) => text);
    if (first === undefined) return [];
    switch (first.tool) {
      case 'sysctl':
        return lines.flatMap((line, index) => writeSysctl(line, index));
      case 'nft':
        return runNft(lines);
      default:
        return runBatch(exec, first.family === undefined ? [first.tool] : [first.tool, '-6'], lines);
    }
  }

  /** One transaction: all or nothing. */
  async function runNft(lines: readonly string[]): Promise<BatchFailure[]> {
    try {
      await exec(['nft', '-f', '-'], { stdin: `${lines.join('\n')}\n` });
      return [];
    } catch (error) {
      return lines.map((_, index) => ({ index, error: messageOf(error) }));
    }
  }

  function writeSysctl(line: string, index: number): BatchFailure[] {
    const [key = '', value = ''] = line.split('=');
    try {
      sysctls.write(key, value);
      return [];
    } catch (error) {
      return [{ index, error: messageOf(error) }];
    }
  }

  async function cleanup(): Promise<string[]> {
    const { written, failed } = await apply(removalsOf(await observe()));
    if (failed.length > 0) throw new Error(failed.map(({ change, error }) => `${formatChange(change)}: ${error}`).join('\n'));
    return written.map(formatChange);
  }

  return { observe, diff: diffKernel, apply, cleanup };
}

/** The writes that take all of ours away. */
export function removalsOf(state: KernelState): Change[] {
  // Left over when charon was killed; `diffKernel` never removes it from a charon that runs.
  const tuns = state.links.filter(({ type }) => type === 'tun').map(({ name }): Change => ({ tool: 'ip', text: `link del dev ${name}` }));
  return [...diffKernel(state, EMPTY_KERNEL_PLAN), ...tuns];
}

/** Neighbours that one process can carry out. */
function groupsOf(changes: readonly Change[]): Change[][] {
  const groups: Change[][] = [];
  for (const change of changes) {
    const last = groups.at(-1);
    if (last?.[0]?.tool === change.tool && last[0].family === change.family) last.push(change);
    else groups.push([change]);
  }
  return groups;
}

/** Runs several `show` commands in one process; each prints one line of JSON. */
async function list(exec: Exec, argv: readonly [string, ...string[]], queries: readonly string[]): Promise<string[]> {
  const output = await exec([...argv, '-batch', '-'], { stdin: queries.map((query) => `${query}\n`).join('') });
  const lines = output.split('\n').filter((line) => line.trim() !== '');
  if (lines.length === queries.length) return lines;
  // Some versions of iproute2 print nothing at all for an empty list: then it must be asked for one by one.
  return Promise.all(queries.map(async (query) => (await exec([...argv, ...query.split(' ')])).trim() || '[]'));
}
