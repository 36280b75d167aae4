import { z } from 'zod';
import { OUR_TABLES, ROUTE_PROTOCOL } from '../../api/names.ts';
import type { RouteState } from '../../domain/kernel-state.ts';
import { type Cidr, hostCidr, parseCidr } from '../../net/cidr.ts';
import { parseIp } from '../../net/ip.ts';
import { CommandError, type Exec } from '../exec/exec.ts';

const routeJson = z.array(
  z.looseObject({
    type: z.string().optional(),
    dst: z.string(),
    table: z.string().optional(),
    protocol: z.string().optional(),
    nhid: z.int().optional(),
    gateway: z.string().optional(),
    dev: z.string().optional(),
    prefsrc: z.string().optional(),
    metric: z.int().optional(),
    tos: z.string().optional(),
    flags: z.array(z.string()).default([]),
    metrics: z.array(z.record(z.string(), z.unknown())).optional(),
    nexthops: z.unknown().optional(),
    via: z.unknown().optional(),
    /** Router preference: printed for every IPv6 route and no other. */
    pref: z.string().optional(),
  }),
);

type RouteJson = z.infer<typeof routeJson>[number];

const UNICAST = '1';
const THROW = '9';
/** `IP6_RT_PRIO_USER`: the kernel's metric of an IPv6 route that was given none. */
const IPV6_METRIC = 1024;

/** Reads `ip -N -j route show table all proto 82`: routes of both families in all tables, of which ours are in a few. */
export function parseRoutes(text: string): RouteState[] {
  return routeJson.parse(JSON.parse(text)).flatMap((row) => {
    const table = Number(row.table);
    const dst = destinationOf(row);
    return dst !== undefined && OUR_TABLES.some((each) => each === table) ? [toRoute(row, table, dst)] : [];
  });
}

/** Routes that others put into our tables, as `ip route show` words. */
export async function listForeignRoutes(exec: Exec): Promise<string[]> {
  const queries = OUR_TABLES.flatMap((table) => (['-4', '-6'] as const).map((family) => ({ table, family })));
  const lists = await Promise.all(queries.map(async ({ table, family }) => parseForeign(await show(exec, family, table), table)));
  return lists.flat();
}

async function show(exec: Exec, family: '-4' | '-6', table: number): Promise<string> {
  try {
    return (await exec(['ip', '-N', '-j', family, 'route', 'show', 'table', String(table)])) || '[]';
  } catch (error) {
    // The kernel makes a table with its first route; until then iproute2 exits with 2 instead of printing nothing.
    if (error instanceof CommandError && error.stderr.includes('FIB table does not exist')) return '[]';
    throw error;
  }
}

function parseForeign(text: string, table: number): string[] {
  return routeJson
    .parse(JSON.parse(text))
    .filter(({ protocol }) => protocol !== String(ROUTE_PROTOCOL))
    .map(
      ({ dst, dev, gateway }) =>
        `ip route ${dst}${gateway === undefined ? '' : ` via ${gateway}`}${dev === undefined ? '' : ` dev ${dev}`} table ${table}`,
    );
}

function destinationOf({ dst, pref }: RouteJson): Cidr | undefined {
  if (dst === 'default') return parseCidr(pref === undefined ? '0.0.0.0/0' : '::/0');
  const host = parseIp(dst);
  return host === undefined ? parseCidr(dst) : hostCidr(host);
}

function toRoute(row: RouteJson, table: number, dst: Cidr): RouteState {
  const { type = UNICAST, nhid, metric = 0, tos } = row;
  const { mtu, ...metrics } = Object.assign({}, ...(row.metrics ?? [])) as Record<string, unknown>;
  const via = nhid === undefined ? parseIp(row.gateway ?? '') : undefined;
  const src = parseIp(row.prefsrc ?? '');
  const key = [
    tos === undefined ? '' : `tos ${tos}`,
    metric === (row.pref === undefined ? 0 : IPV6_METRIC) ? '' : `metric ${metric}`,
  ].filter((word) => word !== '');
  const extra = [
    type === UNICAST || type === THROW ? '' : `type ${type}`,
    via !== undefined && !row.flags.includes('onlink') ? 'offlink' : '',
    row.nexthops === undefined ? '' : JSON.stringify(row.nexthops),
    row.via === undefined || nhid !== undefined ? '' : JSON.stringify(row.via),
    Object.keys(metrics).length === 0 ? '' : JSON.stringify(metrics),
  ].filter((word) => word !== '');
  return {
    table,
    dst,
    ...(type === THROW && { type: 'throw' as const }),
    ...(nhid !== undefined && { nexthopId: nhid }),
    ...(via && { via }),
    // A throw route of IPv6 hangs on lo; one by a next hop shows that one's device.
    ...(nhid === undefined && type !== THROW && row.dev !== undefined && { dev: row.dev }),
    ...(src && { src }),
    ...(typeof mtu === 'number' && { mtuBytes: mtu }),
    ...(key.length > 0 && { key: key.join(' ') }),
    ...(extra.length > 0 && { extra: extra.join(' ') }),
  };
}
