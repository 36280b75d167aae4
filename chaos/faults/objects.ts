import { EXTRA_CIDRS_ANNOTATION } from '../../src/api/names.ts';
import { eventually, run } from '../../test/lab/harness.ts';
import { type Fault, HITLESS } from '../fault.ts';
import { withKey } from '../objects.ts';
import type { Rig } from '../rig.ts';

/** In no network of the rig. */
const EXTRA_CIDR = '10.77.0.0/16';
/** Long enough for new tunnels, probes and the controller's next pass. */
const AFTER_JOINING_MS = 8_000;
/** Six times what following a change may take (R11, R26). */
const STATE_TIMEOUT_MS = 30_000;

/** The cluster grows, shrinks and is edited (R24, R26). */
export const OBJECT_FAULTS: readonly Fault[] = [
  {
    name: 'region-joins',
    requirement: 'R24',
    what: 'region D, a node behind a NAT of its own, joins, and leaves again',
    expected: { ...HITLESS, carrier: 'stays' },
    places: ['joining'],
    lastsMs: AFTER_JOINING_MS,
    async inject(rig) {
      await rig.objects.restore('Gateway', 'd');
      await rig.setRegion('d1', 'd');
      await rig.start('d1');
      await reachable(rig, 'b2', 'd1');
    },
    async heal(rig) {
      await rig.objects.remove('Gateway', 'd');
      await rig.leave('d1');
    },
  },
  {
    name: 'endpoint-joins',
    requirement: 'R24',
    what: "b4 joins region B as its first endpoint, ahead of the gateway's place in the list, and leaves again",
    expected: { ...HITLESS, carrier: 'stays' },
    places: ['joining', 'objects'],
    lastsMs: AFTER_JOINING_MS,
    async inject(rig) {
      await rig.setRegion('b4', 'b');
      await rig.start('b4');
      await reachable(rig, 'a2', 'b4');
      await rig.setEndpoints(['b4', 'b1', 'b3']);
    },
    async heal(rig) {
      await rig.setEndpoints(['b1', 'b3']);
      await rig.leave('b4');
    },
  },
  {
    name: 'node-joins',
    requirement: 'R24',
    what: 'b4 joins region B as an ordinary node, and leaves again',
    expected: { ...HITLESS, carrier: 'stays' },
    places: ['joining'],
    async inject(rig) {
      await rig.setRegion('b4', 'b');
      await rig.start('b4');
      await reachable(rig, 'a2', 'b4');
    },
    heal: (rig) => rig.leave('b4'),
  },
  {
    name: 'annotation',
    requirement: 'R24',
    what: 'region B is given another CIDR by an annotation, which is taken away again',
    expected: { ...HITLESS, carrier: 'stays' },
    places: ['objects'],
    async inject(rig) {
      await annotate(rig, EXTRA_CIDR);
      await eventually('c2 routes it', async () => (await routes(rig, 'c2')).includes(EXTRA_CIDR));
    },
    async heal(rig) {
      await annotate(rig, undefined);
      await eventually('c2 routes it no more', async () => !(await routes(rig, 'c2')).includes(EXTRA_CIDR));
    },
  },
  {
    name: 'node-leaves',
    requirement: 'R26',
    what: "the standby's region label is taken away, and given back",
    expected: { ...HITLESS, carrier: 'stays' },
    places: ['objects', 'nodes'],
    async inject(rig, { standby }) {
      await rig.setRegion(standby, undefined);
      await forgotten(rig, standby);
    },
    heal: (rig, { standby }) => rig.setRegion(standby, 'b'),
  },
  {
    name: 'node-moves',
    requirement: 'R26',
    what: 'the standby is said to be in region C, where no cable of it ends, and comes back',
    expected: { ...HITLESS, carrier: 'stays' },
    places: ['objects', 'nodes'],
    lastsMs: AFTER_JOINING_MS,
    inject: (rig, { standby }) => rig.setRegion(standby, 'c'),
    heal: (rig, { standby }) => rig.setRegion(standby, 'b'),
  },
  {
    name: 'node-deleted',
    requirement: 'R26',
    what: "the standby's Node is deleted, and made again",
    expected: { ...HITLESS, carrier: 'stays' },
    places: ['objects', 'nodes'],
    async inject(rig, { standby }) {
      await rig.objects.remove('Node', standby);
      await forgotten(rig, standby);
    },
    heal: (rig, { standby }) => rig.objects.restore('Node', standby),
  },
  {
    name: 'events-missed',
    requirement: 'R26',
    what: "the standby leaves region B while a1's agent is dead, which is started afterwards",
    expected: { ...HITLESS, carrier: 'stays' },
    places: ['objects', 'nodes', 'programs'],
    async inject(rig, { standby }) {
      await rig.kill('a1/agent');
      await rig.setRegion(standby, undefined);
      await eventually('c2 knows', async () => !(await routes(rig, 'c2')).includes(rig.podCidr(standby)));
      await rig.startAgent('a1');
      await forgotten(rig, standby);
    },
    async heal(rig, { standby }) {
      await rig.start('a1/agent');
      await rig.setRegion(standby, 'b');
    },
  },
];

function annotate(rig: Rig, value: string | undefined): Promise<void> {
  return rig.objects.edit('Gateway', 'b', (gateway) => withKey(gateway, 'annotations', EXTRA_CIDRS_ANNOTATION, value));
}

/** Until no route on a1 leads to a node's pods. */
function forgotten(rig: Rig, node: string): Promise<true> {
  return eventually(`a1 forgets ${node}`, async () => !(await routes(rig, 'a1')).includes(rig.podCidr(node)), STATE_TIMEOUT_MS);
}

async function routes(rig: Rig, node: string): Promise<string> {
  return (await run(['ip', '-n', rig.netns(node), 'route', 'show', 'table', '9027'])).stdout;
}

/** Until a pod is answered by another. */
function reachable(rig: Rig, from: string, to: string): Promise<true> {
  const argv = ['ping', '-n', '-c', '1', '-W', '1', rig.pod(to).ip] as const;
  return eventually(
    `${from} reaches ${to}`,
    async () => (await run(['ip', 'netns', 'exec', rig.netns(`pod-${from}`), ...argv])).code === 0,
  );
}
