import { describe, expect, it } from 'vitest';
import { EXTRA_CIDRS_ANNOTATION } from '../api/names.ts';
import { nodeFacts } from './node-facts.ts';
import { regionStatus } from './region-status.ts';
import { type NodeInput, testGateway, testNode } from './test-objects.ts';

/** `b1 192.168.1.10: 10.1.0.0/24` for each node, then what was left out. */
function printed(nodes: Readonly<Record<string, NodeInput>>, extra?: string, active: readonly string[] = []): string[] {
  const gateway = testGateway('b', { ...(extra !== undefined && { annotations: { [EXTRA_CIDRS_ANNOTATION]: extra } }), active });
  const facts = Object.entries(nodes).map(([name, input]) => nodeFacts(testNode(name, { region: 'b', ...input })));
  const status = regionStatus({ gateway, nodes: facts, active: gateway.status?.activeEndpoints ?? [] });
  return [
    ...status.nodes.map(({ nodeName, privateIP, subnets }) => `${nodeName} ${privateIP}: ${subnets.join(' ')}`),
    ...status.findings.map(({ reason, message }) => `${reason}: ${message}`),
  ];
}

describe('regionStatus', () => {
  it('lists every node, fit or not, by name, with podCIDRs before podCIDR', () => {
    expect(
      printed({
        b2: { ready: 'False', podCIDR: '10.2.0.0/24' },
        b1: { podCIDRs: ['10.1.0.0/24', 'fd00:1::/64'], podCIDR: '10.9.0.0/24' },
        b3: { podCIDRs: [], podCIDR: '10.3.0.0/24', ip: 'b3.example' },
      }),
    ).toMatchInlineSnapshot(`
      [
        "b1 192.168.1.10: 10.1.0.0/24 fd00:1::/64",
        "b2 192.168.1.10: 10.2.0.0/24",
        "b3 : 10.3.0.0/24",
      ]
    `);
  });

  it('leaves out empty, unparsable and harmful CIDRs and names them (raven#180, #167, #169: they crashed agents)', () => {
    expect(
      printed({
        b1: { podCIDR: '' },
        b2: { podCIDRs: ['', 'nonsense', '10.300.0.0/24', '10.2.0.0/24'] },
        b3: { podCIDRs: ['0.0.0.0/0', '10.0.0.0/7', '127.0.0.0/8', '169.254.0.0/24', '224.0.1.0/24', 'fd00::/15', 'fe80::/64', '::/0'] },
        b4: { podCIDRs: ['192.168.0.0/16', '10.4.0.0/24'] },
        b5: { podCIDRs: ['203.0.113.0/24', '2001:db8::/64', '10.5.0.0/24'] },
        b6: {},
      }),
    ).toMatchInlineSnapshot(`
      [
        "b1 192.168.1.10: ",
        "b2 192.168.1.10: 10.2.0.0/24",
        "b3 192.168.1.10: ",
        "b4 192.168.1.10: 10.4.0.0/24",
        "b5 192.168.1.10: 203.0.113.0/24 2001:db8::/64 10.5.0.0/24",
        "b6 192.168.1.10: ",
        "EmptyPodCIDR: node b1: has no pod CIDR, or an empty one",
        "EmptyPodCIDR: node b2: has no pod CIDR, or an empty one",
        "InvalidPodCIDR: node b2: pod CIDR "nonsense" is no CIDR",
        "InvalidPodCIDR: node b2: pod CIDR "10.300.0.0/24" is no CIDR",
        "InvalidPodCIDR: node b3: 0.0.0.0/0 is too wide, or not for pods (loopback, link-local, multicast, reserved)",
        "InvalidPodCIDR: node b3: 10.0.0.0/7 is too wide, or not for pods (loopback, link-local, multicast, reserved)",
        "InvalidPodCIDR: node b3: 127.0.0.0/8 is too wide, or not for pods (loopback, link-local, multicast, reserved)",
        "InvalidPodCIDR: node b3: 169.254.0.0/24 is too wide, or not for pods (loopback, link-local, multicast, reserved)",
        "InvalidPodCIDR: node b3: 224.0.1.0/24 is too wide, or not for pods (loopback, link-local, multicast, reserved)",
        "InvalidPodCIDR: node b3: fd00::/15 is too wide, or not for pods (loopback, link-local, multicast, reserved)",
        "InvalidPodCIDR: node b3: fe80::/64 is too wide, or not for pods (loopback, link-local, multicast, reserved)",
        "InvalidPodCIDR: node b3: ::/0 is too wide, or not for pods (loopback, link-local, multicast, reserved)",
        "InvalidPodCIDR: node b4: 192.168.0.0/16 holds the node's own address 192.168.1.10",
        "EmptyPodCIDR: node b6: has no pod CIDR, or an empty one",
      ]
    `);
  });

  it('takes the same CIDR once, and clears host bits', () => {
    expect(printed({ b1: { podCIDRs: ['10.1.0.7/24', '10.1.0.0/24', ' 10.1.0.0/24 '] } })).toEqual(['b1 192.168.1.10: 10.1.0.0/24']);
  });

  it("gives the annotation's CIDRs to the first active tunnel endpoint, also the LAN that it stands in", () => {
    const nodes = { b1: { podCIDR: '10.1.0.0/24' }, b3: { podCIDR: '10.3.0.0/24' } };
    expect(printed(nodes, ' 192.168.1.0/24 ,,10.3.0.0/24,what, 0.0.0.0/0', ['b1 proxy', 'b3'])).toMatchInlineSnapshot(`
      [
        "b1 192.168.1.10: 10.1.0.0/24",
        "b3 192.168.1.10: 10.3.0.0/24 192.168.1.0/24",
        "InvalidExtraCIDR: annotation raven.openyurt.io/extra-allowed-source-cidrs: "what" is no CIDR",
        "InvalidExtraCIDR: annotation raven.openyurt.io/extra-allowed-source-cidrs: 0.0.0.0/0 is too wide, or not for pods (loopback, link-local, multicast, reserved)",
      ]
    `);
    expect(printed(nodes, '192.168.1.0/24')).toEqual(['b1 192.168.1.10: 10.1.0.0/24', 'b3 192.168.1.10: 10.3.0.0/24']);
  });
});

describe('nodeFacts', () => {
  it('goes by the first condition of type Ready', () => {
    const node = testNode('b1', { ready: 'Unknown' });
    const status = {
      conditions: [{ type: 'Ready', status: 'False' as const, reason: '', message: '' }, ...(node.status?.conditions ?? [])],
    };
    expect(nodeFacts({ ...node, status }).isReady).toBe(false);
    expect(nodeFacts(testNode('b1')).isReady).toBe(true);
    expect(nodeFacts({ ...node, status: undefined }).isReady).toBe(false);
  });

  it('takes the first InternalIP that parses', () => {
    const addresses = ['ExternalIP 203.0.113.9', 'InternalIP x', 'InternalIP fd00:0::1', 'InternalIP 10.0.0.1'].map((text) => {
      const [type = '', address = ''] = text.split(' ');
      return { type, address };
    });
    expect(nodeFacts({ ...testNode('b1'), status: { addresses } }).privateIp).toBe('fd00::1');
  });

  it('sees Calico by its annotations, and an empty label as none', () => {
    const node = testNode('b1', { podCIDR: '10.1.0.0/24', annotations: { 'projectcalico.org/IPv4Address': '10.0.0.1/24' } });
    expect(nodeFacts(node)).toMatchObject({ lacksBlocks: true, subnets: ['10.1.0.0/24'] });
    expect(nodeFacts(node, ['10.9.0.64/26', 'x'])).toMatchObject({ lacksBlocks: false, subnets: ['10.9.0.64/26'] });
    // No pod runs there yet.
    expect(nodeFacts(node, [])).toMatchObject({ subnets: [], findings: [] });
    expect(nodeFacts(testNode('b1', { podCIDR: '10.1.0.0/24' }), ['10.9.0.64/26'])).toMatchObject({ subnets: ['10.1.0.0/24'] });
    expect(nodeFacts(testNode('b1', { region: '' })).region).toBeUndefined();
  });
});
