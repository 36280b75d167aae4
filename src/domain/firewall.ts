import { TUNNEL_DEVICE_PREFIX, VXLAN_DEVICE } from '../api/names.ts';
import { type Cidr, cidrContains, cidrsOverlap } from '../net/cidr.ts';

/** A packet filter of somebody else, as far as it can be read. */
export interface FirewallTable {
  readonly backend: 'iptables-legacy' | 'iptables-nft' | 'nft';
  /** Of nft tables, as nft prints it (`inet firewalld`); `filter` of iptables. */
  readonly name: string;
  /** Chains at the hooks `forward` and `input`, in the order in which packets meet them. */
  readonly bases: readonly BaseChain[];
  /** Rules of all chains. */
  readonly chains: ReadonlyMap<string, readonly FirewallRule[]>;
}

export interface BaseChain {
  readonly name: string;
  readonly hook: 'forward' | 'input';
  /** For packets that no rule decided about. */
  readonly policy: 'accept' | 'drop';
}

/** All of `matches` must hold. */
export interface FirewallRule {
  readonly matches: readonly Match[];
  /** `unknown`: something may happen to the packet that we cannot tell. Absent: it goes on to the next rule. */
  readonly verdict?:
    | { readonly type: 'accept' | 'drop' | 'return' | 'unknown' }
    | { readonly type: 'jump' | 'goto'; readonly chain: string };
  /** Changes the packet's mark, so that later matches on it cannot be foretold. */
  readonly setsMark?: boolean;
}

export type Match = { readonly negated?: boolean } & (
  | { readonly on: 'iif' | 'oif'; /** Names; a star at the end stands for any rest. */ readonly devices: readonly string[] }
  | { readonly on: 'saddr' | 'daddr'; readonly cidrs: readonly Cidr[] }
  | { readonly on: 'family' | 'protocol' | 'state'; readonly values: readonly string[] }
  | { readonly on: 'dport'; readonly ranges: readonly (readonly [first: number, last: number])[] }
  | { readonly on: 'mark'; readonly value: number; readonly mask: number }
  /** Whether the packet is for this host itself. */
  | { readonly on: 'local' }
  /** Whether an address or port of it was translated. */
  | { readonly on: 'translated' }
  | { readonly on: 'unknown' }
);

/** A kind of packet that we depend on. IPv4. */
export interface Packet {
  readonly hook: BaseChain['hook'];
  /** undefined: a device that is not ours, of which no name is known (a pod's, say). */
  readonly iif?: string | undefined;
  readonly oif?: string | undefined;
  /** Absent: any. */
  readonly saddr?: readonly Cidr[];
  readonly daddr?: readonly Cidr[];
  /** Absent: any. */
  readonly protocol?: 'udp';
  readonly dport?: number;
  readonly state: 'new' | 'established' | 'untracked';
  readonly mark: number;
}

export type Outcome = 'accept' | 'drop';
type Truth = 'yes' | 'no' | 'maybe';
type Step = Outcome | 'next';

/** Chains can nest 16 deep (kernel, `NFT_JUMP_STACK_SIZE`); what lies deeper is not ours to judge. */
const DEEPEST = 16;

/**
 * All that a base chain may do to a packet: one outcome when that is sure, both when it hangs on something that we do not know. Pure.
 * Where the packet's addresses are several, those that a rule treats differently count as not known.
 */
export function possibleOutcomes({ chains }: FirewallTable, base: BaseChain, packet: Packet): ReadonlySet<Outcome> {
  const state = { isMarkKnown: true };
  const steps = walk(base.name, 0);
  return new Set([...steps].map((step) => (step === 'next' ? base.policy : step)));

  function walk(chain: string, depth: number): ReadonlySet<Step> {
    const seen = new Set<Step>();
    const rules = chains.get(chain);
    if (rules === undefined || depth > DEEPEST) return new Set(['accept', 'drop', 'next']);
    for (const { matches, verdict, setsMark } of rules) {
      const truth = all(matches.map((match) => judge(match, packet, state.isMarkKnown)));
      if (truth === 'no') continue;
      if (setsMark === true) state.isMarkKnown = false;
      if (verdict === undefined) continue;
      const isLast = follow(verdict, depth, seen);
      if (truth === 'yes' && isLast) return seen;
    }
    return seen.add('next');
  }

  /** Adds what the verdict may lead to; @returns whether no packet comes to the rule behind it */
  function follow(verdict: NonNullable<FirewallRule['verdict']>, depth: number, seen: Set<Step>): boolean {
    switch (verdict.type) {
      case 'accept':
      case 'drop':
        seen.add(verdict.type);
        return true;
      case 'return':
        seen.add('next');
        return true;
      case 'unknown':
        seen.add('accept').add('drop');
        return false;
      case 'goto':
        for (const step of walk(verdict.chain, depth + 1)) seen.add(step);
        return true;
      case 'jump': {
        const steps = walk(verdict.chain, depth + 1);
        for (const step of steps) if (step !== 'next') seen.add(step);
        return !steps.has('next');
      }
    }
  }
}

function all(truths: readonly Truth[]): Truth {
  if (truths.includes('no')) return 'no';
  return truths.includes('maybe') ? 'maybe' : 'yes';
}

function judge(match: Match, packet: Packet, isMarkKnown: boolean): Truth {
  const truth = judgePlain(match, packet, isMarkKnown);
  if (match.negated !== true || truth === 'maybe') return truth;
  return truth === 'yes' ? 'no' : 'yes';
}

function judgePlain(match: Match, packet: Packet, isMarkKnown: boolean): Truth {
  switch (match.on) {
    case 'iif':
      return judgeDevice(match.devices, packet.iif);
    case 'oif':
      return judgeDevice(match.devices, packet.oif);
    case 'saddr':
    case 'daddr':
      return judgeAddress(match.cidrs, packet[match.on]);
    case 'family':
      return truthOf(match.values.includes('ipv4'));
    case 'protocol':
      return packet.protocol === undefined ? 'maybe' : truthOf(match.values.includes(packet.protocol));
    case 'state':
      return truthOf(match.values.includes(packet.state));
    case 'dport':
      return judgePort(match.ranges, packet.dport);
    case 'mark':
      // Shifted to what is without a sign: marks have 32 bits.
      return isMarkKnown ? truthOf((packet.mark & match.mask) >>> 0 === match.value >>> 0) : 'maybe';
    case 'local':
      return truthOf(packet.hook === 'input');
    case 'translated':
      return 'no';
    case 'unknown':
      return 'maybe';
  }
}

function truthOf(value: boolean): Truth {
  return value ? 'yes' : 'no';
}

function judgeDevice(patterns: readonly string[], device: string | undefined): Truth {
  if (patterns.includes('*')) return 'yes';
  if (device !== undefined) return truthOf(patterns.some((pattern) => isNamed(pattern, device)));
  return patterns.every((pattern) => pattern === 'lo' || pattern === VXLAN_DEVICE || pattern.startsWith(TUNNEL_DEVICE_PREFIX))
    ? 'no'
    : 'maybe';
}

function isNamed(pattern: string, device: string): boolean {
  return pattern.endsWith('*') ? device.startsWith(pattern.slice(0, -1)) : device === pattern;
}

function judgeAddress(cidrs: readonly Cidr[], addresses: readonly Cidr[] | undefined): Truth {
  if (cidrs.some((cidr) => cidr.endsWith('/0'))) return 'yes';
  if (addresses === undefined || addresses.length === 0) return 'maybe';
  if (addresses.every((address) => cidrs.some((cidr) => cidrContains(cidr, address)))) return 'yes';
  return addresses.some((address) => cidrs.some((cidr) => cidrsOverlap(cidr, address))) ? 'maybe' : 'no';
}

function judgePort(ranges: readonly (readonly [number, number])[], port: number | undefined): Truth {
  return port === undefined ? 'maybe' : truthOf(ranges.some(([first, last]) => first <= port && port <= last));
}
