import { type Family, familyOf } from '../../net/ip.ts';
import type { Exec } from '../exec/exec.ts';

/** One direction of a CHILD_SA in the kernel. */
export interface XfrmState {
  readonly src: string;
  readonly dst: string;
  /** Hex without leading zeros. */
  readonly spi: string;
  readonly ifId: number;
}

/** IPsec in the kernel (`ip-xfrm(8)`), as far as it belongs to XFRM interfaces. */
export interface XfrmView {
  readonly states: readonly XfrmState[];
  /** Which policies there are, each as `policyKey` writes it. */
  readonly policies: ReadonlySet<string>;
}

export const POLICY_DIRECTIONS = ['in', 'out', 'fwd'] as const;
export type PolicyDirection = (typeof POLICY_DIRECTIONS)[number];

export function policyKey(ifId: number, family: Family, dir: PolicyDirection): string {
  return `if_id ${ifId} inet${family} dir ${dir}`;
}

/** Interface ids that the planner gives; nobody else's states and policies have them. */
const OUR_IF_IDS = { first: 0x52000000, last: 0x52ffffff } as const;

export async function observeXfrm(exec: Exec): Promise<XfrmView> {
  const [states, policies] = await Promise.all([exec(['ip', 'xfrm', 'state']), exec(['ip', 'xfrm', 'policy'])]);
  return { states: parseStates(states), policies: parsePolicies(policies) };
}

/** Removes states by what identifies them. A state that has gone already is no failure. */
export async function deleteStates(exec: Exec, states: readonly XfrmState[]): Promise<void> {
  if (states.length === 0) return;
  const lines = states.map(({ src, dst, spi }) => `xfrm state delete src ${src} dst ${dst} proto esp spi 0x${spi}`);
  await runForced(exec, lines);
}

/** Removes what a killed charon left: states and policies with ids of our range. Foreign ones stay, also those without any id. */
export async function removeOurs(exec: Exec): Promise<void> {
  const [stateText, policyText] = await Promise.all(['state', 'policy'].map((what) => textOr(exec, ['ip', 'xfrm', what])));
  const states = parseStates(stateText ?? '').filter(({ ifId }) => isOurs(ifId));
  await deleteStates(exec, states);
  const policies = parsePolicyEntries(policyText ?? '').filter(({ ifId }) => isOurs(ifId));
  const lines = policies.map(({ src, dst, dir, ifId }) => `xfrm policy delete src ${src} dst ${dst} dir ${dir} if_id ${ifId}`);
  if (lines.length > 0) await runForced(exec, lines);
}

/** Reads `ip xfrm state`; states without interface id are left out. */
export function parseStates(text: string): XfrmState[] {
  return blocks(text).flatMap((block) => {
    const [, src, dst] = /^src (\S+) dst (\S+)/.exec(block) ?? [];
    const spi = /\bproto esp spi 0x0*([0-9a-f]+)/.exec(block)?.[1];
    const ifId = ifIdOf(block);
    return src === undefined || dst === undefined || spi === undefined || ifId === undefined ? [] : [{ src, dst, spi, ifId }];
  });
}

/** Reads `ip xfrm policy`; policies without interface id are left out. */
export function parsePolicies(text: string): Set<string> {
  return new Set(parsePolicyEntries(text).map(({ ifId, src, dir }) => policyKey(ifId, familyOf(src), dir)));
}

function parsePolicyEntries(text: string): { src: string; dst: string; dir: PolicyDirection; ifId: number }[] {
  return blocks(text).flatMap((block) => {
    const [, src, dst] = /^src (\S+) dst (\S+)/.exec(block) ?? [];
    const dir = POLICY_DIRECTIONS.find((each) => block.includes(`\tdir ${each} `));
    const ifId = ifIdOf(block);
    return src === undefined || dst === undefined || dir === undefined || ifId === undefined ? [] : [{ src, dst, dir, ifId }];
  });
}

/** Each entry begins at the left margin. */
function blocks(text: string): string[] {
  return text.split(/\n(?=\S)/);
}

function ifIdOf(block: string): number | undefined {
  const [, hex] = /\bif_id (0x[0-9a-f]+)/.exec(block) ?? [];
  return hex === undefined ? undefined : Number(hex);
}

function isOurs(ifId: number): boolean {
  return ifId >= OUR_IF_IDS.first && ifId <= OUR_IF_IDS.last;
}

/** A kernel without XFRM holds nothing of ours. */
async function textOr(exec: Exec, argv: readonly [string, ...string[]]): Promise<string> {
  try {
    return await exec(argv);
  } catch {
    return '';
  }
}

/** `-force`: a line that fails (the object has gone) does not keep the others from being run. */
async function runForced(exec: Exec, lines: readonly string[]): Promise<void> {
  try {
    await exec(['ip', '-force', '-batch', '-'], { stdin: `${lines.join('\n')}\n` });
  } catch {
    // Exit code 1 says that some line failed; the caller looks again.
  }
}
