import { z } from 'zod';
import { NEXTHOP_ID_FIRST } from '../../api/names.ts';
import type { Observed } from '../../domain/kernel-state.ts';
import type { Nexthop } from '../../domain/node-plan.ts';
import { familyOf, parseIp } from '../../net/ip.ts';

const nexthopJson = z.array(
  z.looseObject({
    id: z.int(),
    gateway: z.string().optional(),
    dev: z.string().optional(),
    flags: z.array(z.string()).default([]),
    blackhole: z.unknown().optional(),
    group: z.unknown().optional(),
    fdb: z.unknown().optional(),
    encap: z.unknown().optional(),
  }),
);

/** Ids up to here are ours. */
const NEXTHOP_ID_LAST = NEXTHOP_ID_FIRST + 0xffff;

/** What `plan` never makes. */
const KINDS = ['blackhole', 'group', 'fdb', 'encap'] as const;

/**
 * Reads `ip -j nexthop show`, which has all families and does not say which (seen with iproute2 6.1).
 *
 * @param ipv6Text the same of `ip -6`
 */
export function parseNexthops(text: string, ipv6Text: string): Observed<Nexthop>[] {
  const ipv6 = new Set(nexthopJson.parse(JSON.parse(ipv6Text)).map(({ id }) => id));
  return nexthopJson
    .parse(JSON.parse(text))
    .filter(({ id }) => id >= NEXTHOP_ID_FIRST && id <= NEXTHOP_ID_LAST)
    .map((row) => {
      const via = parseIp(row.gateway ?? '');
      const words = KINDS.filter((kind) => row[kind] !== undefined).map((kind) => `${kind} ${JSON.stringify(row[kind])}`);
      if (via !== undefined && !row.flags.includes('onlink')) words.push('offlink');
      const family = via === undefined ? (ipv6.has(row.id) ? 6 : 4) : familyOf(via);
      return { id: row.id, dev: row.dev ?? '', family, ...(via && { via }), ...(words.length > 0 && { extra: words.join(' ') }) };
    });
}
