import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { type Endpoint, type Gateway } from '../api/gateway.ts';
import { DEFAULT_SWITCHES, electEndpoints, parseSwitches, type Switches } from './election.ts';
import { type EndpointSigns, plainSigns } from './endpoint-fitness.ts';
import { testGateway } from './test-objects.ts';

const NOW = Date.UTC(2026, 0, 1);
const BOTH: Switches = { tunnel: true, proxy: true };
const names = (endpoints: readonly Endpoint[]): string => endpoints.map(({ nodeName, type }) => `${nodeName} ${type}`).join(', ');
/** `b1 b3- b9?`: b1 Ready, b3 not, b9 no node of the region. */
const signsFrom = (text: string): Map<string, EndpointSigns> =>
  new Map(
    text
      .split(' ')
      .filter((word) => word !== '' && !word.endsWith('?'))
      .map((word) => [word.replace('-', ''), plainSigns(!word.endsWith('-'))]),
  );
const elect = (gateway: Gateway, nodes: string, switches = BOTH) =>
  electEndpoints({ gateway, signs: signsFrom(nodes), switches, nowMs: NOW });

describe('electEndpoints', () => {
  it.each<[rule: string, gateway: Gateway, nodes: string, active: string]>([
    ['takes the first of the spec, not of the alphabet', testGateway('b', { endpoints: ['b3', 'b1'] }), 'b1 b3', 'b3 tunnel'],
    ['passes over who is not Ready', testGateway('b', { endpoints: ['b1', 'b3'] }), 'b1- b3', 'b3 tunnel'],
    ['passes over unknown nodes', testGateway('b', { endpoints: ['b9', 'b3'] }), 'b9? b3', 'b3 tunnel'],
    ['stays with who is active', testGateway('b', { endpoints: ['b1', 'b3'], active: ['b3'] }), 'b1 b3', 'b3 tunnel'],
    ['does not stay with who left the spec', testGateway('b', { endpoints: ['b1'], active: ['b3'] }), 'b1 b3', 'b1 tunnel'],
    [
      'does not stay with who is now of another type',
      testGateway('b', { endpoints: ['b1', 'b3 proxy'], active: ['b3'] }),
      'b1 b3',
      'b1 tunnel',
    ],
    [
      'fills up to Replicas, in the order of the spec',
      testGateway('b', { endpoints: ['b4', 'b3', 'b1'], tunnels: 2, active: ['b1'] }),
      'b1 b3 b4',
      'b1 tunnel, b4 tunnel',
    ],
    [
      'keeps the earliest of the spec on scale-down',
      testGateway('b', { endpoints: ['b4', 'b1'], active: ['b1', 'b4'] }),
      'b1 b4',
      'b4 tunnel',
    ],
    ['has nobody when Replicas is absent', testGateway('b', { endpoints: ['b1'], tunnels: undefined }), 'b1', ''],
    ['has nobody when Replicas is negative', testGateway('b', { endpoints: ['b1'], tunnels: -1 }), 'b1', ''],
    [
      'elects tunnel and proxy apart, sorted by node',
      testGateway('b', { endpoints: ['b3', 'b1 proxy', 'b3 proxy', 'b1'], proxies: 2 }),
      'b1 b3',
      'b1 proxy, b3 proxy, b3 tunnel',
    ],
    ['knows no other types', testGateway('b', { endpoints: ['b1 bridge', 'b3'], tunnels: 2 }), 'b1 b3', 'b3 tunnel'],
    ['takes a twin once', testGateway('b', { endpoints: ['b1', 'b1'], tunnels: 2 }), 'b1', 'b1 tunnel'],
    [
      'keeps the last active when all are NotReady at once',
      testGateway('b', { endpoints: ['b1', 'b3'], active: ['b3'] }),
      'b1- b3-',
      'b3 tunnel',
    ],
    [
      'elects nobody new while all are NotReady',
      testGateway('b', { endpoints: ['b1', 'b3'], tunnels: 2, active: ['b3'] }),
      'b1- b3-',
      'b3 tunnel',
    ],
    ['lets go who left the spec even then', testGateway('b', { endpoints: ['b1'], active: ['b3'] }), 'b1- b3-', ''],
    ['lets go whose Node is gone even then', testGateway('b', { endpoints: ['b1', 'b3'], active: ['b3'] }), 'b1- b3?', ''],
    ['moves when only the active one is NotReady', testGateway('b', { endpoints: ['b1', 'b3'], active: ['b1'] }), 'b1- b3', 'b3 tunnel'],
  ])('%s', (_, gateway, nodes, active) => {
    expect(names(elect(gateway, nodes).active)).toBe(active);
  });

  it('takes nobody who is unfit beside one that is fit, so that a node can be drained where two are wanted', () => {
    const gateway = testGateway('b', { endpoints: ['b1', 'b3'], tunnels: 2, active: ['b1', 'b3'] });
    const drained = { ...plainSigns(true), drain: 'it is cordoned' };
    const signs = new Map([
      ['b1', drained],
      ['b3', plainSigns(true)],
    ]);
    const active = (of: ReadonlyMap<string, EndpointSigns>): string =>
      names(electEndpoints({ gateway, signs: of, switches: BOTH, nowMs: NOW }).active);
    expect(active(signs)).toBe('b3 tunnel');
    expect(active(new Map([...signs].map(([name]) => [name, drained])))).toBe('b1 tunnel, b3 tunnel');
  });

  it('takes a switched-off type not at all', () => {
    const gateway = testGateway('b', { endpoints: ['b1', 'b1 proxy'], proxies: 1, active: ['b1 proxy'] });
    expect(names(elect(gateway, 'b1', DEFAULT_SWITCHES).active)).toBe('b1 tunnel');
    expect(names(elect(gateway, 'b1', { tunnel: false, proxy: false }).active)).toBe('');
  });

  it("takes the spec's copy, so that edits come through, and flags the layer in its config", () => {
    const gateway = testGateway('b', { endpoints: [{ nodeName: 'b1', port: 51820, config: { note: 'x' } }], active: ['b1'] });
    const { active, elected } = elect(gateway, 'b1');
    expect(active).toEqual([{ nodeName: 'b1', type: 'tunnel', port: 51820, config: { note: 'x', 'enable-l3-tunnel': 'true' } }]);
    expect(elected).toEqual([]);
  });

  it('tells who is new, who is lost when none is left, and nothing else', () => {
    const swap = elect(testGateway('b', { endpoints: ['b1', 'b3'], active: ['b1'] }), 'b1- b3');
    expect([names(swap.elected), names(swap.lost)]).toEqual(['b3 tunnel', '']);
    const gone = elect(testGateway('b', { endpoints: ['b1'], active: ['b1'] }), 'b1?');
    expect([names(gone.elected), names(gone.lost)]).toEqual(['', 'b1 tunnel']);
  });

  const nodeName = fc.constantFrom('n1', 'n2', 'n3', 'n4', '', '__proto__');
  const endpoint = fc.record({ nodeName, type: fc.constantFrom('tunnel', 'proxy', 'other', '') });
  const endpoints = fc.array(endpoint, { maxLength: 7 });
  const anyGateway = fc
    .record({
      endpoints,
      tunnels: fc.option(fc.integer({ min: -1, max: 4 }), { nil: undefined }),
      proxies: fc.integer({ min: -1, max: 3 }),
      previous: endpoints,
    })
    .map(({ previous, ...input }) => {
      const gateway = testGateway('x', input);
      return { ...gateway, status: { nodes: [], activeEndpoints: previous } };
    });
  const anySign = fc.record({
    isReady: fc.boolean(),
    drain: fc.constantFrom(undefined, 'it is cordoned'),
    silence: fc.constantFrom(undefined, 'silent'),
    isStale: fc.boolean(),
    forwarding: fc.constantFrom(undefined, ...(['Ok', 'Failed', 'Unknown'] as const).map((state) => ({ state, since: '' }))),
  });
  const anySigns = fc.uniqueArray(fc.tuple(nodeName, anySign), { selector: ([name]) => name });

  test.prop([anyGateway, anySigns])('is settled by its own result, whatever the objects hold', (gateway, nodes) => {
    const input = { signs: new Map(nodes), switches: BOTH, nowMs: NOW };
    const first = electEndpoints({ gateway, ...input });
    const status = { nodes: [], activeEndpoints: [...first.active], impaired: [...first.impaired] };
    const again = electEndpoints({ gateway: { ...gateway, status }, ...input });
    expect([again.active, again.impaired]).toEqual([first.active, first.impaired]);
    expect([...again.elected, ...again.left, ...again.lost]).toEqual([]);
  });

  test.prop([anyGateway, anySigns.chain((nodes) => fc.tuple(fc.constant(nodes), fc.shuffledSubarray(nodes, { minLength: nodes.length })))])(
    'does not depend on the order of nodes or of the last active ones',
    (gateway, [nodes, shuffled]) => {
      const reversed = { ...gateway, status: { ...gateway.status, activeEndpoints: gateway.status.activeEndpoints.toReversed() } };
      const a = electEndpoints({ gateway, signs: new Map(nodes), switches: BOTH, nowMs: NOW });
      const b = electEndpoints({ gateway: reversed, signs: new Map(shuffled), switches: BOTH, nowMs: NOW });
      expect(b.active).toEqual(a.active);
    },
  );

  test.prop([anyGateway, anySigns])('never takes more than Replicas, nor who is no node of the region', (gateway, nodes) => {
    const { active } = electEndpoints({ gateway, signs: new Map(nodes), switches: BOTH, nowMs: NOW });
    expect(active.filter(({ type }) => type === 'tunnel').length).toBeLessThanOrEqual(
      Math.max(gateway.spec.tunnelConfig?.Replicas ?? 0, 0),
    );
    for (const { nodeName: name } of active) expect(nodes.map(([node]) => node as string)).toContain(name);
  });
});

describe('parseSwitches', () => {
  it.each<[Record<string, string> | undefined, Switches]>([
    [undefined, { tunnel: true, proxy: false }],
    [{}, { tunnel: false, proxy: false }],
    [
      { 'enable-l3-tunnel': 'TRUE', 'enable-l7-proxy': 'True' },
      { tunnel: true, proxy: true },
    ],
    [
      { 'enable-l3-tunnel': 'yes', 'enable-l7-proxy': '1' },
      { tunnel: false, proxy: false },
    ],
  ])('reads %o', (data, switches) => {
    expect(parseSwitches(data)).toEqual(switches);
  });
});
