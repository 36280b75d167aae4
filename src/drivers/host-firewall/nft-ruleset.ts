import { z } from 'zod';
import type { FirewallRule, FirewallTable, Match } from '../../domain/firewall.ts';
import { type Cidr, parseCidr } from '../../net/cidr.ts';

/** `libnftables-json(5)`, as far as verdicts need it. */
const statement = z.record(z.string(), z.unknown());
const object = z.looseObject({
  family: z.string().default(''),
  table: z.string().default(''),
  name: z.string().default(''),
  chain: z.string().default(''),
  type: z.unknown().optional(),
  hook: z.string().optional(),
  prio: z.int().default(0),
  policy: z.string().default('accept'),
  expr: z.array(statement).default([]),
});
const listing = z.object({ nftables: z.array(z.record(z.string(), object)) });

/** A chain at the hook forward or input that can drop packets. */
export interface NftBaseChain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
}

/** Reads `nft -j list chains`: where packets that we care for are judged. */
export function parseBaseChains(text: string): NftBaseChain[] {
  return objectsOf(text, 'chain').filter(isBase);
}

/** Families whose chains see IPv4 packets on their way through or to the host. */
const FAMILIES = new Set(['ip', 'inet']);

function isBase({ family, type, hook }: z.infer<typeof object>): boolean {
  return FAMILIES.has(family) && type === 'filter' && (hook === 'forward' || hook === 'input');
}

/** Reads `nft -j list table FAMILY NAME`. */
export function parseNftTable(text: string): FirewallTable {
  const chains = objectsOf(text, 'chain');
  const rules = new Map<string, FirewallRule[]>(chains.map(({ name }) => [name, []]));
  for (const { chain, expr } of objectsOf(text, 'rule')) rules.get(chain)?.push(...parseRules(expr));
  const bases = chains.filter(isBase).toSorted((a, b) => a.prio - b.prio);
  const [first] = bases;
  return {
    backend: 'nft',
    name: first === undefined ? '' : `${first.family} ${first.table}`,
    bases: bases.map(({ name, hook, policy }) => ({
      name,
      hook: hook === 'input' ? 'input' : 'forward',
      policy: policy === 'drop' ? 'drop' : 'accept',
    })),
    chains: rules,
  };
}

function objectsOf(text: string, kind: string): z.infer<typeof object>[] {
  return listing.parse(JSON.parse(text)).nftables.flatMap((entry) => (entry[kind] === undefined ? [] : [entry[kind]]));
}

/** One rule; or several, one for each entry of its verdict map. */
function parseRules(expr: readonly Readonly<Record<string, unknown>>[]): FirewallRule[] {
  const matches: Match[] = [];
  let setsMark = false;
  for (const [name, value] of expr.flatMap((each) => Object.entries(each))) {
    if (name === 'match') matches.push(parseMatch(value));
    else if (name === 'vmap') return parseVmap(value).map((rule) => ({ ...rule, matches: [...matches, ...rule.matches] }));
    else if (name === 'mangle') setsMark = true;
    else if (name === 'limit' || isXtMatch(name, value)) matches.push({ on: 'unknown' });
    else if (!WITHOUT_MEANING.has(name)) return [{ matches, setsMark, verdict: parseVerdict(name, value) }];
  }
  return [{ matches, setsMark }];
}

const WITHOUT_MEANING = new Set(['counter', 'log', 'notrack', 'flow', 'quota', 'set', 'comment']);
const xt = z.object({ type: z.string(), name: z.string() });

/** What iptables-nft cannot say in nft's words; what it matches is told by iptables-nft-save only. */
function isXtMatch(name: string, value: unknown): boolean {
  return name === 'xt' && xt.safeParse(value).data?.type === 'match';
}

const jump = z.object({ target: z.string() });

function parseVerdict(name: string, value: unknown): NonNullable<FirewallRule['verdict']> {
  switch (name) {
    case 'accept':
    case 'drop':
    case 'return':
      return { type: name };
    case 'reject':
      return { type: 'drop' };
    case 'jump':
    case 'goto': {
      const { data } = jump.safeParse(value);
      return data === undefined ? { type: 'unknown' } : { type: name, chain: data.target };
    }
    case 'xt':
      return { type: xt.safeParse(value).data?.name === 'REJECT' ? 'drop' : 'unknown' };
    default:
      return { type: 'unknown' };
  }
}

const vmap = z.object({ key: z.unknown(), data: z.object({ set: z.array(z.tuple([z.unknown(), statement])) }) });

function parseVmap(value: unknown): FirewallRule[] {
  const { data } = vmap.safeParse(value);
  if (data === undefined) return [{ matches: [], verdict: { type: 'unknown' } }];
  return data.data.set.map(([key, verdict]) => {
    const [[name, argument] = ['', undefined]] = Object.entries(verdict);
    return { matches: [parseMatch({ op: '==', left: data.key, right: key })], verdict: parseVerdict(name, argument) };
  });
}

const matchJson = z.object({ op: z.string(), left: z.unknown(), right: z.unknown() });
const UNKNOWN: Match = { on: 'unknown' };
/** Whoever looks at a header means packets that have it, whatever is asked of it. */
const IMPLIED: ReadonlyMap<string, Match> = new Map([
  ['ip6', { on: 'family', values: ['ipv6'] }],
  ...['tcp', 'icmp', 'icmpv6', 'sctp'].map((protocol): [string, Match] => [protocol, { on: 'protocol', values: [protocol] }]),
]);

function parseMatch(value: unknown): Match {
  const { data } = matchJson.safeParse(value);
  if (data === undefined || !['==', '!=', 'in'].includes(data.op)) return UNKNOWN;
  const key = keyOf(data.left);
  const implied = IMPLIED.get(key.split(' ')[0] ?? '');
  if (implied !== undefined) return implied;
  const match = parsePositive(key, data.left, valuesOf(data.right));
  return data.op === '!=' ? { ...match, negated: true } : match;
}

const keyJson = z.union([
  z.object({ meta: z.object({ key: z.string() }) }).transform(({ meta }) => meta.key),
  z.object({ ct: z.object({ key: z.string() }) }).transform(({ ct }) => `ct ${ct.key}`),
  z.object({ payload: z.object({ protocol: z.string(), field: z.string() }) }).transform(({ payload: p }) => `${p.protocol} ${p.field}`),
  z
    .object({ fib: z.object({ result: z.string(), flags: z.array(z.string()) }) })
    .transform(({ fib }) => `fib ${fib.flags.join()} ${fib.result}`),
]);

/** As nft(8) writes it. */
function keyOf(left: unknown): string {
  return keyJson.safeParse(left).data ?? '';
}

/** The members of a set, or the one value. */
function valuesOf(right: unknown): readonly unknown[] {
  if (Array.isArray(right)) return right;
  return z.object({ set: z.array(z.unknown()) }).safeParse(right).data?.set ?? [right];
}

function parsePositive(key: string, left: unknown, values: readonly unknown[]): Match {
  const texts = values.filter((value) => typeof value === 'string');
  const isPlain = texts.length === values.length && !texts.some((text) => text.startsWith('@'));
  switch (key) {
    case 'iifname':
    case 'iif':
      return isPlain ? { on: 'iif', devices: texts } : UNKNOWN;
    case 'oifname':
    case 'oif':
      return isPlain ? { on: 'oif', devices: texts } : UNKNOWN;
    case 'nfproto':
      return isPlain ? { on: 'family', values: texts } : UNKNOWN;
    case 'l4proto':
    case 'ip protocol':
      return isPlain ? { on: 'protocol', values: texts } : UNKNOWN;
    case 'ct state':
      return isPlain ? { on: 'state', values: texts } : UNKNOWN;
    case 'ct status':
      return isPlain && texts.every((text) => text.endsWith('nat')) ? { on: 'translated' } : UNKNOWN;
    case 'fib daddr type':
      return isPlain && texts.join() === 'local' ? { on: 'local' } : UNKNOWN;
    case 'ip saddr':
      return addresses('saddr', values);
    case 'ip daddr':
      return addresses('daddr', values);
    case 'udp dport':
    case 'th dport':
      return ports(values);
    case 'mark':
      return marks(values, 0xffffffff);
    default:
      return maskedMark(left, values);
  }
}

const prefix = z.union([
  z.string().transform((text) => parseCidr(text.includes('/') ? text : `${text}/32`)),
  z.object({ prefix: z.object({ addr: z.string(), len: z.int() }) }).transform(({ prefix: { addr, len } }) => parseCidr(`${addr}/${len}`)),
]);

function addresses(on: 'saddr' | 'daddr', values: readonly unknown[]): Match {
  const cidrs = values.map((value) => prefix.safeParse(value).data).filter((cidr): cidr is Cidr => cidr !== undefined);
  return cidrs.length === values.length ? { on, cidrs } : UNKNOWN;
}

const portRange = z.union([
  z.int().transform((port) => [port, port] as const),
  z.object({ range: z.tuple([z.int(), z.int()]) }).transform(({ range }) => range),
]);

function ports(values: readonly unknown[]): Match {
  const ranges = values.map((value) => portRange.safeParse(value).data).filter((range) => range !== undefined);
  return ranges.length === values.length ? { on: 'dport', ranges } : UNKNOWN;
}

function marks(values: readonly unknown[], mask: number): Match {
  const [value] = values;
  return values.length === 1 && typeof value === 'number' ? { on: 'mark', value, mask } : UNKNOWN;
}

const masked = z.object({ '&': z.tuple([z.object({ meta: z.object({ key: z.literal('mark') }) }), z.int()]) });

function maskedMark(left: unknown, values: readonly unknown[]): Match {
  const { data } = masked.safeParse(left);
  return data === undefined ? UNKNOWN : marks(values, data['&'][1]);
}
