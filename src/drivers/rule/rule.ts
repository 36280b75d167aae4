import { z } from 'zod';
import { OUR_TABLES, ROUTE_PROTOCOL } from '../../api/names.ts';
import { type Observed, ruleText } from '../../domain/kernel-state.ts';
import type { Rule } from '../../domain/node-plan.ts';

const ruleJson = z.array(
  z.looseObject({
    priority: z.int().default(0),
    not: z.unknown().optional(),
    src: z.string().optional(),
    srclen: z.int().optional(),
    dst: z.string().optional(),
    dstlen: z.int().optional(),
    iif: z.string().optional(),
    oif: z.string().optional(),
    ipproto: z.string().optional(),
    dport: z.int().optional(),
    fwmark: z.string().optional(),
    fwmask: z.string().optional(),
    table: z.string().optional(),
    protocol: z.string().optional(),
  }),
);

type RuleJson = z.infer<typeof ruleJson>[number];

/** As the versions of iproute2 print it with `-N`. */
const UDP = /^(ipproto-)?(17|udp)$/;

export interface Rules {
  readonly rules: readonly Observed<Rule>[];
  /** Rules of others that look up our tables. */
  readonly foreign: readonly string[];
}

/** Reads `ip -N -j rule show`. Ours look up one of our tables and carry our protocol number. */
export function parseRules(text: string, family: 4 | 6): Rules {
  const rows = ruleJson.parse(JSON.parse(text)).filter(({ table }) => OUR_TABLES.some((each) => table === String(each)));
  const isOurs = ({ protocol }: RuleJson): boolean => protocol === String(ROUTE_PROTOCOL);
  return {
    rules: rows.filter(isOurs).map((row) => toRule(row, family)),
    foreign: rows.filter((row) => !isOurs(row)).map((row) => `ip rule ${ruleText(toRule(row, family))}`),
  };
}

function toRule(row: RuleJson, family: 4 | 6): Observed<Rule> {
  const ownUdpPort = row.iif === 'lo' && UDP.test(row.ipproto ?? '') ? row.dport : undefined;
  const words = [
    row.not === undefined ? '' : 'not',
    row.src === undefined || row.src === 'all' ? '' : `from ${row.src}${row.srclen === undefined ? '' : `/${row.srclen}`}`,
    row.dst === undefined || row.dst === 'all' ? '' : `to ${row.dst}${row.dstlen === undefined ? '' : `/${row.dstlen}`}`,
    row.iif === undefined || ownUdpPort !== undefined ? '' : `iif ${row.iif}`,
    row.oif === undefined ? '' : `oif ${row.oif}`,
  ].filter((word) => word !== '');
  const mark = row.fwmark === undefined ? undefined : { value: Number(row.fwmark), mask: Number(row.fwmask ?? 0xffffffff) };
  return {
    pref: row.priority,
    family,
    table: Number(row.table),
    ...(mark && { mark }),
    ...(ownUdpPort !== undefined && { ownUdpPort }),
    ...(words.length > 0 && { extra: words.join(' ') }),
  };
}
