import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import type { Node } from '../api/core.ts';
import type { Gateway } from '../api/gateway.ts';
import { EXTRA_CIDRS_ANNOTATION } from '../api/names.ts';
import { testGateway, testNode } from '../domain/test-objects.ts';
import { type ClusterView, createClusterView } from './cluster-view.ts';

const NOW = '2026-01-01T00:00:00Z';
const ADDRESS = { type: 'InternalIP', address: '192.168.1.10' };

/** Does what the controller does: writes until the view is content. Returns the names that were written. */
function settle(view: ClusterView, gateways: Map<string, Gateway>): string[] {
  const written: string[] = [];
  for (let names = view.takeAffected(); names.length > 0; names = view.takeAffected()) {
    for (const name of names) {
      const decided = view.decide(name, NOW);
      if (decided === undefined || !decided.verdict.isChanged) continue;
      written.push(name);
      const gateway = { ...decided.gateway, status: decided.verdict.status };
      gateways.set(name, gateway);
      view.setGateway(gateway);
    }
  }
  return written;
}

function viewOf(nodes: Iterable<Node>, gateways: Iterable<Gateway>): ClusterView {
  const view = createClusterView({ now: () => Date.parse(NOW) });
  for (const node of nodes) view.setNode(node);
  for (const gateway of gateways) view.setGateway(gateway);
  return view;
}

describe('createClusterView', () => {
  it('names only the regions that an event can concern', () => {
    const gateways = new Map(['a', 'b', 'c'].map((name) => [name, testGateway(name, { endpoints: [`${name}1`] })]));
    const nodes = ['a', 'b', 'c'].map((name, i) => testNode(`${name}1`, { region: name, podCIDR: `10.${i}.0.0/16` }));
    const view = viewOf(nodes, gateways.values());
    expect(settle(view, gateways)).toEqual(['a', 'b', 'c']);

    const affected = (change: () => void): string => {
      change();
      const names = view.takeAffected().join(' ');
      settle(view, gateways);
      return names;
    };
    expect(affected(() => view.setNode(nodes[0]!))).toBe('');
    expect(affected(() => view.setNode(testNode('b1', { region: 'b', podCIDR: '10.1.0.0/16', ready: 'False' })))).toBe('b');
    expect(affected(() => view.setNode(testNode('x', { region: 'nowhere', podCIDR: '10.2.0.0/16' })))).toBe('');
    expect(affected(() => view.setNode(testNode('b1', { region: 'b', podCIDR: '10.2.0.0/24' })))).toBe('b c');
    expect(affected(() => view.setNode(testNode('b1', { region: 'c', podCIDR: '10.2.0.0/24' })))).toBe('b c');
    expect(affected(() => view.deleteNode('b1'))).toBe('b c');
    expect(affected(() => view.deleteGateway('a'))).toBe('');
  });

  const name = fc.constantFrom('n1', 'n2', 'n3');
  const cidr = fc.constantFrom('', '10.1.0.0/24', '10.1.0.0/16', '10.2.0.0/24', 'fd00:1::/64', '203.0.113.0/24');
  const setNode = fc
    .record({
      name,
      region: fc.constantFrom('a', 'b', 'c', 'nowhere'),
      podCIDRs: fc.array(cidr, { maxLength: 2 }),
      ready: fc.constantFrom('True', 'False'),
    })
    .map((input) => ({
      op: 'setNode' as const,
      node: testNode(input.name, { ...input, ready: input.ready as 'True', ip: ADDRESS.address }),
    }));
  const region = fc.constantFrom('a', 'b', 'c');
  const setGateway = fc
    .record({
      name: region,
      endpoints: fc.array(fc.record({ nodeName: name, publicIP: fc.constantFrom('', '203.0.113.1', '10.2.0.1') }), { maxLength: 3 }),
      extra: cidr,
    })
    .map(({ name: gateway, endpoints, extra }) => ({
      op: 'setGateway' as const,
      gateway: testGateway(gateway, { endpoints, annotations: { [EXTRA_CIDRS_ANNOTATION]: extra } }),
    }));
  const change = fc.oneof(
    setNode,
    setGateway,
    fc.record({ op: fc.constant('deleteNode' as const), name }),
    fc.record({ op: fc.constant('deleteGateway' as const), name: region }),
    fc.constant({ op: 'settle' as const }),
  );

  test.prop([fc.array(change, { maxLength: 25 })])(
    'after any changes holds what a fresh look at the cluster would find (R26)',
    (changes) => {
      const nodes = new Map<string, Node>();
      const gateways = new Map<string, Gateway>();
      const view = createClusterView({ now: () => Date.parse(NOW) });
      for (const each of changes) {
        if (each.op === 'settle') settle(view, gateways);
        else if (each.op === 'setNode') {
          nodes.set(each.node.metadata.name, each.node);
          view.setNode(each.node);
        } else if (each.op === 'setGateway') {
          const old = gateways.get(each.gateway.metadata.name);
          const gateway = { ...each.gateway, ...(old?.status && { status: old.status }) };
          gateways.set(gateway.metadata.name, gateway);
          view.setGateway(gateway);
        } else if (each.op === 'deleteNode') {
          nodes.delete(each.name);
          view.deleteNode(each.name);
        } else {
          gateways.delete(each.name);
          view.deleteGateway(each.name);
        }
      }
      settle(view, gateways);
      expect(settle(viewOf(nodes.values(), gateways.values()), new Map(gateways))).toEqual([]);
    },
  );
});
