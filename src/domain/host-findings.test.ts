import { describe, expect, it } from 'vitest';
import { parseCidr } from '../net/cidr.ts';
import { parseIp } from '../net/ip.ts';
import type { FirewallRule, FirewallTable } from './firewall.ts';
import { hostFindings } from './host-findings.ts';
import { unfitFinding } from './host-needs.ts';
import { plan } from './plan.ts';
import { buildSnapshot } from './snapshot.ts';
import { type Gateway, gatewaySchema } from '../api/gateway.ts';

function region(name: string, publicIP: string | undefined, nodes: Readonly<Record<string, string>>): Gateway {
  const [first = ''] = Object.keys(nodes);
  const endpoint = { nodeName: first, type: 'tunnel', port: 4500, ...(publicIP === undefined ? { underNAT: true } : { publicIP }) };
  return gatewaySchema.parse({
    apiVersion: 'raven.openyurt.io/v1beta1',
    kind: 'Gateway',
    metadata: { name },
    spec: { endpoints: [endpoint] },
    status: {
      nodes: Object.entries(nodes).map(([nodeName, subnet], i) => ({ nodeName, privateIP: `192.168.1.${10 + i}`, subnets: [subnet] })),
      activeEndpoints: [endpoint],
    },
  });
}

const snapshot = buildSnapshot(
  [region('a', '203.0.113.1', { a1: '10.244.1.0/24', a2: '10.244.2.0/24' }), region('b', undefined, { b1: '10.244.3.0/24' })],
  [],
);

const FACTS = { hostSources: { 4: parseIp('10.244.1.1')! }, ipv6Forwarding: undefined, driver: 'ipsec', dataPath: 'kernel' } as const;

function planOf(node: string, firewall: readonly FirewallTable[] = []) {
  const underlay = { dev: 'eth0', mtuBytes: 1500, prefixes: [parseCidr('192.168.1.0/24')!] };
  return plan({ node, snapshot, facts: { ...FACTS, underlay, firewall }, health: new Map() });
}

function table(
  hook: 'forward' | 'input',
  rules: readonly FirewallRule[] = [],
  backend: FirewallTable['backend'] = 'iptables-nft',
): FirewallTable {
  const name = backend === 'nft' ? 'inet firewalld' : 'filter';
  return { backend, name, bases: [{ name: 'CHAIN', hook, policy: 'drop' }], chains: new Map([['CHAIN', rules]]) };
}

const messages = (node: string, ...tables: FirewallTable[]) =>
  hostFindings(planOf(node), tables).map(({ reason, message }) => `${reason}: ${message}`);
const accept = { type: 'accept' } as const;

describe('what firewalls of the host do', () => {
  it('a gateway needs its tunnels open both ways, by whatever name', () => {
    expect(messages('a1', table('forward'))).toEqual([
      'ForwardDropped: a firewall of this host drops forwarded packets of other regions: iptables-nft table filter, chain CHAIN (policy drop); ' +
        'to open it: iptables-nft -I CHAIN -i rvn-+ -j ACCEPT; iptables-nft -I CHAIN -o rvn-+ -j ACCEPT',
    ]);
  });

  it("an ordinary node needs raven0; each table is told in its own tool's words", () => {
    expect(messages('a2', table('forward', [], 'nft'))).toEqual([
      'ForwardDropped: a firewall of this host drops forwarded packets of other regions: nft table inet firewalld, chain CHAIN (policy drop); ' +
        `to open it: nft insert rule inet firewalld CHAIN 'iifname "raven0" accept'; nft insert rule inet firewalld CHAIN 'oifname "raven0" accept'`,
    ]);
    expect(messages('a2', table('forward'), table('forward', [], 'iptables-legacy'))).toHaveLength(2);
  });

  it('half an opening is named as the other half', () => {
    const [message] = messages('a2', table('forward', [{ matches: [{ on: 'iif', devices: ['raven0'] }], verdict: accept }]));
    expect(message).toMatch(/to open it: iptables-nft -I CHAIN -o raven0 -j ACCEPT$/);
  });

  it('a gateway passes untracked packets on, which no rule for known flows accepts', () => {
    const tracked: FirewallRule = { matches: [{ on: 'state', values: ['new', 'established', 'related'] }], verdict: accept };
    expect(messages('a2', table('forward', [tracked]))).toEqual([]);
    expect(messages('a1', table('forward', [tracked]))).toHaveLength(1);
  });

  it('says nothing where it cannot know', () => {
    expect(messages('a1', table('forward', [{ matches: [{ on: 'unknown' }], verdict: accept }]))).toEqual([]);
    expect(messages('a1')).toEqual([]);
  });

  it('whoever waits for calls needs its port open; who calls, for answers only', () => {
    const ports = (node: string, ...rules: FirewallRule[]) =>
      [...(messages(node, table('input', rules))[0] ?? '').matchAll(/--dport (\d+)/g)].map(([, port]) => port);
    const answers: FirewallRule = { matches: [{ on: 'state', values: ['established'] }], verdict: accept };
    expect(ports('a1', answers)).toEqual(['4472', '4500', '4473']);
    expect(ports('a2', answers)).toEqual(['4472']);
    expect(ports('b1', answers)).toEqual(['4473']);
    expect(ports('b1')).toEqual(['4500', '4473']);
  });

  it('is among the findings of the plan, which is the same otherwise', () => {
    const tables = [table('forward')];
    const planned = planOf('a1', tables);
    expect(planned.findings).toEqual([...planOf('a1').findings, ...hostFindings(planOf('a1'), tables)]);
    expect({ ...planned, findings: [] }).toEqual({ ...planOf('a1'), findings: [] });
  });
});

describe('a machine that lacks something', () => {
  it('carries nothing; what only gateways need stops nobody else', () => {
    expect(unfitFinding({ node: [], gateway: [] }, true)).toBeUndefined();
    expect(unfitFinding({ node: [], gateway: ['TUN devices'] }, false)).toBeUndefined();
    expect(unfitFinding({ node: ['program nft'], gateway: ['TUN devices'] }, true)?.message).toMatch(/lacks program nft; TUN devices: /);
    const facts = { ...FACTS, underlay: undefined };
    const lacking = (node: string, ...lacks: string[]) =>
      plan({ node, snapshot, facts: { ...facts, lacks: { node: lacks, gateway: ['TUN devices'] } }, health: new Map() });
    expect(lacking('a1').findings.map(({ reason }) => reason)).toEqual(['HostUnfit']);
    expect(lacking('a2').findings.map(({ reason }) => reason)).toEqual(['NodeAddressMissing']);
    expect(lacking('a2', 'program nft')).toMatchObject({ role: 'none', links: [], rules: [], nft: undefined });
    expect(lacking('nobody', 'program nft').findings.map(({ reason }) => reason)).toEqual(['NoRegion']);
  });
});
