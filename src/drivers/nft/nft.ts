import { z } from 'zod';
import { NFT_TABLE } from '../../api/names.ts';
import type { NftState } from '../../domain/nft-text.ts';
import type { NftChain, NftSet } from '../../domain/node-plan.ts';
import { compareText } from '../../lib/compare.ts';
import { type Cidr, hostCidr, parseCidr } from '../../net/cidr.ts';
import { parseIp } from '../../net/ip.ts';
import { CommandError, type Exec } from '../exec/exec.ts';

/** `libnftables-json(5)` */
const object = z.looseObject({
  name: z.string().default(''),
  chain: z.string().optional(),
  handle: z.int().optional(),
  comment: z.string().optional(),
  type: z.unknown().optional(),
  hook: z.string().optional(),
  prio: z.int().optional(),
  policy: z.string().optional(),
  flags: z.union([z.string(), z.array(z.string())]).optional(),
  elem: z.array(z.unknown()).optional(),
});
const listing = z.looseObject({ nftables: z.array(z.record(z.string(), object)) });
const prefixElement = z.object({ prefix: z.object({ addr: z.string(), len: z.int() }) });

type Obj = z.infer<typeof object>;

/** Lists table `inet raven`; undefined when there is none. */
export async function listNft(exec: Exec): Promise<NftState | undefined> {
  try {
    return parseNft(await exec(['nft', '-j', 'list', 'table', 'inet', NFT_TABLE]));
  } catch (error) {
    if (error instanceof CommandError && error.exitCode === 1 && error.stderr.includes('No such file or directory')) return undefined;
    throw error;
  }
}

/** Reads `nft -j list table inet raven`. */
export function parseNft(text: string): NftState {
  const objects = listing.parse(JSON.parse(text)).nftables.flatMap((entry) => Object.entries(entry));
  const of = (kind: string): Obj[] => objects.filter(([name]) => name === kind).map(([, value]) => value);
  const rules = Map.groupBy(of('rule'), ({ chain }) => chain);
  const sets = of('set').map(toSet);
  return {
    name: of('table')[0]?.name ?? NFT_TABLE,
    chains: of('chain')
      .map((chain) => toChain(chain, rules.get(chain.name) ?? []))
      .toSorted((a, b) => compareText(a.name, b.name)),
    sets: sets.map(({ set }) => set).toSorted((a, b) => compareText(a.name, b.name)),
    other: [
      ...objects.filter(([kind]) => !KNOWN.has(kind)).map(([kind, { name }]) => `${kind} ${name}`),
      // `dormant` switches a whole table off.
      ...of('table').flatMap(({ flags }) => (flags === undefined ? [] : [`flags ${String(flags)}`])),
      ...sets.flatMap(({ other }) => other),
    ],
  };
}

const KNOWN = new Set(['metainfo', 'table', 'chain', 'rule', 'set']);

function toChain({ name, type, hook, prio, policy }: Obj, rules: readonly Obj[]): NftState['chains'][number] {
  return {
    name,
    // Words that we do not know differ from every plan, and that is all they are for.
    type: String(type) as NftChain['type'],
    hook: String(hook) as NftChain['hook'],
    priority: prio ?? 0,
    policy: policy ?? '',
    rules: rules.map(({ comment, handle }) => comment ?? `handle ${handle}`),
  };
}

/** A set, and what is in it or about it that we never made. */
function toSet({ name, type, flags, elem = [] }: Obj): { readonly set: NftSet; readonly other: readonly string[] } {
  const other = String(flags) === 'interval' ? [] : [`set ${name} flags ${String(flags)}`];
  const elements: Cidr[] = [];
  for (const element of elem) {
    const cidr = toElement(element);
    if (cidr === undefined) other.push(`set ${name} element ${JSON.stringify(element)}`);
    else elements.push(cidr);
  }
  return { set: { name, type: String(type) as NftSet['type'], elements: elements.toSorted(compareText) }, other };
}

/** A single address, or a prefix; not a range, nor an element with a timeout. */
function toElement(element: unknown): Cidr | undefined {
  if (typeof element === 'string') {
    const ip = parseIp(element);
    return ip && hostCidr(ip);
  }
  const { data } = prefixElement.safeParse(element);
  return data && parseCidr(`${data.prefix.addr}/${data.prefix.len}`);
}
