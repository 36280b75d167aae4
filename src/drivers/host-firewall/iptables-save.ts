import type { BaseChain, FirewallRule, FirewallTable, Match } from '../../domain/firewall.ts';
import { type Cidr, parseCidr } from '../../net/cidr.ts';

/** Reads table `filter` as `iptables-save -t filter` prints it (`iptables-save(8)`); undefined when that holds no such table. Never throws. */
export function parseIptablesSave(text: string, backend: FirewallTable['backend']): FirewallTable | undefined {
  const chains = new Map<string, FirewallRule[]>();
  const bases: BaseChain[] = [];
  let isFilter = false;
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) isFilter = line.trim() === '*filter';
    if (!isFilter) continue;
    const chain = /^:(\S+) (\S+)/.exec(line);
    if (chain !== null) {
      const [, name = '', policy = ''] = chain;
      chains.set(name, []);
      const hook = HOOKS.get(name);
      if (hook !== undefined && policy !== '-') bases.push({ name, hook, policy: policy === 'DROP' ? 'drop' : 'accept' });
    }
    const [command, name = '', ...words] = tokens(line);
    if (command === '-A') chains.get(name)?.push(parseRule(words));
  }
  return bases.length === 0 ? undefined : { backend, name: 'filter', bases, chains };
}

const HOOKS: ReadonlyMap<string, BaseChain['hook']> = new Map([
  ['FORWARD', 'forward'],
  ['INPUT', 'input'],
]);

/** Words of a line; in quotes, a backslash stands before quotes and backslashes. */
function tokens(line: string): string[] {
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"|\S+/g)].map(([word, quoted]) => quoted?.replaceAll(/\\(.)/g, '$1') ?? word);
}

function parseRule(words: readonly string[]): FirewallRule {
  const matches: Match[] = [];
  let negated = false;
  let at = 0;
  while (at < words.length) {
    const option = words[at] ?? '';
    // Up to the next option; a value can begin with a minus nowhere.
    let end = at + 1;
    while (end < words.length && !/^(!|-.+)$/.test(words[end] ?? '')) end++;
    const values = words.slice(at + 1, end);
    if (option === '-j' || option === '-g') return { matches, ...targetOf(option, values[0] ?? '') };
    if (option === '!') negated = true;
    else {
      if (!WITHOUT_MEANING.has(option)) matches.push({ ...matchOf(option, values), ...(negated && { negated }) });
      negated = false;
    }
    at = end;
  }
  return { matches };
}

/** `-m` only names whose options follow. `--comment`'s text is one word. */
const WITHOUT_MEANING = new Set(['-m', '--comment']);

function matchOf(option: string, values: readonly string[]): Match {
  const [value = ''] = values;
  switch (option) {
    case '-i':
      return { on: 'iif', devices: [value.replace(/\+$/, '*')] };
    case '-o':
      return { on: 'oif', devices: [value.replace(/\+$/, '*')] };
    case '-s':
      return addresses('saddr', value);
    case '-d':
      return addresses('daddr', value);
    case '-p':
      return { on: 'protocol', values: [value] };
    case '--ctstate':
    case '--state':
      // DNAT and SNAT are states in iptables' words; our packets have neither.
      return { on: 'state', values: value.toLowerCase().split(',') };
    case '--dport':
    case '--dports':
      return portMatch(value);
    case '--mark':
      return markMatch(value);
    case '--dst-type':
      return value === 'LOCAL' ? { on: 'local' } : { on: 'unknown' };
    default:
      return { on: 'unknown' };
  }
}

function addresses(on: 'saddr' | 'daddr', value: string): Match {
  const cidr: Cidr | undefined = parseCidr(value.includes('/') ? value : `${value}/32`);
  return cidr === undefined ? { on: 'unknown' } : { on, cidrs: [cidr] };
}

function portMatch(value: string): Match {
  const ranges = value.split(',').map((part) => {
    const [first = Number.NaN, last = first] = part.split(':').map(Number);
    return [first, last] as const;
  });
  return ranges.flat().some(Number.isNaN) ? { on: 'unknown' } : { on: 'dport', ranges };
}

function markMatch(text: string): Match {
  const [value = Number.NaN, mask = 0xffffffff] = text.split('/').map(Number);
  return Number.isNaN(value) || Number.isNaN(mask) ? { on: 'unknown' } : { on: 'mark', value, mask };
}

function targetOf(option: '-j' | '-g', target: string): Pick<FirewallRule, 'verdict' | 'setsMark'> {
  switch (target) {
    case 'ACCEPT':
      return { verdict: { type: 'accept' } };
    case 'DROP':
    case 'REJECT':
      return { verdict: { type: 'drop' } };
    case 'RETURN':
      return { verdict: { type: 'return' } };
    case 'MARK':
    case 'CONNMARK':
      return { setsMark: true };
    case 'LOG':
    case 'NFLOG':
    case 'ULOG':
    case 'TRACE':
    case 'TCPMSS':
    case 'SET':
      return {};
    case 'NFQUEUE':
    case 'QUEUE':
    case 'SYNPROXY':
      return { verdict: { type: 'unknown' } };
    default:
      return { verdict: { type: option === '-g' ? 'goto' : 'jump', chain: target } };
  }
}
