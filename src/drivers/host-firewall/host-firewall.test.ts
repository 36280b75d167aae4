import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fc, test } from '@fast-check/vitest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Packet, possibleOutcomes } from '../../domain/firewall.ts';
import { parseCidr } from '../../net/cidr.ts';
import { CommandError, type Exec, netnsExec } from '../exec/exec.ts';
import { createTestNetns, type TestNetns } from '../test-netns.ts';
import { createHostFirewall } from './host-firewall.ts';
import { parseIptablesSave } from './iptables-save.ts';
import { parseBaseChains, parseNftTable } from './nft-ruleset.ts';

const cidr = (text: string) => parseCidr(text)!;
const FROM_REGION: Packet = {
  hook: 'forward',
  iif: 'raven0',
  saddr: [cidr('10.244.3.0/24'), cidr('10.244.4.0/24')],
  daddr: [cidr('10.244.1.0/24')],
  state: 'new',
  mark: 0,
};
const TUNNEL_PORT: Packet = { hook: 'input', iif: 'eth0', protocol: 'udp', dport: 4500, state: 'new', mark: 0 };

function outcomesOf(rules: readonly string[], packet: Packet = FROM_REGION, policy = 'DROP'): string {
  const text = ['*filter', `:INPUT ${policy} [0:0]`, `:FORWARD ${policy} [0:0]`, ':OTHER - [0:0]', ...rules, 'COMMIT'].join('\n');
  const table = parseIptablesSave(text, 'iptables-nft')!;
  const base = table.bases.find(({ hook }) => hook === packet.hook)!;
  return [...possibleOutcomes(table, base, packet)].toSorted().join();
}

describe('rules of iptables', () => {
  it.each<[string, string[], string]>([
    ['nothing but the policy', [], 'drop'],
    ['our device', ['-A FORWARD -i raven0 -j ACCEPT'], 'accept'],
    ['our device by its beginning', ['-A FORWARD -i rav+ -j ACCEPT'], 'accept'],
    ['another device', ['-A FORWARD -i docker0 -j ACCEPT'], 'drop'],
    ['all but another device', ['-A FORWARD ! -i docker0 -j ACCEPT'], 'accept'],
    ['a device that may be the pod’s', ['-A FORWARD -o cni0 -j ACCEPT'], 'accept,drop'],
    ['the cluster’s addresses', ['-A FORWARD -s 10.244.0.0/16 -j ACCEPT'], 'accept'],
    ['addresses of one region of two', ['-A FORWARD -s 10.244.3.0/24 -j ACCEPT'], 'accept,drop'],
    ['other addresses', ['-A FORWARD -d 172.17.0.0/16 -j ACCEPT'], 'drop'],
    ['answers only', ['-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT'], 'drop'],
    ['new flows', ['-A FORWARD -m state --state NEW -j ACCEPT'], 'accept'],
    ['a mark that nobody sets', ['-A FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT'], 'drop'],
    [
      'a mark that a rule sets',
      ['-A FORWARD -j MARK --set-xmark 0x4000/0x4000', '-A FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT'],
      'accept,drop',
    ],
    ['what cannot be foretold', ['-A FORWARD -m set --match-set known src -j ACCEPT'], 'accept,drop'],
    ['an unknown match of another device', ['-A FORWARD -i docker0 -m set --match-set known src -j ACCEPT'], 'drop'],
    ['a chain that accepts', ['-A FORWARD -j OTHER', '-A OTHER -m comment --comment "a \\"b\\" c" -j ACCEPT'], 'accept'],
    ['a chain that returns', ['-A FORWARD -j OTHER', '-A OTHER -j RETURN', '-A OTHER -j ACCEPT'], 'drop'],
    ['a chain that is gone to', ['-A FORWARD -g OTHER', '-A FORWARD -j ACCEPT'], 'drop'],
    ['a target that is no chain', ['-A FORWARD -j NOVEL --flag', '-A FORWARD -j DROP'], 'accept,drop'],
    ['a chain in a circle', ['-A FORWARD -j OTHER', '-A OTHER -j OTHER'], 'accept,drop'],
  ])('%s', (_what, rules, expected) => {
    expect(outcomesOf(rules)).toBe(expected);
  });

  it('with policy accept drop by their last rule, as RHEL has it', () => {
    expect(outcomesOf(['-A FORWARD -j REJECT --reject-with icmp-host-prohibited'], FROM_REGION, 'ACCEPT')).toBe('drop');
    expect(outcomesOf(['-A FORWARD -i eth9 -j REJECT'], FROM_REGION, 'ACCEPT')).toBe('accept');
  });

  it.each<[string, string, string]>([
    ['our port', '-A INPUT -p udp -m udp --dport 4500 -j ACCEPT', 'accept'],
    ['a range around it', '-A INPUT -p udp -m multiport --dports 53,4000:5000 -j ACCEPT', 'accept'],
    ['another port', '-A INPUT -p udp -m udp --dport 53 -j ACCEPT', 'drop'],
    ['another protocol', '-A INPUT -p tcp -m tcp --dport 4500 -j ACCEPT', 'drop'],
    ['whatever is for this host', '-A INPUT -m addrtype --dst-type LOCAL -j ACCEPT', 'accept'],
    ['some senders', '-A INPUT -s 203.0.113.0/24 -p udp -m udp --dport 4500 -j ACCEPT', 'accept,drop'],
  ])('at the hook input: %s', (_what, rule, expected) => {
    expect(outcomesOf([rule], TUNNEL_PORT)).toBe(expected);
  });

  test.prop([fc.string()])('are read without a complaint, whatever they are', (text) => {
    parseIptablesSave(`*filter\n:FORWARD DROP [0:0]\n-A FORWARD ${text}\n${text}`, 'iptables-legacy');
  });
});

describe('the firewall of a host', () => {
  it('gives its last answer again rather than read all the time', async () => {
    let nowMs = 0;
    let calls = 0;
    const exec: Exec = () => {
      calls++;
      nowMs += 300;
      return Promise.resolve('{"nftables": []}');
    };
    const firewall = createHostFirewall(exec, { legacyTablesFile: '/nonexistent', nowMs: () => nowMs });
    await firewall.read();
    nowMs += 9_000;
    await firewall.read();
    expect(calls).toBe(1);
    nowMs += 1_000;
    await firewall.read();
    expect(calls).toBe(2);
  });

  it('that cannot be read is said once, and is no reason to stop', async () => {
    const said: string[] = [];
    const exec: Exec = (argv) => Promise.reject(new CommandError(argv, 1, 'Operation not permitted'));
    let nowMs = 0;
    const firewall = createHostFirewall(exec, {
      legacyTablesFile: '/nonexistent',
      nowMs: () => (nowMs += 1),
      log: { warn: (fields) => void said.push(JSON.stringify(fields)) },
    });
    expect(await firewall.read()).toEqual([]);
    nowMs += 1000;
    expect(await firewall.read()).toEqual([]);
    expect(said).toEqual(['{"error":"nft -j list chains: Operation not permitted"}']);
  });
});

/** Both back ends as the real tools print them. */
describe.runIf(process.getuid?.() === 0)('real rules', () => {
  let netns: TestNetns;
  let exec: Exec;
  let folder: string;
  beforeAll(async () => {
    netns = await createTestNetns();
    exec = netnsExec(netns.name);
    folder = await mkdtemp(join(tmpdir(), 'raven-firewall-'));
  });
  afterAll(async () => {
    await netns?.remove();
    await rm(folder, { recursive: true, force: true });
  });

  async function nftOutcomes(rules: readonly string[], packet: Packet = FROM_REGION): Promise<string> {
    const chain = `chain base { type filter hook ${packet.hook} priority 10; policy drop;\n${rules.join('\n')}\n}`;
    const chains = `chain other { meta mark set 0x1\n}\n chain accepts { accept\n}\n${chain}`;
    const script = `table inet fw\ndelete table inet fw\ntable inet fw {\nset known { type ipv4_addr; }\n${chains}\n}\n`;
    await exec(['nft', '-f', '-'], { stdin: script });
    const table = parseNftTable(await exec(['nft', '-j', 'list', 'table', 'inet', 'fw']));
    return [...possibleOutcomes(table, table.bases[0]!, packet)].toSorted().join();
  }

  it.each<[string, string]>([
    ['', 'drop'],
    ['iifname "raven0" accept', 'accept'],
    ['iifname { "eth0", "rav*" } accept', 'accept'],
    ['iifname != "raven0" accept', 'drop'],
    ['oifname "cni0" accept', 'accept,drop'],
    ['ip saddr 10.244.0.0/16 ip daddr { 10.244.1.0/24, 10.9.0.1 } counter accept', 'accept'],
    ['ip saddr @known accept', 'accept,drop'],
    ['ip6 saddr fd00::/8 accept', 'drop'],
    ['tcp dport != 22 accept', 'accept,drop'],
    ['ct state { established, related } accept', 'drop'],
    ['ct state established,related accept', 'drop'],
    ['ct state new accept', 'accept'],
    ['ct state vmap { established : accept, new : jump accepts }', 'accept'],
    ['ct status dnat accept', 'drop'],
    ['meta mark & 0x40 == 0x40 accept', 'drop'],
    ['jump other; meta mark 0x1 accept', 'accept,drop'],
    ['limit rate 3/second accept', 'accept,drop'],
    ['meta nfproto ipv6 accept', 'drop'],
    ['fib daddr type local accept', 'drop'],
    ['log prefix "x" jump accepts', 'accept'],
    ['goto other', 'drop'],
  ])('nft: %s', async (rule, expected) => {
    expect(await nftOutcomes(rule.split('; '))).toBe(expected);
  });

  it.each<[string, string]>([
    ['udp dport { 53, 4000-5000 } accept', 'accept'],
    ['udp dport != 4500 accept', 'drop'],
    ['tcp dport != 22 accept', 'drop'],
    ['meta l4proto udp th dport 4500 accept', 'accept'],
    ['fib daddr type local accept', 'accept'],
  ])('nft, hook input: %s', async (rule, expected) => {
    expect(await nftOutcomes([rule], TUNNEL_PORT)).toBe(expected);
  });

  it('of all back ends are found, ours left out, and nothing is made by looking', async () => {
    const legacyTablesFile = join(folder, 'tables');
    await writeFile(legacyTablesFile, 'nat\nfilter\n');
    await nftOutcomes([]);
    await exec(['nft', '-f', '-'], {
      stdin: 'table inet raven { chain f { type filter hook forward priority 0; policy drop; }; }\n',
    });
    await exec(['iptables-legacy', '-w', '-P', 'FORWARD', 'DROP']);
    await exec(['iptables-nft', '-w', '-A', 'FORWARD', '-m', 'conntrack', '--ctstate', 'NEW', '-j', 'ACCEPT']);
    const before = await exec(['nft', 'list', 'ruleset']);
    const tables = await createHostFirewall(exec, { legacyTablesFile }).read();
    expect(tables.map(({ backend, name }) => `${backend} ${name}`)).toEqual([
      'iptables-legacy filter',
      'nft inet fw',
      'iptables-nft filter',
    ]);
    expect(
      tables.map((table) =>
        [
          ...possibleOutcomes(
            table,
            table.bases.find(({ hook }) => hook === 'forward')!,
            FROM_REGION,
          ),
        ].join(),
      ),
    ).toEqual(['drop', 'drop', 'accept']);
    expect(await exec(['nft', 'list', 'ruleset'])).toBe(before);
    expect(parseBaseChains(await exec(['nft', '-j', 'list', 'chains'])).map(({ family, table }) => `${family} ${table}`)).toContain(
      'ip filter',
    );
  });

  it('of iptables-nft are read without its program too; what nft cannot say is not known then', async () => {
    await exec(['iptables-nft', '-w', '-P', 'FORWARD', 'DROP']);
    const withoutSave: Exec = (argv, options) =>
      argv[0] === 'iptables-nft-save' ? Promise.reject(new CommandError(argv, undefined, 'not found')) : exec(argv, options);
    const tables = await createHostFirewall(withoutSave, { legacyTablesFile: '/nonexistent' }).read();
    const table = tables.find(({ backend }) => backend === 'iptables-nft')!;
    const base = table.bases.find(({ hook }) => hook === 'forward')!;
    expect([...possibleOutcomes(table, base, FROM_REGION)].toSorted().join()).toBe('accept,drop');
  });
});
